//! One part of a batch: compute, then end it together with its result.

use super::{Batch, BatchType, ToDo, sql};
use crate::db::Tx;
use crate::feeds::failure::Failure;
use crate::feeds::matching::matches::Chosen;
use crate::feeds::matching::{Matching, email, matches, users};
use crate::queue::{Item, Outcome};

/// The first try, and three more.
const MOST_ATTEMPTS: u32 = 4;

/// What a part came to, still to be written.
enum Product {
    Nothing,
    Matches(Vec<Chosen>),
    Mails(Vec<email::Draft>),
}

impl Matching {
    pub(in crate::feeds::matching) async fn handle_part(&self, item: &Item) -> Outcome {
        let part_id = match item.parse::<ToDo>() {
            Ok(todo) => todo.part_id,
            Err(outcome) => return outcome,
        };
        // However many workers the queue has, no more than these compute at once.
        let Ok(_hand) = self.0.hands.acquire().await else { return Outcome::Retry("stopping".into()) };
        let found = match self.open_part(part_id).await {
            Ok(Some(found)) => found,
            Ok(None) => return Outcome::Done,
            Err(failure) => return Outcome::Retry(format!("{failure:?}")),
        };
        let (part, batch) = found;
        let tried = if item.attempts > MOST_ATTEMPTS {
            Err("its workers vanished".to_owned())
        } else {
            self.do_part(&part, &batch).await.map_err(|failure| format!("{failure:?}"))
        };
        match tried {
            Ok(()) => Outcome::Done,
            Err(reason) if item.attempts < MOST_ATTEMPTS => Outcome::Retry(reason),
            Err(reason) => match self.fail_part(&part, &reason).await {
                Ok(()) => Outcome::Done,
                Err(failure) => Outcome::Retry(format!("{failure:?}")),
            },
        }
    }

    /// The part and its batch, unless there is nothing to do any more.
    async fn open_part(&self, part_id: i64) -> Result<Option<(sql::Part, Batch)>, Failure> {
        let Some(part) = sql::part(&self.0.db, part_id).await? else { return Ok(None) };
        let batch = sql::find(&self.0.db, part.batch_id).await?;
        Ok(batch.filter(|batch| part.state == "pending" && batch.state == "running").map(|batch| (part, batch)))
    }

    async fn do_part(&self, part: &sql::Part, batch: &Batch) -> Result<(), Failure> {
        let (db, first, last) = (&self.0.db, part.first_id, part.last_id);
        let result = match BatchType::parse(&batch.batch_type) {
            Some(BatchType::DailyMatching) => Product::Matches(self.match_range(batch, first, last).await?),
            // The same scores however often, so they need not be part of the transaction.
            Some(BatchType::Scoring) => self.score_range(first, last).await.map(|()| Product::Nothing)?,
            Some(BatchType::EmailGeneration) => Product::Mails(self.write_mails(first, last).await?),
            Some(BatchType::Cleanup) => {
                let keep = chrono::TimeDelta::days(i64::from(self.0.options.keep_days));
                let before = self.now() - keep;
                self.make_months().await?;
                users::sql::drop_logs(db, before).await?;
                let mut tx = db.begin().await?;
                sql::clean(&mut tx, self.now(), before).await?;
                tx.commit().await?;
                Product::Nothing
            }
            None => return Err(crate::http::Problem::internal("an unknown kind of batch").into()),
        };
        let mut tx = db.begin().await?;
        if !sql::end_part(&mut tx, part.id, "done", None).await? {
            // Another worker had the part as well and was first; its result stands.
            return Ok(tx.rollback().await?);
        }
        self.write(&mut tx, batch, result).await?;
        // Last, because everybody's parts wait for this row.
        let Some(mut now) = sql::lock(&mut tx, batch.id).await?.filter(|now| now.state == "running") else {
            return Ok(tx.rollback().await?);
        };
        now.processed += part.size;
        self.advance(&mut tx, &mut now, false).await?;
        self.0.outbox.commit(tx).await?;
        if now.state != "running" {
            // The jobs of the day are of no more use.
            *self.0.columns.lock().await = None;
        }
        Ok(())
    }

    async fn write(&self, tx: &mut Tx, batch: &Batch, result: Product) -> Result<(), Failure> {
        match result {
            Product::Nothing => {}
            Product::Matches(chosen) => {
                matches::sql::insert(tx, batch.id, &chosen, self.now()).await?;
                for one in &chosen {
                    self.notify(tx, batch.id, one).await?;
                }
            }
            Product::Mails(drafts) => self.queue_mails(tx, batch.id, &drafts).await?,
        }
        Ok(())
    }

    async fn fail_part(&self, part: &sql::Part, reason: &str) -> Result<(), Failure> {
        tracing::error!(batch = part.batch_id, part = part.id, reason, "a part of a batch failed for good");
        let mut tx = self.0.db.begin().await?;
        let ended = sql::end_part(&mut tx, part.id, "failed", Some(reason)).await?;
        let batch = sql::lock(&mut tx, part.batch_id).await?.filter(|batch| ended && batch.state == "running");
        let Some(mut batch) = batch else { return Ok(tx.rollback().await?) };
        batch.failed += part.size;
        batch.error = Some(reason.to_owned());
        self.advance(&mut tx, &mut batch, false).await?;
        Ok(self.0.outbox.commit(tx).await?)
    }
}

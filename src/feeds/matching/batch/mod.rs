//! Batches: long work over users or jobs, cut into parts. A part is an item of the durable queue, so a worker that
//! vanishes loses its lease and another takes the part over; a part's result and its end are one transaction, so
//! nothing is computed twice into the result. `batches` is told on the stream as it goes.

pub mod routes;
mod schedule;
pub(super) mod sql;
mod work;

use chrono::{TimeDelta, Utc};
use serde::{Deserialize, Serialize};

pub use self::sql::Batch;
use super::{Matching, PART_TOPIC};
use crate::db::{DbError, Tx};
use crate::feeds::BATCH_PROGRESS;
use crate::feeds::body::utc;
use crate::feeds::failure::Failure;
use crate::feeds::outbox::StageError;
use crate::feeds::page::{Page, PageRequest};
use crate::http::Problem;
use crate::queue;

/// Subscribers are told of a batch's progress no more often than this, but of its end always.
const TELL_EVERY: TimeDelta = TimeDelta::milliseconds(100);
/// Jobs in one part of a scoring batch.
const JOBS_PER_PART: usize = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BatchType {
    DailyMatching,
    Scoring,
    EmailGeneration,
    Cleanup,
}

impl BatchType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DailyMatching => "daily_matching",
            Self::Scoring => "scoring",
            Self::EmailGeneration => "email_generation",
            Self::Cleanup => "cleanup",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let all = [Self::DailyMatching, Self::Scoring, Self::EmailGeneration, Self::Cleanup];
        all.into_iter().find(|one| one.as_str() == name)
    }
}

/// The queue's payload.
#[derive(Debug, Serialize, Deserialize)]
struct ToDo {
    part_id: i64,
}

/// What subscribers of `batch:progress` are told.
#[derive(Debug, Serialize)]
struct BatchProgress<'a> {
    message_type: &'static str,
    batch_id: i64,
    batch_type: &'a str,
    state: &'a str,
    processed: i64,
    total: i64,
    failed: i64,
    #[serde(serialize_with = "utc::serialize")]
    timestamp: chrono::DateTime<Utc>,
}

impl Matching {
    pub async fn trigger(&self, batch_type: BatchType) -> Result<Batch, Failure> {
        let started = self.start_batch(batch_type, None).await?;
        started.ok_or_else(|| Problem::conflict("this batch exists already").into())
    }

    /// Writes the batch and its parts, and queues them, in one transaction. `None`: this schedule's batch exists.
    async fn start_batch(&self, batch_type: BatchType, schedule_key: Option<&str>) -> Result<Option<Batch>, Failure> {
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        let ids = sql::ids(&mut tx, batch_type, now).await?;
        let Some(mut batch) = sql::insert(&mut tx, batch_type, schedule_key, ids.len() as i64, now).await? else {
            return Ok(None);
        };
        let size = match batch_type {
            BatchType::DailyMatching => self.0.options.users_per_part.clamp(1, 10_000) as usize,
            BatchType::Scoring => JOBS_PER_PART,
            BatchType::EmailGeneration => self.0.options.mails_per_batch.clamp(1, 1_000),
            BatchType::Cleanup => 1,
        };
        let parts: Vec<_> = ids.chunks(size).map(|ids| (ids[0], ids[ids.len() - 1], ids.len() as i64)).collect();
        let parts = sql::insert_parts(&mut tx, batch.id, &parts).await?;
        self.queue_parts(&mut tx, parts).await?;
        self.advance(&mut tx, &mut batch, true).await?;
        self.0.outbox.commit(tx).await?;
        Ok(Some(batch))
    }

    async fn queue_parts(&self, tx: &mut Tx, parts: Vec<i64>) -> Result<(), DbError> {
        for part_id in parts {
            queue::push(tx, PART_TOPIC, &ToDo { part_id }, self.now()).await?;
        }
        Ok(())
    }

    /// Stores the batch's new figures, ends it when nothing is left, and tells subscribers when it is time or `tell`.
    async fn advance(&self, tx: &mut Tx, batch: &mut Batch, tell: bool) -> Result<(), StageError> {
        let now = self.now();
        if batch.state == "running" && batch.processed + batch.failed >= batch.total {
            batch.state = if batch.failed > 0 { "failed" } else { "completed" }.into();
        }
        batch.updated_at = now;
        let ended = batch.state != "running";
        batch.finished_at = ended.then_some(now);
        if ended || tell || now - batch.told_at >= TELL_EVERY {
            batch.told_at = now;
            let message = BatchProgress {
                message_type: "batch_progress",
                batch_id: batch.id,
                batch_type: &batch.batch_type,
                state: &batch.state,
                processed: batch.processed,
                total: batch.total,
                failed: batch.failed,
                timestamp: now,
            };
            let tags = vec![("batch_id".into(), batch.id.to_string())];
            self.0.outbox.stage(tx, BATCH_PROGRESS, &message, tags, now).await?;
        }
        Ok(sql::set_progress(tx, batch).await?)
    }

    pub async fn batch(&self, id: i64) -> Result<Batch, Failure> {
        sql::find(&self.0.db, id).await?.ok_or_else(|| missing(id).into())
    }

    pub async fn batches(
        &self,
        batch_type: Option<BatchType>,
        state: Option<&str>,
        page: PageRequest,
    ) -> Result<Page<Batch>, Failure> {
        let (batches, total) = sql::list(&self.0.db, batch_type, state, page).await?;
        Ok(Page::new(batches, page, total))
    }

    /// What is done stays; what is under way comes to nothing, and the rest is not begun.
    pub async fn cancel_batch(&self, id: i64) -> Result<Batch, Failure> {
        let mut tx = self.0.db.begin().await?;
        let mut batch = sql::lock(&mut tx, id).await?.ok_or_else(|| missing(id))?;
        if batch.state != "running" {
            return Err(Problem::conflict(format!("the batch is {}", batch.state)).into());
        }
        batch.state = "cancelled".into();
        self.advance(&mut tx, &mut batch, true).await?;
        self.0.outbox.commit(tx).await?;
        Ok(batch)
    }

    /// Does again what failed, or was cancelled; what is done is not done again.
    pub async fn retry_batch(&self, id: i64) -> Result<Batch, Failure> {
        let mut tx = self.0.db.begin().await?;
        let mut batch = sql::lock(&mut tx, id).await?.ok_or_else(|| missing(id))?;
        if !["failed", "cancelled"].contains(&batch.state.as_str()) {
            return Err(Problem::conflict(format!("the batch is {}", batch.state)).into());
        }
        let parts = sql::revive(&mut tx, id).await?;
        self.queue_parts(&mut tx, parts).await?;
        batch.state = "running".into();
        (batch.failed, batch.error) = (0, None);
        self.advance(&mut tx, &mut batch, true).await?;
        self.0.outbox.commit(tx).await?;
        Ok(batch)
    }
}

fn missing(id: i64) -> Problem {
    Problem::not_found(format!("there is no batch {id}"))
}

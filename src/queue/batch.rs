//! Many items in one transaction, and what spoils it found and set aside.
//!
//! The effects and the end of the items are one transaction, so each item takes effect exactly once. When it fails, every
//! item is tried alone, one that fails alone is split, and its smallest pieces are tried again with growing pauses until
//! they become dead letters.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Queue;
use super::portion::Portion;
use super::sql::{self, Taken, Text};
use crate::db::{DbError, Tx};

/// What applies the items of one topic.
pub trait BatchHandler: Send + Sync + 'static {
    type Work: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// Applies everything as part of `tx`, which is rolled back on an error. It may have been applied before.
    fn apply(&self, tx: &mut Tx, work: &[Self::Work]) -> impl Future<Output = Result<(), BatchError>> + Send;

    /// The smallest pieces that can be applied by themselves.
    fn split(&self, work: Self::Work) -> Vec<Self::Work>;

    /// What a smallest piece is known by: it waits once for another trial, however often it comes.
    fn key(&self, piece: &Self::Work) -> Option<String>;

    /// Called after each commit.
    fn committed(&self);
}

/// Why a batch was not applied.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// Nobody's fault: the same may be applied later.
    #[error("{0}")]
    Unavailable(String),
    /// Something in the batch cannot be applied.
    #[error("{0}")]
    Failed(String),
}

impl From<DbError> for BatchError {
    fn from(error: DbError) -> Self {
        match error.is_unavailable() || error.is_unsure() {
            true => Self::Unavailable(error.to_string()),
            false => Self::Failed(error.to_string()),
        }
    }
}

/// How often the number of waiting items is counted.
const MEASURE_EVERY: Duration = Duration::from_secs(15);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Queue {
    /// Applies the items of `topic` in batches of at most `limit`, until `stop`.
    pub async fn run_batches<H: BatchHandler>(
        &self,
        topic: &'static str,
        handler: &H,
        limit: usize,
        stop: CancellationToken,
    ) {
        let mut woken = self.inner.wake.subscribe();
        let (mut measured_at, mut pause) = (None::<Instant>, Duration::ZERO);
        let poll = Duration::from_millis(self.inner.options.poll_ms);
        let (mut retried_at, mut portion) = (Instant::now(), Portion::new(limit));
        while !stop.is_cancelled() {
            woken.mark_unchanged();
            let mut done = self.batch(topic, handler, &mut portion).await;
            // What failed before must not wait until nothing new comes.
            if retried_at.elapsed() >= poll && matches!(done, Ok(true)) {
                done = self.retry_one(topic, handler).await.map(|_| true);
                retried_at = Instant::now();
            }
            if measured_at.is_none_or(|at| at.elapsed() >= MEASURE_EVERY) {
                measured_at = Some(Instant::now());
                if let Err(error) = self.measure(topic).await {
                    tracing::warn!(topic, %error, "cannot count the queue");
                }
            }
            match done {
                Ok(true) => pause = Duration::ZERO,
                Ok(false) => {
                    pause = Duration::ZERO;
                    tokio::select! {
                        () = stop.cancelled() => {}
                        _ = woken.changed() => {}
                        () = tokio::time::sleep(poll) => {}
                    }
                }
                Err(error) => {
                    pause = (pause * 2).clamp(Duration::from_millis(50), LONGEST_PAUSE);
                    tracing::warn!(topic, %error, ?pause, "queued work cannot be applied now; trying again");
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
    }

    /// Applies what is due; `false` when nothing is.
    async fn batch<H: BatchHandler>(
        &self,
        topic: &'static str,
        handler: &H,
        portion: &mut Portion,
    ) -> Result<bool, BatchError> {
        let now = self.inner.clock.now();
        // Mostly nothing is due, and a look costs no write transaction.
        if !sql::is_due(&self.inner.db, topic, now).await? {
            return Ok(false);
        }
        let mut tx = self.inner.db.begin().await?;
        let taken = sql::take_fresh(&mut tx, topic, now, portion.limit()).await?;
        portion.note(taken.iter().map(|item| item.payload.len()));
        if taken.is_empty() {
            drop(tx);
            return self.retry_one(topic, handler).await;
        }
        match self.together(topic, handler, tx, &taken).await {
            Err(BatchError::Failed(reason)) => {
                tracing::warn!(topic, items = taken.len(), reason, "a batch failed; its items are tried one by one");
                for item in taken {
                    self.alone(topic, handler, item.id).await?;
                }
            }
            other => other?,
        }
        Ok(true)
    }

    /// Tries the oldest due item that has failed before; `false` when there is none, or another worker has it.
    async fn retry_one<H: BatchHandler>(&self, topic: &'static str, handler: &H) -> Result<bool, BatchError> {
        let mut tx = self.inner.db.begin().await?;
        let item = sql::take_retried(&mut tx, topic, self.inner.clock.now()).await?;
        tx.rollback().await?;
        match item {
            Some(item) => self.alone(topic, handler, item.id).await.map(|()| true),
            None => Ok(false),
        }
    }

    async fn together<H: BatchHandler>(
        &self,
        topic: &'static str,
        handler: &H,
        mut tx: Tx,
        taken: &[Taken],
    ) -> Result<(), BatchError> {
        let parsed: Result<Vec<H::Work>, _> = taken.iter().map(|item| serde_json::from_str(&item.payload)).collect();
        let work = parsed.map_err(|error| BatchError::Failed(format!("payload: {error}")))?;
        apply(handler, &mut tx, &work).await?;
        sql::remove(&mut tx, &taken.iter().map(|item| item.id).collect::<Vec<_>>()).await?;
        tx.commit().await?;
        handler.committed();
        for _ in taken {
            self.count(topic, "done");
        }
        Ok(())
    }

    /// Applies one item, or writes down what is to become of it.
    async fn alone<H: BatchHandler>(&self, topic: &'static str, handler: &H, id: i64) -> Result<(), BatchError> {
        let mut tx = self.inner.db.begin().await?;
        let Some(item) = sql::take_one(&mut tx, id).await? else { return Ok(()) };
        let reason = match self.together(topic, handler, tx, std::slice::from_ref(&item)).await {
            Err(BatchError::Failed(reason)) => reason,
            other => return other,
        };
        let mut tx = self.inner.db.begin().await?;
        let Some(item) = sql::take_one(&mut tx, id).await? else { return Ok(()) };
        let now = self.inner.clock.now();
        let pieces = pieces(handler, &item.payload);
        if pieces.as_ref().is_ok_and(|pieces| pieces.len() > 1) {
            sql::insert_texts(&mut tx, topic, &pieces.unwrap_or_default(), 1, Some(&reason), (now, now)).await?;
            sql::remove(&mut tx, &[id]).await?;
            tx.commit().await?;
            self.count(topic, "split");
            return Ok(());
        }
        let attempts = u32::try_from(item.attempts + 1).unwrap_or(u32::MAX);
        let run_at = (pieces.is_ok() && attempts < self.inner.options.max_attempts)
            .then(|| now + self.inner.options.backoff(attempts, &mut fastrand::Rng::new()));
        sql::failed(&mut tx, id, run_at, &reason, now).await?;
        tx.commit().await?;
        match run_at {
            Some(_) => tracing::info!(topic, item = id, attempts, reason, "will try again"),
            None => tracing::error!(topic, item = id, attempts, reason, "dead letter"),
        }
        self.count(topic, if run_at.is_some() { "retried" } else { "dead" });
        Ok(())
    }

    /// Applies entries of another journal in one transaction. What cannot be applied moves, in its smallest pieces, into
    /// this queue, where it is tried again. `Err`: nothing was done, and all of it is to come again.
    pub(super) async fn apply_or_keep<H: BatchHandler>(
        &self,
        topic: &'static str,
        handler: &H,
        payloads: &[String],
    ) -> Result<(), BatchError> {
        self.apply_parsed(topic, handler, payloads, &parse(payloads)).await
    }

    /// The same for entries that have been read already.
    pub(super) async fn apply_parsed<H: BatchHandler>(
        &self,
        topic: &'static str,
        handler: &H,
        payloads: &[String],
        work: &Result<Vec<H::Work>, String>,
    ) -> Result<(), BatchError> {
        let done = match work {
            Ok(work) => self.apply_journal(topic, handler, work).await,
            Err(reason) => Err(BatchError::Failed(reason.clone())),
        };
        let reason = match done {
            Err(BatchError::Failed(reason)) => reason,
            other => return other,
        };
        if let [only] = payloads {
            return self.keep(topic, handler, only, &reason).await;
        }
        tracing::warn!(topic, items = payloads.len(), reason, "a batch failed; its halves are tried");
        let (first, second) = payloads.split_at(payloads.len() / 2);
        Box::pin(self.apply_or_keep(topic, handler, first)).await?;
        Box::pin(self.apply_or_keep(topic, handler, second)).await
    }

    async fn apply_journal<H: BatchHandler>(
        &self,
        topic: &'static str,
        handler: &H,
        work: &[H::Work],
    ) -> Result<(), BatchError> {
        let mut tx = self.inner.db.begin().await?;
        apply(handler, &mut tx, work).await?;
        tx.commit().await?;
        handler.committed();
        for _ in work {
            self.count(topic, "done");
        }
        Ok(())
    }

    async fn keep<H: BatchHandler>(
        &self,
        topic: &'static str,
        handler: &H,
        payload: &str,
        reason: &str,
    ) -> Result<(), BatchError> {
        let now = self.inner.clock.now();
        // What is not even JSON is kept as a string, to be looked at.
        let text = || Text { payload: serde_json::Value::from(payload).to_string(), key: None };
        let pieces = pieces(handler, payload).unwrap_or_else(|_| vec![text()]);
        let mut tx = self.inner.db.begin().await?;
        sql::insert_texts(&mut tx, topic, &pieces, 1, Some(reason), (now, now)).await?;
        tx.commit().await?;
        self.count(topic, "split");
        self.wake();
        Ok(())
    }
}

/// Entries as work, or why one of them is none.
pub(super) fn parse<W: DeserializeOwned>(payloads: &[String]) -> Result<Vec<W>, String> {
    let parsed: Result<Vec<W>, _> = payloads.iter().map(|payload| serde_json::from_str(payload)).collect();
    parsed.map_err(|error| format!("payload: {error}"))
}

/// The payload's smallest pieces as payloads of their own.
fn pieces<H: BatchHandler>(handler: &H, payload: &str) -> Result<Vec<Text>, serde_json::Error> {
    let work = serde_json::from_str(payload)?;
    let text = |piece: &H::Work| Ok(Text { payload: serde_json::to_string(piece)?, key: handler.key(piece) });
    handler.split(work).iter().map(text).collect()
}

/// A panic spoils its batch, not the worker.
async fn apply<H: BatchHandler>(handler: &H, tx: &mut Tx, work: &[H::Work]) -> Result<(), BatchError> {
    let applied = AssertUnwindSafe(handler.apply(tx, work)).catch_unwind().await;
    applied.unwrap_or_else(|_panic| Err(BatchError::Failed("the handler panicked".into())))
}

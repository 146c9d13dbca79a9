//! Durable work on the SQL database: an item is written in the transaction of whoever wants the work done, claimed by
//! one worker at a time under a lease, tried again with growing pauses, and kept as a dead letter when nothing helps.
//!
//! An item runs at least once: a worker that vanished between its work and its report leaves an item that runs again.
//! Items may overtake each other. Nobody but the holder of the lease can finish an item.

mod batch; // many items in one transaction
mod file; // the journal in a file of its own
mod intake; // a journal's way in: gathered, bounded
mod options;
mod portion; // how much is taken at once
mod redis; // the journal on Redis Streams
mod sql;
mod worker;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;

pub use self::batch::{BatchError, BatchHandler};
pub use self::file::FileJournal;
pub use self::intake::{Intake, IntakeError, Journal};
pub use self::options::{JournalOptions, QueueOptions, QueueOptionsError};
pub use self::redis::{RedisStream, RedisStreamError};
pub use self::sql::DeadLetter;
pub use self::worker::Handler;
use crate::clock::Clock;
use crate::db::{Db, DbError, Tx};
use crate::telemetry::{Registry, name};

/// The queue of one database. Cloning shares it.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    clock: Clock,
    options: QueueOptions,
    /// Its number grows when there may be work; each worker remembers the number that it has seen.
    wake: watch::Sender<u64>,
    finished: Family<FinishedLabels, Counter>,
    pending: Family<PendingLabels, Gauge>,
}

/// A piece of work in a worker's hands.
#[derive(Clone, Debug)]
pub struct Item {
    pub id: i64,
    pub payload: Value,
    /// 1 in the first attempt.
    pub attempts: u32,
    pub created_at: DateTime<Utc>,
}

/// What came of an attempt.
#[derive(Debug)]
pub enum Outcome {
    Done,
    /// Done, and this is to be done next: the item goes and its successors come in one transaction.
    Then(Vec<Work>),
    /// Not now; why.
    Retry(String),
    /// Never; why. It becomes a dead letter at once.
    Dead(String),
}

/// Work to be queued.
#[derive(Debug)]
pub struct Work {
    topic: &'static str,
    payload: Value,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FinishedLabels {
    topic: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PendingLabels {
    topic: &'static str,
    state: &'static str,
}

/// Queues work as part of `tx`: it exists when, and only when, the transaction commits. Call [`Queue::wake`] after
/// that; without it a worker finds the work at its next look.
pub async fn push(
    tx: &mut Tx,
    topic: &'static str,
    payload: &impl Serialize,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sql::insert(tx, &Work::new(topic, payload), now).await
}

impl Work {
    /// A payload is a plain data type: one that cannot be written as JSON is queued as `null`, and its handler buries it.
    pub fn new(topic: &'static str, payload: &impl Serialize) -> Self {
        let payload = serde_json::to_value(payload).unwrap_or_else(|error| {
            tracing::error!(topic, %error, "a payload cannot be written as JSON");
            Value::Null
        });
        Self { topic, payload }
    }
}

impl Item {
    /// The payload as `T`; what is not one will never be one, so the error is a ready outcome.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Outcome> {
        T::deserialize(&self.payload).map_err(|error| Outcome::Dead(format!("payload: {error}")))
    }
}

impl Queue {
    pub fn new(db: Db, clock: Clock, options: QueueOptions, registry: &mut Registry) -> Self {
        let (finished, pending) = (Family::default(), Family::default());
        registry.register(name::QUEUE_FINISHED, "Attempts at queued work, by what came of them", finished.clone());
        registry.register(
            name::QUEUE_PENDING,
            "Items in the queue: pending (leased ones too) and dead",
            pending.clone(),
        );
        let inner = Inner { db, clock, options, wake: watch::Sender::new(0), finished, pending };
        Self { inner: Arc::new(inner) }
    }

    /// Tells the workers of this process that there may be work.
    pub fn wake(&self) {
        self.inner.wake.send_modify(|number| *number = number.wrapping_add(1));
    }

    /// Queues work in a transaction of its own.
    pub async fn push(&self, topic: &'static str, payload: &impl Serialize) -> Result<(), DbError> {
        let mut tx = self.inner.db.begin().await?;
        push(&mut tx, topic, payload, self.inner.clock.now()).await?;
        tx.commit().await?;
        self.wake();
        Ok(())
    }

    /// Dead letters with an id greater than `after_id`, in the order of their ids.
    pub async fn list_dead(&self, topic: Option<&str>, after_id: i64, limit: u32) -> Result<Vec<DeadLetter>, DbError> {
        sql::list_dead(&self.inner.db, topic, after_id, limit).await
    }

    /// One dead letter in full.
    pub async fn find_dead(&self, id: i64) -> Result<Option<DeadLetter>, DbError> {
        sql::find_dead(&self.inner.db, id).await
    }

    /// Gives a dead letter a new life with all its attempts; `false` when there is no such dead letter.
    pub async fn replay(&self, id: i64) -> Result<bool, DbError> {
        let replayed = sql::replay(&self.inner.db, id, self.inner.clock.now()).await?;
        self.wake();
        Ok(replayed)
    }

    /// Forgets a dead letter; `false` when there is no such dead letter.
    pub async fn discard(&self, id: i64) -> Result<bool, DbError> {
        sql::discard(&self.inner.db, id).await
    }

    fn count(&self, topic: &'static str, outcome: &'static str) {
        self.inner.finished.get_or_create(&FinishedLabels { topic, outcome }).inc();
    }

    /// Sets the gauge of items that wait elsewhere than in the table.
    fn set_pending(&self, topic: &'static str, state: &'static str, items: i64) {
        self.inner.pending.get_or_create(&PendingLabels { topic, state }).set(items);
    }

    async fn measure(&self, topic: &'static str) -> Result<(), DbError> {
        let counted = sql::count(&self.inner.db, topic).await?;
        for (state, items) in [("pending", counted.pending), ("dead", counted.dead)] {
            self.inner.pending.get_or_create(&PendingLabels { topic, state }).set(items);
        }
        Ok(())
    }
}

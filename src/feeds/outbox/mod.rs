//! Rows and their publications are one: a publication is staged in the transaction that writes the row, and the relay
//! publishes it after the commit. A crash between the two loses nothing.
//!
//! Once: a relay that dies between publishing and deleting tries again under the same key, which the broker knows.
//! Order: by id, and a writer holds its row until it commits, so what is said of one row comes in the order in which it
//! became true.

mod options; // how much of the past is kept
mod record; // the past of the streams
mod record_sql;
mod relay; // publishes what has been staged
mod sql;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::{Mutex, MutexGuard, Notify};

pub use options::RecordOptions;
pub use record::{RecordReader, Recorder};
pub use relay::Relay;

use self::sql::{Count, NewRow, Waiting};
use crate::args;
use crate::db::{Db, DbError, Tx};
use crate::queue::Queue;
use crate::stream::{Channel, Tags};
use crate::telemetry::trace;

/// Relays of several nodes on one PostgreSQL take turns under this lock; any constant of our own will do.
const RELAY_LOCK: i64 = 0x66_61_6e_66_61_72_65;

/// Stages publications and wakes the relay. Cloning shares it.
#[derive(Clone)]
pub struct Outbox {
    committed: Arc<Notify>,
    /// Its workers are woken too: the transaction may have queued an alert.
    queue: Queue,
    /// Held while this process's relay publishes, and while a snapshot is begun between two of its turns.
    turn: Arc<Mutex<()>>,
    /// Whether the relay's last turn came to its end: then nothing in the table has been published already.
    settled: Arc<AtomicBool>,
}

impl Outbox {
    pub fn new(queue: Queue) -> Self {
        Self { committed: Arc::default(), queue, turn: Arc::default(), settled: Arc::default() }
    }

    /// Writes one publication into the caller's transaction; it goes out after the commit, or never.
    pub async fn stage(
        &self,
        tx: &mut Tx,
        channel: &'static str,
        message: &impl Serialize,
        mut tags: Tags,
        now: DateTime<Utc>,
    ) -> Result<(), StageError> {
        trace::tag(&mut tags);
        let (data, tags) = (serde_json::to_string(message)?, serde_json::to_string(&tags)?);
        let sql = "INSERT INTO outbox (channel, data, tags, created_at) VALUES ($1, $2, $3, $4)";
        tx.execute(sql, args![channel, data, tags, now]).await?;
        Ok(())
    }

    /// Writes many publications of one channel together: each its data, a JSON text, and its tags.
    pub async fn stage_all(
        &self,
        tx: &mut Tx,
        channel: &'static str,
        messages: &[(String, Tags)],
        now: DateTime<Utc>,
    ) -> Result<(), StageError> {
        let mut rows = Vec::with_capacity(messages.len());
        for (data, tags) in messages {
            let mut tags = tags.clone();
            trace::tag(&mut tags);
            let tags = serde_json::to_string(&tags)?;
            rows.push(NewRow { channel, data, tags, created_at: now });
        }
        tx.execute_over(&NewRow::OVER, &rows).await?;
        Ok(())
    }

    /// Wakes the relay after a commit that was not made here.
    pub fn committed(&self) {
        self.committed.notify_one();
    }

    /// Commits, then wakes the relay and the queue's workers.
    pub async fn commit(&self, tx: Tx) -> Result<(), DbError> {
        tx.commit().await?;
        self.committed.notify_one();
        self.queue.wake();
        Ok(())
    }
}

/// Between two turns of all relays: what has left the outbox has been published, what is in it has not.
pub(super) struct Pause<'a> {
    _turn: MutexGuard<'a, ()>,
    lock: Option<Tx>,
}

impl Pause<'_> {
    /// The transaction that holds the others off, where it takes one.
    pub fn lock(&mut self) -> Option<&mut Tx> {
        self.lock.as_mut()
    }

    pub async fn end(self) -> Result<(), DbError> {
        match self.lock {
            Some(lock) => lock.commit().await,
            None => Ok(()),
        }
    }
}

impl Outbox {
    pub(super) async fn pause(&self, db: &Db) -> Result<Pause<'_>, DbError> {
        let turn = self.turn.lock().await;
        // PostgreSQL: one relay at a time among all nodes. SQLite: this is the only process that writes.
        let lock = match db.engine() {
            "postgres" => {
                let mut tx = db.begin().await?;
                tx.execute("SELECT pg_advisory_xact_lock($1)", args![RELAY_LOCK]).await?;
                Some(tx)
            }
            _ => None,
        };
        Ok(Pause { _turn: turn, lock })
    }

    /// To be asked during a pause. After a turn that failed, or before the first one, what waits may have been published.
    pub(super) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::SeqCst)
    }

    /// What waits to be published on some channels, as `tx` sees it: ids, and the keys they will be published with.
    pub(super) async fn waiting(
        &self,
        tx: &mut Tx,
        channels: &[Channel],
    ) -> Result<(Vec<i64>, HashSet<Arc<str>>), DbError> {
        let waiting: Vec<Waiting> = tx.fetch_all("SELECT id, channel, created_at FROM outbox", args![]).await?;
        let of = waiting.into_iter().filter(|row| channels.iter().any(|channel| channel.as_str() == row.channel));
        Ok(of.map(|row| (row.id, key(row.id, row.created_at))).unzip())
    }

    /// The keys of what one turn of a relay may have published of a channel, with as much again for rows that were
    /// committed since.
    pub(super) async fn first_keys(&self, db: &Db, channel: &Channel) -> Result<HashSet<Arc<str>>, DbError> {
        let sql = "SELECT id, channel, created_at FROM outbox ORDER BY id LIMIT $1";
        let first: Vec<Waiting> = db.fetch_all(sql, args![2 * relay::BATCH]).await?;
        let of = first.into_iter().filter(|row| row.channel == channel.as_str());
        Ok(of.map(|row| key(row.id, row.created_at)).collect())
    }

    /// How many of these still wait.
    pub(super) async fn still_waiting(&self, db: &Db, ids: &[i64]) -> Result<i64, DbError> {
        let sql = db.by_engine(
            "SELECT count(*) AS count FROM outbox WHERE id IN (SELECT value FROM json_each($1))",
            "SELECT count(*) AS count FROM outbox WHERE id IN (SELECT value::bigint FROM jsonb_array_elements_text($1))",
        );
        let count: Count = db.fetch_one(sql, args![serde_json::Value::from(ids)]).await?;
        Ok(count.count)
    }
}

/// What a row is published under: a relay that dies behind a publish does not publish again.
fn key(id: i64, created_at: DateTime<Utc>) -> Arc<str> {
    format!("outbox-{}-{id}", created_at.timestamp_micros()).into()
}

#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

//! Rows and their publications are one: a publication is staged in the transaction that writes the row, and the relay
//! publishes it after the commit. A crash between the two loses nothing.
//!
//! Once: a relay that dies between publishing and deleting tries again under the same key, which the broker knows.
//! Order: by id, and a writer holds its row until it commits, so what is said of one row comes in the order in which it
//! became true.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use serde::Serialize;
use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio_util::sync::CancellationToken;

use crate::args;
use crate::db::{Db, DbError, Tx};
use crate::queue::Queue;
use crate::stream::{Channel, Node, Outgoing, PublishError, Tags};
use crate::telemetry::trace::{self, Kind};
use crate::telemetry::{Registry, name};

/// Publications of one turn of the relay.
const BATCH: i64 = 500;
/// The relay looks by itself this often: for what another process has left.
const POLL: Duration = Duration::from_secs(1);
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
}

impl Outbox {
    pub fn new(queue: Queue) -> Self {
        Self { committed: Arc::default(), queue, turn: Arc::default() }
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

    /// Writes many publications of one channel in one statement: each its data, a JSON text, and its tags.
    pub async fn stage_all(
        &self,
        tx: &mut Tx,
        channel: &'static str,
        messages: &[(String, Tags)],
        now: DateTime<Utc>,
    ) -> Result<(), StageError> {
        let mut rows = Vec::with_capacity(messages.len());
        for (data, tags) in messages {
            rows.push(serde_json::json!([data, serde_json::to_string(tags)?]));
        }
        let sql = tx.by_engine(
            "INSERT INTO outbox (channel, data, tags, created_at)
             SELECT $1, value ->> 0, value ->> 1, $2 FROM json_each($3) ORDER BY key",
            "INSERT INTO outbox (channel, data, tags, created_at)
             SELECT $1, value ->> 0, value ->> 1, $2 FROM jsonb_array_elements($3) WITH ORDINALITY ORDER BY ordinality",
        );
        tx.execute(sql, args![channel, now, serde_json::Value::from(rows)]).await?;
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

#[derive(sqlx::FromRow)]
struct Waiting {
    id: i64,
    channel: String,
    created_at: DateTime<Utc>,
}

#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Publishes what has been staged, in order.
pub struct Relay {
    db: Db,
    node: Node,
    outbox: Outbox,
    relayed: Counter,
    refused: Counter,
    pending: Gauge,
}

#[derive(sqlx::FromRow)]
struct Staged {
    id: i64,
    channel: String,
    data: String,
    tags: String,
    created_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Count {
    count: i64,
}

impl Relay {
    pub fn new(db: Db, node: Node, outbox: Outbox, registry: &mut Registry) -> Self {
        let (relayed, refused, pending) = (Counter::default(), Counter::default(), Gauge::default());
        registry.register(name::OUTBOX_RELAYED, "Publications sent from the outbox", relayed.clone());
        let help = "Outbox rows that no broker would ever take; they are logged and removed";
        registry.register(name::OUTBOX_REFUSED, help, refused.clone());
        registry.register(name::OUTBOX_PENDING, "Publications that wait in the outbox", pending.clone());
        Self { db, node, outbox, relayed, refused, pending }
    }

    /// Runs until `stop`; what is staged by then still goes out.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = Duration::ZERO;
        loop {
            let last = stop.is_cancelled();
            match self.turn().await {
                Ok(0) => {
                    pause = Duration::ZERO;
                    if last {
                        return;
                    }
                    tokio::select! {
                        () = self.outbox.committed.notified() => {}
                        () = tokio::time::sleep(POLL) => {}
                        () = stop.cancelled() => {}
                    }
                }
                Ok(_) => pause = Duration::ZERO,
                Err(error) => {
                    // The rows stay where they are, so a stop does not have to wait for the broker.
                    tracing::warn!(%error, "the outbox could not be relayed; trying again");
                    if last {
                        return;
                    }
                    pause = (pause * 2).clamp(Duration::from_millis(50), Duration::from_secs(5));
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stop.cancelled() => {}
                    }
                }
            }
        }
    }

    /// Publishes up to a batch and deletes what went out; answers how many rows it handled.
    async fn turn(&self) -> anyhow::Result<usize> {
        let pause = self.outbox.pause(&self.db).await?;
        let sql = "SELECT id, channel, data, tags, created_at FROM outbox ORDER BY id LIMIT $1";
        let staged: Vec<Staged> = self.db.fetch_all(sql, args![BATCH]).await?;
        if staged.len() < BATCH as usize {
            self.pending.set(staged.len() as i64);
        } else {
            let all: Count = self.db.fetch_one("SELECT count(*) AS count FROM outbox", args![]).await?;
            self.pending.set(all.count);
        }
        let mut done = Vec::with_capacity(staged.len());
        let mut failure = None;
        for row in staged {
            match self.publish(&row).await {
                Ok(()) => self.relayed.inc(),
                Err(PublishError::Unavailable(error)) => {
                    failure = Some(anyhow::anyhow!(error));
                    break;
                }
                Err(error) => {
                    tracing::error!(%error, channel = row.channel, data = row.data, "an outbox row cannot be published");
                    self.refused.inc()
                }
            };
            done.push(row.id);
        }
        let count = done.len();
        self.delete(done).await?;
        pause.end().await?;
        failure.map_or(Ok(count), Err)
    }

    async fn publish(&self, row: &Staged) -> Result<(), PublishError> {
        let channel = Channel::new(&row.channel).map_err(|error| PublishError::NotJson(error.to_string()))?;
        let tags: Tags = serde_json::from_str(&row.tags).map_err(|error| PublishError::NotJson(error.to_string()))?;
        let message = Outgoing { data: Bytes::from(row.data.clone()), tags, key: Some(key(row.id, row.created_at)) };
        if let Some(above) = trace::of_tags(&message.tags) {
            trace::span(above, "outbox.wait", Kind::Internal, trace::since(row.created_at.into()), &[("row", &row.id)]);
        }
        self.node.publish_message(&channel, message).await.map(|_| ())
    }

    /// Deletes exactly the rows that went out: a lower id may have been committed meanwhile.
    async fn delete(&self, ids: Vec<i64>) -> Result<(), DbError> {
        if ids.is_empty() {
            return Ok(());
        }
        let sql = self.db.by_engine(
            "DELETE FROM outbox WHERE id IN (SELECT value FROM json_each($1))",
            "DELETE FROM outbox WHERE id IN (SELECT value::bigint FROM jsonb_array_elements_text($1))",
        );
        self.db.execute(sql, args![serde_json::Value::from(ids)]).await?;
        Ok(())
    }
}

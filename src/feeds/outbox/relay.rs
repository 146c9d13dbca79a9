//! The relay: publishes what has been staged, in order, and forgets what the broker has accepted.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::sql::{self, Staged};
use super::{Outbox, Recorder, key};
use crate::db::{Db, DbError, Tx};
use crate::stream::{Channel, Node, Outgoing, Position, PublishError, Tags};
use crate::telemetry::trace::{self, Kind};
use crate::telemetry::{Registry, name};

/// Publications of one turn of the relay.
pub(super) const BATCH: i64 = 1_000;
/// While there are more, they are counted this often.
const COUNT: Duration = Duration::from_secs(5);
/// The relay looks by itself this often: for what another process has left.
const POLL: Duration = Duration::from_secs(1);

/// Publishes what has been staged, in order.
pub struct Relay {
    db: Db,
    node: Node,
    outbox: Outbox,
    record: Option<Recorder>,
    relayed: Counter,
    refused: Counter,
    pending: Gauge,
    /// When the rows were counted last.
    counted_at: Mutex<Option<Instant>>,
}

/// What became of some rows.
#[derive(Default)]
struct Done {
    /// Published or refused for good: they are deleted.
    ids: Vec<i64>,
    /// Of those, what was published, where, and when.
    published: Vec<(i64, Position, i64)>,
    /// Why the rest has to wait.
    failure: Option<anyhow::Error>,
}

impl Relay {
    pub fn new(db: Db, node: Node, outbox: Outbox, registry: &mut Registry) -> Self {
        let (relayed, refused, pending) = (Counter::default(), Counter::default(), Gauge::default());
        registry.register(name::OUTBOX_RELAYED, "Publications sent from the outbox", relayed.clone());
        let help = "Outbox rows that no broker would ever take; they are logged and removed";
        registry.register(name::OUTBOX_REFUSED, help, refused.clone());
        registry.register(name::OUTBOX_PENDING, "Publications that wait in the outbox", pending.clone());
        Self { db, node, outbox, record: None, relayed, refused, pending, counted_at: Mutex::default() }
    }

    /// Keeps what it publishes.
    pub fn recording(self, record: Option<Recorder>) -> Self {
        Self { record, ..self }
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
        let mut pause = self.outbox.pause(&self.db).await?;
        // One transaction for all of it where the pause is one: each step to and from the database counts at this rate.
        let mut staged = sql::first(&self.db, pause.lock(), BATCH).await?;
        let more = staged.len() >= BATCH as usize;
        self.count(staged.len() as i64, more).await?;
        self.outbox.settled.store(false, Ordering::SeqCst);
        let mut done = Done::default();
        while let (Some(first), None) = (staged.first(), &done.failure) {
            // Neighbors of one channel go together, so that the order is the outbox's over all channels.
            let run = staged.iter().take_while(|row| row.channel == first.channel).count();
            let rest = staged.split_off(run);
            self.publish(std::mem::replace(&mut staged, rest), &mut done).await;
        }
        let (count, failure) = (done.ids.len(), done.failure.take());
        self.forget(done, pause.lock()).await?;
        pause.end().await?;
        self.outbox.settled.store(failure.is_none(), Ordering::SeqCst);
        failure.map_or(Ok(count), Err)
    }

    /// Sets the gauge of what waits. PostgreSQL walks through all rows to count them, so that is done once in a while.
    async fn count(&self, first: i64, more: bool) -> Result<(), DbError> {
        let mut counted_at = self.counted_at.lock().await;
        if !more {
            self.pending.set(first);
        } else if counted_at.is_none_or(|at| at.elapsed() >= COUNT) {
            self.pending.set(sql::count(&self.db).await?);
            *counted_at = Some(Instant::now());
        }
        Ok(())
    }

    /// Publishes rows of one channel.
    async fn publish(&self, rows: Vec<Staged>, done: &mut Done) {
        let Some(channel) = rows.first().map(|row| Channel::new(&row.channel)) else { return };
        let channel = match channel {
            Ok(channel) => channel,
            Err(error) => return rows.iter().for_each(|row| self.refuse(row, &error, done)),
        };
        let (mut ids, mut texts, mut messages) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            match serde_json::from_str::<Tags>(&row.tags) {
                Ok(tags) => {
                    if let Some(above) = trace::of_tags(&tags) {
                        let since = trace::since(row.created_at.into());
                        trace::span(above, "outbox.wait", Kind::Internal, since, &[("row", &row.id)]);
                    }
                    let (data, key) = (Bytes::from(row.data), key(row.id, row.created_at));
                    ids.push(row.id);
                    texts.push(data.clone());
                    messages.push(Outgoing { data, tags, key: Some(key), ..Outgoing::default() });
                }
                Err(error) => self.refuse(&row, &error, done),
            }
        }
        let answers = self.node.publish_all(&channel, messages).await;
        let at_ms = self.record.as_ref().map_or(0, Recorder::now_ms);
        for ((id, data), answer) in ids.into_iter().zip(texts).zip(answers) {
            match answer {
                Ok(position) => {
                    self.relayed.inc();
                    done.ids.push(id);
                    done.published.push((id, position, at_ms));
                }
                Err(PublishError::Unavailable(error)) => {
                    done.failure = Some(anyhow::anyhow!(error));
                    return;
                }
                Err(error) => {
                    let data = String::from_utf8_lossy(&data);
                    tracing::error!(%error, %channel, %data, "an outbox row cannot be published");
                    self.refused.inc();
                    done.ids.push(id);
                }
            }
        }
    }

    fn refuse(&self, row: &Staged, error: &dyn std::fmt::Display, done: &mut Done) {
        tracing::error!(%error, channel = row.channel, data = row.data, "an outbox row cannot be published");
        self.refused.inc();
        done.ids.push(row.id);
    }

    /// Records what was published and deletes what is done, in one step.
    async fn forget(&self, done: Done, lock: Option<&mut Tx>) -> Result<(), DbError> {
        if done.ids.is_empty() {
            return Ok(());
        }
        match lock {
            Some(lock) => self.forget_in(lock, done).await,
            None => {
                let mut tx = self.db.begin().await?;
                self.forget_in(&mut tx, done).await?;
                tx.commit().await
            }
        }
    }

    async fn forget_in(&self, tx: &mut Tx, done: Done) -> Result<(), DbError> {
        if let (Some(record), false) = (&self.record, done.published.is_empty()) {
            record.keep(tx, &done.published).await?;
        }
        sql::delete(tx, done.ids).await
    }
}

//! The journal in a database file of its own, where one process is all there is: accepting does not wait for the rows that
//! are being applied, nor those for what is accepted.
//!
//! A row holds everything that was stored in one go, an entry a line: one statement and one write to the disk, however
//! many requests wait for it. A row leaves the file behind the commit of its effects, together with the next that comes.
//! A process that ends in between applies it again, which changes nothing: events are known by their ids, as with the
//! journal on Redis.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::batch::{self, LONGEST_PAUSE};
use super::portion::Portion;
use super::sql::{self, Text};
use super::{BatchHandler, IntakeError, JournalOptions, Queue};
use crate::db::{Db, DbError, DbMetrics, DbOptions};
use crate::telemetry::Registry;

/// The journal looks by itself this often: a wake-up that was missed costs no more.
const POLL: Duration = Duration::from_secs(1);

/// Cloning shares it.
#[derive(Clone)]
pub struct FileJournal {
    db: Db,
    appended: Arc<Notify>,
    /// Entries.
    waiting: Arc<AtomicUsize>,
    /// Rows up to this one have taken effect.
    applied: Arc<AtomicI64>,
    /// Rows up to this one have left the file.
    forgotten: Arc<AtomicI64>,
    batch_entries: usize,
}

/// Where the reader stands.
struct Reading {
    /// Entries that were read and are in no part yet.
    entries: VecDeque<String>,
    /// The last row that was read.
    row: i64,
    rows: Portion,
    portion: Portion,
}

/// What one transaction applies.
struct Part<W> {
    entries: Vec<String>,
    work: Result<Vec<W>, String>,
    /// With it, everything up to this row has taken effect.
    row: Option<i64>,
}

impl FileJournal {
    /// What an earlier process has left is there, and counts.
    pub async fn open(path: &Path, options: &JournalOptions) -> Result<Self, DbError> {
        let few = DbOptions { pool_size: 1, ..DbOptions::default() };
        let url = format!("sqlite://{}", path.display());
        // Its statements are not among the database's figures.
        let db = Db::open(&url, &few, DbMetrics::register(&mut Registry::default())).await?;
        let waiting = sql::open_journal(&db).await?;
        Ok(Self {
            db,
            appended: Arc::default(),
            waiting: Arc::new(AtomicUsize::new(usize::try_from(waiting).unwrap_or(0))),
            applied: Arc::default(),
            forgotten: Arc::default(),
            batch_entries: options.batch_entries.max(1),
        })
    }

    /// Appends all, or none when more than `max_entries` would wait.
    pub(super) async fn append(&self, payloads: &[String], max_entries: usize) -> Result<(), IntakeError> {
        if self.waiting.load(Ordering::SeqCst) + payloads.len() > max_entries {
            return Err(IntakeError::Full);
        }
        let unavailable = |error: DbError| IntakeError::Unavailable(error.to_string());
        let applied = self.applied.load(Ordering::SeqCst);
        let mut tx = self.db.begin().await.map_err(unavailable)?;
        if applied > self.forgotten.load(Ordering::SeqCst) {
            sql::forget_rows(&mut tx, applied).await.map_err(unavailable)?;
        }
        sql::append(&mut tx, payloads).await.map_err(unavailable)?;
        tx.commit().await.map_err(unavailable)?;
        self.forgotten.fetch_max(applied, Ordering::SeqCst);
        self.waiting.fetch_add(payloads.len(), Ordering::SeqCst);
        self.appended.notify_one();
        Ok(())
    }

    /// Moves what waits into the queue's table: this file is not the journal any more.
    pub async fn move_into(self, queue: &Queue, topic: &'static str) -> Result<(), DbError> {
        loop {
            let rows = sql::rows_after(&self.db, 0, 1).await?;
            let Some(row) = rows.into_iter().next() else { break };
            let text = |payload: &str| Text { payload: payload.to_owned(), key: None };
            let texts: Vec<Text> = row.payload.lines().map(text).collect();
            let (mut tx, now) = (queue.inner.db.begin().await?, queue.inner.clock.now());
            sql::insert_texts(&mut tx, topic, &texts, 0, None, (now, now)).await?;
            tx.commit().await?;
            let mut tx = self.db.begin().await?;
            sql::forget_rows(&mut tx, row.id).await?;
            tx.commit().await?;
            tracing::info!(topic, entries = texts.len(), "events of an earlier setting were taken over");
        }
        self.db.close().await;
        Ok(())
    }

    /// Applies what waits, in order, until `stop`. What cannot be applied moves into `queue`.
    pub async fn run<H: BatchHandler>(&self, queue: &Queue, topic: &'static str, handler: &H, stop: CancellationToken) {
        let mut pause = Duration::ZERO;
        let (rows, portion) = (Portion::new(self.batch_entries), Portion::new(self.batch_entries));
        let mut reading = Reading { entries: VecDeque::new(), row: 0, rows, portion };
        // The one that is applied, and the one behind it, which is read meanwhile.
        let mut parts: VecDeque<Part<H::Work>> = VecDeque::new();
        while !stop.is_cancelled() {
            let (applied, ahead) = match parts.front() {
                Some(part) => tokio::join!(
                    queue.apply_parsed(topic, handler, &part.entries, &part.work),
                    self.read(&mut reading, parts.len() < 2)
                ),
                None => (Ok(()), self.read(&mut reading, true).await),
            };
            let done = if applied.is_ok() { parts.pop_front() } else { None };
            if let Some(done) = &done {
                self.note_applied(done);
            }
            queue.set_pending(topic, "journal", i64::try_from(self.waiting.load(Ordering::SeqCst)).unwrap_or(i64::MAX));
            let failed = match (applied, ahead) {
                (applied, Ok(ahead)) => {
                    parts.extend(ahead);
                    applied.err().map(|error| error.to_string())
                }
                (_, Err(error)) => Some(error),
            };
            if let Some(error) = failed {
                pause = (pause * 2).clamp(Duration::from_millis(50), LONGEST_PAUSE);
                tracing::warn!(topic, error, ?pause, "events cannot be applied now; trying again");
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                }
                continue;
            }
            pause = Duration::ZERO;
            if done.is_none() && parts.is_empty() {
                // While two processes overlap, each applies what the other has counted.
                self.waiting.store(0, Ordering::SeqCst);
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = self.appended.notified() => {}
                    () = tokio::time::sleep(POLL) => self.forget().await,
                }
            }
        }
        self.forget().await;
        self.db.close().await;
    }

    /// Reads and parses the next part, unless none is wanted; `None` as well when nothing waits.
    async fn read<W>(&self, reading: &mut Reading, wanted: bool) -> Result<Option<Part<W>>, String>
    where
        W: DeserializeOwned + Send + 'static,
    {
        if !wanted {
            return Ok(None);
        }
        if reading.entries.is_empty() {
            let rows = sql::rows_after(&self.db, reading.row, reading.rows.limit()).await;
            let rows = rows.map_err(|error| error.to_string())?;
            let Some(last) = rows.last().map(|row| row.id) else { return Ok(None) };
            reading.rows.note(rows.iter().map(|row| row.payload.len()));
            reading.entries.extend(rows.iter().flat_map(|row| row.payload.lines()).map(str::to_owned));
            reading.row = last;
        }
        let count = reading.portion.count(reading.entries.iter().map(String::len));
        let entries: Vec<String> = reading.entries.drain(..count).collect();
        let row = reading.entries.is_empty().then_some(reading.row);
        // On another thread: the statements of the part before go on meanwhile.
        let parsed = tokio::task::spawn_blocking(move || (batch::parse(&entries), entries)).await;
        let (work, entries) = parsed.map_err(|error| error.to_string())?;
        Ok(Some(Part { entries, work, row }))
    }

    fn note_applied<W>(&self, part: &Part<W>) {
        if let Some(row) = part.row {
            self.applied.store(row, Ordering::SeqCst);
        }
        let less = |waiting: usize| Some(waiting.saturating_sub(part.entries.len()));
        let _ = self.waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
    }

    /// Where nothing new comes with which the applied rows would leave.
    async fn forget(&self) {
        let applied = self.applied.load(Ordering::SeqCst);
        if applied <= self.forgotten.load(Ordering::SeqCst) {
            return;
        }
        let forgotten = async {
            let mut tx = self.db.begin().await?;
            sql::forget_rows(&mut tx, applied).await?;
            tx.commit().await
        };
        match forgotten.await {
            Ok(()) => drop(self.forgotten.fetch_max(applied, Ordering::SeqCst)),
            Err(error) => tracing::warn!(%error, "applied events are still in the journal"),
        }
    }
}

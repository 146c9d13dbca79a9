//! The journal in a database file of its own, where one process is all there is: accepting does not wait for the rows that
//! are being applied, nor those for what is accepted.
//!
//! An entry leaves the file behind the commit of its effects. A process that ends in between applies it again, which
//! changes nothing: events are known by their ids, as with the journal on Redis.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::batch::LONGEST_PAUSE;
use super::{BatchHandler, IntakeError, JournalOptions, Queue, sql};
use crate::db::{Db, DbError, DbMetrics, DbOptions};
use crate::telemetry::Registry;

/// The journal looks by itself this often: a wake-up that was missed costs no more.
const POLL: Duration = Duration::from_secs(1);

/// Cloning shares it.
#[derive(Clone)]
pub struct FileJournal {
    db: Db,
    appended: Arc<Notify>,
    waiting: Arc<AtomicUsize>,
    batch_entries: usize,
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
            batch_entries: options.batch_entries.max(1),
        })
    }

    /// Appends all, or none when more than `max_entries` would wait.
    pub(super) async fn append(&self, payloads: Vec<String>, max_entries: usize) -> Result<(), IntakeError> {
        let count = payloads.len();
        if self.waiting.load(Ordering::SeqCst) + count > max_entries {
            return Err(IntakeError::Full);
        }
        let unavailable = |error: DbError| IntakeError::Unavailable(error.to_string());
        let mut tx = self.db.begin().await.map_err(unavailable)?;
        for payload in payloads {
            sql::append(&mut tx, payload).await.map_err(unavailable)?;
        }
        tx.commit().await.map_err(unavailable)?;
        self.waiting.fetch_add(count, Ordering::SeqCst);
        self.appended.notify_one();
        Ok(())
    }

    /// Applies what waits, in order, until `stop`. What cannot be applied moves into `queue`.
    pub async fn run<H: BatchHandler>(&self, queue: &Queue, topic: &'static str, handler: &H, stop: CancellationToken) {
        let mut pause = Duration::ZERO;
        while !stop.is_cancelled() {
            let applied = self.apply(queue, topic, handler).await;
            queue.set_pending(topic, "journal", i64::try_from(self.waiting.load(Ordering::SeqCst)).unwrap_or(i64::MAX));
            match applied {
                Ok(true) => pause = Duration::ZERO,
                Ok(false) => {
                    pause = Duration::ZERO;
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = self.appended.notified() => {}
                        () = tokio::time::sleep(POLL) => {}
                    }
                }
                Err(error) => {
                    pause = (pause * 2).clamp(Duration::from_millis(50), LONGEST_PAUSE);
                    tracing::warn!(topic, error, ?pause, "events cannot be applied now; trying again");
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
        self.db.close().await;
    }

    /// Applies the first entries; `false` when there are none.
    async fn apply<H: BatchHandler>(&self, queue: &Queue, topic: &'static str, handler: &H) -> Result<bool, String> {
        let told = |error: DbError| error.to_string();
        let entries = sql::first_entries(&self.db, self.batch_entries).await.map_err(told)?;
        let Some(last) = entries.last().map(|entry| entry.id) else { return Ok(false) };
        let count = entries.len();
        let payloads: Vec<String> = entries.into_iter().map(|entry| entry.payload).collect();
        queue.apply_or_keep(topic, handler, &payloads).await.map_err(|error| error.to_string())?;
        sql::forget_entries(&self.db, last).await.map_err(told)?;
        self.waiting.fetch_sub(count, Ordering::SeqCst);
        Ok(true)
    }
}

//! Read replicas of PostgreSQL, and when they may be asked.
//!
//! Only reads that [`reading`] is around may go to a replica, and only those outside a transaction: what a request with
//! GET looks up. A replica is asked when it has replayed everything that this process has committed, so a caller reads what
//! it wrote; otherwise, and when no replica answers, the primary is.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sqlx::postgres::PgPool;

/// Between two questions to a replica how far it is; meanwhile the primary is asked.
const ASK_EVERY_MS: u64 = 20;
/// A replica that failed is left alone for this long.
const LEAVE_ALONE_MS: u64 = 5_000;
/// How long a replica may take to say how far it is.
const ANSWER_WITHIN: Duration = Duration::from_millis(200);
/// Nobody knows how far the log was after the last commit.
const UNKNOWN: u64 = u64::MAX;

tokio::task_local! {
    static READING: ();
}

/// Runs a request that changes nothing: what it reads may come from a replica.
pub async fn reading<T>(work: impl Future<Output = T>) -> T {
    READING.scope((), work).await
}

/// Cloning shares it.
#[derive(Clone)]
pub(super) struct Replicas(Arc<Inner>);

struct Inner {
    replicas: Vec<Replica>,
    next: AtomicUsize,
    /// Where the log was after this process's last commit.
    written: AtomicU64,
    begun: Instant,
}

struct Replica {
    pool: PgPool,
    /// Up to where it has replayed, when it was asked last.
    replayed: AtomicU64,
    /// Milliseconds since the beginning; before it, it is not asked how far it is.
    ask_at_ms: AtomicU64,
    /// The same; before it, it is not asked anything.
    back_at_ms: AtomicU64,
}

impl Replicas {
    pub fn new(pools: Vec<PgPool>) -> Self {
        let replicas = pools.into_iter().map(|pool| Replica {
            pool,
            replayed: AtomicU64::new(0),
            ask_at_ms: AtomicU64::new(0),
            back_at_ms: AtomicU64::new(0),
        });
        let written = AtomicU64::new(UNKNOWN);
        Self(Arc::new(Inner {
            replicas: replicas.collect(),
            next: AtomicUsize::new(0),
            written,
            begun: Instant::now(),
        }))
    }

    /// Called after each commit, before whoever wrote is told of it.
    pub async fn note_write(&self, primary: &PgPool) {
        let sql = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint";
        let at: Result<i64, _> = sqlx::query_scalar(sql).fetch_one(primary).await;
        match at {
            Ok(at) => {
                let at = at.unsigned_abs();
                // Of two that ran side by side the later counts; from an unknown place any later one leads out.
                let _ = self.0.written.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |written| {
                    Some(if written == UNKNOWN { at } else { written.max(at) })
                });
            }
            Err(error) => {
                tracing::warn!(%error, "after a commit nobody could say how far the log is; the primary is read from");
                self.0.written.store(UNKNOWN, Ordering::SeqCst);
            }
        }
    }

    /// A replica that has all that was written here, if the running task may read from one.
    pub async fn choose(&self, primary: &PgPool) -> Option<(usize, PgPool)> {
        READING.try_with(|()| ()).ok()?;
        if self.0.written.load(Ordering::SeqCst) == UNKNOWN {
            self.note_write(primary).await;
        }
        let first = self.0.next.fetch_add(1, Ordering::Relaxed);
        for step in 0..self.0.replicas.len() {
            let index = (first + step) % self.0.replicas.len();
            if self.has_all(index).await {
                return Some((index, self.0.replicas[index].pool.clone()));
            }
        }
        None
    }

    async fn has_all(&self, index: usize) -> bool {
        let (replica, written) = (&self.0.replicas[index], self.0.written.load(Ordering::SeqCst));
        let now_ms = self.0.begun.elapsed().as_millis() as u64;
        if now_ms < replica.back_at_ms.load(Ordering::Relaxed) {
            return false;
        }
        if replica.replayed.load(Ordering::SeqCst) >= written {
            return true;
        }
        let ask_at_ms = replica.ask_at_ms.load(Ordering::Relaxed);
        let mine = now_ms >= ask_at_ms
            && replica
                .ask_at_ms
                .compare_exchange(ask_at_ms, now_ms + ASK_EVERY_MS, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !mine {
            return false;
        }
        let sql = "SELECT coalesce(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0'), 0)::bigint";
        let asked =
            tokio::time::timeout(ANSWER_WITHIN, sqlx::query_scalar::<_, i64>(sql).fetch_one(&replica.pool)).await;
        match asked {
            Ok(Ok(at)) => {
                replica.replayed.fetch_max(at.unsigned_abs(), Ordering::SeqCst);
                at.unsigned_abs() >= written
            }
            Ok(Err(error)) => {
                self.failed(index, &error);
                false
            }
            Err(_) => {
                self.failed(index, &"it did not answer");
                false
            }
        }
    }

    /// Leaves a replica alone for a while.
    pub fn failed(&self, index: usize, error: &dyn std::fmt::Display) {
        let Some(replica) = self.0.replicas.get(index) else { return };
        let now_ms = self.0.begun.elapsed().as_millis() as u64;
        if replica.back_at_ms.swap(now_ms + LEAVE_ALONE_MS, Ordering::Relaxed) <= now_ms {
            tracing::warn!(%error, replica = index + 1, "a read replica is left alone for a while");
        }
    }

    pub async fn close(&self) {
        for replica in &self.0.replicas {
            replica.pool.close().await;
        }
    }
}

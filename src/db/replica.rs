//! Read replicas of PostgreSQL, and when they may be asked.
//!
//! Only reads that [`reading`] is around may go to a replica, and only those outside a transaction: what a request with
//! GET looks up. A replica is asked when it has replayed everything that any node had committed when the request looked:
//! the primary says where its log is, in a statement that all requests of a moment share. So whoever was told of a write,
//! on whichever node, reads it; otherwise, and when no replica answers, the primary is asked.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sqlx::postgres::PgPool;

use super::latest::Latest;

/// A replica that lags is not asked again before this; meanwhile the primary is.
const ASK_AGAIN_MS: u64 = 2;
/// A replica that failed is left alone for this long.
const LEAVE_ALONE_MS: u64 = 5_000;
/// How long a replica may take to say how far it is.
const ANSWER_WITHIN: Duration = Duration::from_millis(200);
/// How far the log has been flushed covers every commit that somebody was told of, unless commits do not wait for it.
const PRIMARY_AT: &str = "SELECT pg_wal_lsn_diff(CASE current_setting('synchronous_commit') WHEN 'off' \
                          THEN pg_current_wal_insert_lsn() ELSE pg_current_wal_flush_lsn() END, '0/0')::bigint";
const REPLICA_AT: &str = "SELECT coalesce(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0'), 0)::bigint";

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
    /// Where the primary's log is.
    written: Latest<u64>,
    begun: Instant,
}

struct Replica {
    pool: PgPool,
    /// Up to where it has replayed, when it was asked last.
    replayed: AtomicU64,
    asked: Latest<u64>,
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
            asked: Latest::default(),
            ask_at_ms: AtomicU64::new(0),
            back_at_ms: AtomicU64::new(0),
        });
        Self(Arc::new(Inner {
            replicas: replicas.collect(),
            next: AtomicUsize::new(0),
            written: Latest::default(),
            begun: Instant::now(),
        }))
    }

    /// A replica that has all that was written anywhere before this was called, if the running task may read from one.
    pub async fn choose(&self, primary: &PgPool) -> Option<(usize, PgPool)> {
        READING.try_with(|()| ()).ok()?;
        if (0..self.0.replicas.len()).all(|index| self.is_left_alone(index)) {
            return None;
        }
        let look = async {
            let at: Result<i64, _> = sqlx::query_scalar(PRIMARY_AT).fetch_one(primary).await;
            let warn = |error| tracing::warn!(%error, "the primary does not say where its log is");
            at.map_err(warn).ok().map(i64::unsigned_abs)
        };
        let written = self.0.written.get(look).await?;
        let first = self.0.next.fetch_add(1, Ordering::Relaxed);
        for step in 0..self.0.replicas.len() {
            let index = (first + step) % self.0.replicas.len();
            if self.has_all(index, written).await {
                return Some((index, self.0.replicas[index].pool.clone()));
            }
        }
        None
    }

    fn now_ms(&self) -> u64 {
        self.0.begun.elapsed().as_millis() as u64
    }

    fn is_left_alone(&self, index: usize) -> bool {
        let replica = &self.0.replicas[index];
        self.now_ms() < replica.back_at_ms.load(Ordering::Relaxed).max(replica.ask_at_ms.load(Ordering::Relaxed))
    }

    async fn has_all(&self, index: usize, written: u64) -> bool {
        let replica = &self.0.replicas[index];
        if self.is_left_alone(index) {
            return false;
        }
        if replica.replayed.load(Ordering::SeqCst) >= written {
            return true;
        }
        let look = async {
            let asked = sqlx::query_scalar::<_, i64>(REPLICA_AT).fetch_one(&replica.pool);
            match tokio::time::timeout(ANSWER_WITHIN, asked).await {
                Ok(Ok(at)) => Some(at.unsigned_abs()),
                Ok(Err(error)) => {
                    self.failed(index, &error);
                    None
                }
                Err(_) => {
                    self.failed(index, &"it did not answer");
                    None
                }
            }
        };
        let Some(at) = replica.asked.get(look).await else { return false };
        replica.replayed.fetch_max(at, Ordering::SeqCst);
        if at < written {
            replica.ask_at_ms.store(self.now_ms() + ASK_AGAIN_MS, Ordering::Relaxed);
        }
        at >= written
    }

    /// Leaves a replica alone for a while.
    pub fn failed(&self, index: usize, error: &dyn std::fmt::Display) {
        let Some(replica) = self.0.replicas.get(index) else { return };
        let now_ms = self.now_ms();
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

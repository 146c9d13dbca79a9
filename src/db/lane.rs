//! A few connections at hand for reads that are over in one statement.
//!
//! The library's pool asks each connection that comes back whether it is still there, by a task of its own and a way to the
//! server and back: as much as a small read costs. A read that went well leaves its connection in no doubt.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPool;

use super::open::FRESH;
use super::run::{postgres_arguments, postgres_rows};
use super::{Arg, DbError, Row};

/// Connections kept, and which part of the pool at most: the others are for whoever comes to the pool itself.
const MOST: usize = 4;
const PART: usize = 4;
/// Then it goes back to the pool, which replaces connections that have become old.
const LEND: Duration = Duration::from_secs(30);

pub(super) struct Lane {
    pool: PgPool,
    idle: Mutex<Vec<Lent>>,
    most: usize,
}

struct Lent {
    connection: PoolConnection<Postgres>,
    since: Instant,
    used: Instant,
}

impl Lane {
    pub fn new(pool: PgPool) -> Self {
        let most = MOST.min(pool.options().get_max_connections() as usize / PART);
        Self { pool, idle: Mutex::default(), most }
    }

    pub async fn rows<T: Row>(&self, sql: &str, args: Vec<Arg>) -> Result<Vec<T>, DbError> {
        let mut lent = match self.take() {
            Some(lent) => lent,
            None => {
                let (connection, now) = (self.pool.acquire().await?, Instant::now());
                Lent { connection, since: now, used: now }
            }
        };
        // Whoever goes away in the middle leaves it to the pool; so does a failure.
        let rows = postgres_rows(&mut *lent.connection, sql, postgres_arguments(args)?).await?;
        lent.used = Instant::now();
        let mut idle = self.idle();
        if idle.len() < self.most && lent.since.elapsed() < LEND && !self.pool.is_closed() {
            idle.push(lent);
        }
        Ok(rows)
    }

    /// After the pool was closed: it waits for these.
    pub fn give_back(&self) {
        self.idle().clear();
    }

    fn take(&self) -> Option<Lent> {
        let mut idle = self.idle();
        let lent = idle.pop()?;
        if lent.used.elapsed() < FRESH {
            return Some(lent);
        }
        // The others have been there for longer.
        idle.clear();
        None
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Lent>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Pools, opened from a URL.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Executor};

use super::lane::Lane;
use super::replica::Replicas;
use super::slow::Explainer;
use super::{Db, DbError, DbMetrics, Engine};

/// How the database is connected to; which one it is, its URL says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DbOptions {
    /// Connections that are kept open.
    pub pool_size: u32,
    /// Connections beyond those, opened under load.
    pub max_overflow: u32,
    /// How long a statement may wait for a connection.
    pub acquire_timeout_ms: u64,
    /// A connection is replaced after this time.
    pub recycle_s: u64,
    /// PostgreSQL: read replicas, by spaces; see [`super::reading`].
    pub read_urls: String,
    /// Statements that take longer are counted and logged, in milliseconds.
    pub slow_ms: u64,
    /// Whether the plan of a slow read is logged, one in ten seconds at most.
    pub explain_slow: bool,
}

impl Default for DbOptions {
    fn default() -> Self {
        Self {
            pool_size: 20,
            max_overflow: 30,
            acquire_timeout_ms: 5_000,
            recycle_s: 3_600,
            read_urls: String::new(),
            slow_ms: 100,
            explain_slow: false,
        }
    }
}

/// Rows that SQLite's thread reads ahead of whoever takes them: with few, the two wake each other all the time.
const ROWS_AHEAD: usize = 1_000;
/// What the connection that writes keeps of a SQLite file in memory; negative, as SQLite wants it for KiB.
const CACHE_KIB: &str = "-65536";
/// Pages of the write-ahead log after which they go to the file: 64 MiB.
const CHECKPOINT_PAGES: &str = "16000";

/// A connection that was used within this time is taken for one that is there.
pub(super) const FRESH: Duration = Duration::from_millis(500);

/// Connections of the pool.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PoolFigures {
    pub open: u32,
    pub idle: usize,
    pub max: u32,
}

impl Db {
    /// Connects, and fails when the database cannot be reached. `url` is `sqlite://path` or `postgres://…`.
    pub async fn open(url: &str, options: &DbOptions, mut metrics: DbMetrics) -> Result<Self, DbError> {
        let engine = if let Some(path) = url.strip_prefix("sqlite:") {
            open_sqlite(path.strip_prefix("//").unwrap_or(path), options).await?
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            open_postgres(url, options).await?
        } else {
            return Err(DbError::Url("the URL must begin with sqlite:// or postgres://".into()));
        };
        metrics.slow = Duration::from_millis(options.slow_ms);
        let replicas = match &engine {
            Engine::Postgres(_) if !options.read_urls.trim().is_empty() => Some(open_replicas(options)?),
            _ => None,
        };
        let explainer = options.explain_slow.then(|| Arc::new(Explainer::new()));
        let lane = match &engine {
            Engine::Postgres(pool) => Some(Arc::new(Lane::new(pool.clone()))),
            Engine::Sqlite { .. } => None,
        };
        Ok(Self { engine, metrics, replicas, explainer, changes: Arc::default(), lane })
    }

    /// Answers when a connection answers.
    pub async fn ping(&self) -> Result<(), DbError> {
        match &self.engine {
            Engine::Sqlite { readers, .. } => sqlx::query("SELECT 1").execute(readers).await.map(|_| ())?,
            Engine::Postgres(pool) => sqlx::query("SELECT 1").execute(pool).await.map(|_| ())?,
        }
        Ok(())
    }

    pub fn pool_figures(&self) -> PoolFigures {
        match &self.engine {
            Engine::Sqlite { writer, readers } => PoolFigures {
                open: writer.size() + readers.size(),
                idle: writer.num_idle() + readers.num_idle(),
                max: 1 + readers.options().get_max_connections(),
            },
            Engine::Postgres(pool) => {
                PoolFigures { open: pool.size(), idle: pool.num_idle(), max: pool.options().get_max_connections() }
            }
        }
    }

    /// Finishes what is under way and closes the connections.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Engine::Postgres(pool) => {
                let closed = pool.close();
                self.lane.iter().for_each(|lane| lane.give_back());
                closed.await;
            }
        }
        if let Some(replicas) = &self.replicas {
            replicas.close().await;
        }
    }
}

async fn open_sqlite(path: &str, options: &DbOptions) -> Result<Engine, DbError> {
    if let Some(folder) = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(sqlx::Error::Io)?;
    }
    // FULL: what has been acknowledged survives a power cut, too.
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .row_buffer_size(ROWS_AHEAD)
        .foreign_keys(true);
    // A transaction of thousands of rows must not be written out in the middle for want of memory; pages that are
    // changed all the time are written to the file less often than to the log.
    let writes = connect.clone().pragma("cache_size", CACHE_KIB).pragma("wal_autocheckpoint", CHECKPOINT_PAGES);
    let pool = |max| {
        SqlitePoolOptions::new()
            .max_connections(max)
            .acquire_timeout(Duration::from_millis(options.acquire_timeout_ms))
            .after_release(|connection, _| Box::pin(ended_well(connection)))
    };
    let writer = pool(1).connect_with(writes).await?;
    let readers = pool(options.pool_size.clamp(1, 8)).connect_with(connect.read_only(true)).await?;
    Ok(Engine::Sqlite { writer, readers })
}

/// Whether a connection may be used again. SQLite ends a transaction by itself when the disk is full or fails; the library
/// does not learn of it, its own roll-back fails, and every transaction after that would be taken for a nested one.
async fn ended_well(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // Answered behind the roll-back.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// Connected when they are asked first: a replica that is away is no reason not to start.
fn open_replicas(options: &DbOptions) -> Result<Replicas, DbError> {
    let open = |url: &str| {
        let connect = PgConnectOptions::from_str(url)?.application_name("fanfare");
        Ok(pool(options).connect_lazy_with(connect))
    };
    Ok(Replicas::new(options.read_urls.split_whitespace().map(open).collect::<Result<_, sqlx::Error>>()?))
}

async fn open_postgres(url: &str, options: &DbOptions) -> Result<Engine, DbError> {
    let connect = PgConnectOptions::from_str(url)?.application_name("fanfare");
    Ok(Engine::Postgres(pool(options).min_connections(1).connect_with(connect).await?))
}

fn pool(options: &DbOptions) -> PgPoolOptions {
    PgPoolOptions::new()
        // The library asks each connection whether it is there when it comes back; to ask again before the next use is worth
        // its way only where there has been time to lose it.
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > FRESH {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .max_connections((options.pool_size + options.max_overflow).max(1))
        .acquire_timeout(Duration::from_millis(options.acquire_timeout_ms))
        .max_lifetime(Duration::from_secs(options.recycle_s))
        // Statements here are many and short: compiling one takes longer than it runs.
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute("SET jit = off").await.map(|_done| ()) })
        })
}

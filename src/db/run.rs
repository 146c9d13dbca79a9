//! Running statements: bind, fetch, measure.

use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use sqlx::postgres::{PgArguments, PgPool, Postgres};
use sqlx::sqlite::{Sqlite, SqliteArguments};
use sqlx::{Arguments, AssertSqlSafe, Executor, Transaction};

use super::replica::Replicas;
use super::{Arg, Db, DbError, DbOptions, Engine, Row, Tx};
use crate::telemetry::trace::{self, Kind};
use crate::telemetry::{Registry, name};

/// How long statements take, the wait for a connection included.
#[derive(Clone, Debug)]
pub struct DbMetrics {
    seconds: Histogram,
    slow_statements: Counter,
    /// Reads of requests that change nothing, by where they went.
    reads: Family<[(&'static str, &'static str); 1], Counter>,
    /// Statements that take longer are counted and logged.
    pub(super) slow: Duration,
}

impl DbMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let seconds = Histogram::new(exponential_buckets(0.000_1, 2.5, 11));
        let help = "Duration of database statements, the wait for a connection included";
        registry.register(name::DB_QUERY_DURATION, help, seconds.clone());
        let (slow_statements, reads) = (Counter::default(), Family::default());
        let help = "Statements that took longer than database.slow_ms";
        registry.register(name::DB_SLOW, help, slow_statements.clone());
        registry.register(name::DB_REPLICA_READS, "Reads that a replica may answer, by who did", reads.clone());
        Self { seconds, slow_statements, reads, slow: Duration::from_millis(DbOptions::default().slow_ms) }
    }

    pub(super) fn observe(&self, begun: Instant, sql: &str) -> Duration {
        let took = begun.elapsed();
        self.seconds.observe(took.as_secs_f64());
        if let Some(above) = trace::current() {
            trace::span(above, "db.statement", Kind::Client, begun, &[("db.query.text", &sql)]);
        }
        if took > self.slow {
            self.slow_statements.inc();
            tracing::warn!(took_ms = took.as_millis() as u64, sql, "slow statement");
        }
        took
    }
}

/// The arguments of a statement for one engine.
macro_rules! bound {
    ($arguments:ty, $args:expr) => {{
        let mut bound = <$arguments>::default();
        for arg in $args {
            let added = match arg {
                Arg::Int(value) => bound.add(value),
                Arg::Bool(value) => bound.add(value),
                Arg::Float(value) => bound.add(value),
                Arg::Text(value) => bound.add(value),
                Arg::Time(value) => bound.add(value),
                Arg::Money(value) => bound.add(value),
                Arg::Json(value) => bound.add(value.map(sqlx::types::Json)),
            };
            added.map_err(sqlx::Error::Encode)?;
        }
        bound
    }};
}

pub(super) fn sqlite_arguments(args: Vec<Arg>) -> Result<SqliteArguments, DbError> {
    Ok(bound!(SqliteArguments, args))
}

pub(super) fn postgres_arguments(args: Vec<Arg>) -> Result<PgArguments, DbError> {
    Ok(bound!(PgArguments, args))
}

pub(super) async fn sqlite_rows<T: Row>(
    executor: impl Executor<'_, Database = Sqlite>,
    sql: &str,
    args: Vec<Arg>,
) -> Result<Vec<T>, DbError> {
    let bound = sqlite_arguments(args)?;
    Ok(sqlx::query_as_with::<Sqlite, T, _>(AssertSqlSafe(sql), bound).fetch_all(executor).await?)
}

pub(super) async fn postgres_rows<T: Row>(
    executor: impl Executor<'_, Database = Postgres>,
    sql: &str,
    bound: PgArguments,
) -> Result<Vec<T>, DbError> {
    Ok(sqlx::query_as_with::<Postgres, T, _>(AssertSqlSafe(sql), bound).fetch_all(executor).await?)
}

pub(super) async fn sqlite_execute(
    executor: impl Executor<'_, Database = Sqlite>,
    sql: &str,
    args: Vec<Arg>,
) -> Result<u64, DbError> {
    let bound = sqlite_arguments(args)?;
    Ok(sqlx::query_with(AssertSqlSafe(sql), bound).execute(executor).await?.rows_affected())
}

pub(super) async fn postgres_execute(
    executor: impl Executor<'_, Database = Postgres>,
    sql: &str,
    bound: PgArguments,
) -> Result<u64, DbError> {
    Ok(sqlx::query_with(AssertSqlSafe(sql), bound).execute(executor).await?.rows_affected())
}

/// One row, or the engine's own "no rows" error.
fn only<T>(rows: Vec<T>) -> Result<T, DbError> {
    rows.into_iter().next().ok_or_else(|| sqlx::Error::RowNotFound.into())
}

impl Db {
    /// All rows. Outside a transaction a SELECT goes to the readers; see [`Db::execute`] for changes.
    pub async fn fetch_all<T: Row>(&self, sql: &'static str, args: Vec<Arg>) -> Result<Vec<T>, DbError> {
        self.rows(sql, args).await
    }

    pub async fn fetch_optional<T: Row>(&self, sql: &'static str, args: Vec<Arg>) -> Result<Option<T>, DbError> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    pub async fn fetch_one<T: Row>(&self, sql: &'static str, args: Vec<Arg>) -> Result<T, DbError> {
        only(self.rows(sql, args).await?)
    }

    /// All rows of a statement assembled by [`super::Sql`].
    pub async fn fetch_built<T: Row>(&self, sql: super::Sql) -> Result<Vec<T>, DbError> {
        let (text, args) = sql.into_parts();
        self.rows(&text, args).await
    }

    /// A change of its own, without a transaction around it; answers how many rows it touched.
    pub async fn execute(&self, sql: &'static str, args: Vec<Arg>) -> Result<u64, DbError> {
        let begun = Instant::now();
        let done = match &self.engine {
            Engine::Sqlite { writer, .. } => sqlite_execute(writer, sql, args).await,
            Engine::Postgres(pool) => postgres_execute(pool, sql, postgres_arguments(args)?).await,
        };
        self.metrics.observe(begun, sql);
        done
    }

    async fn rows<T: Row>(&self, sql: &str, args: Vec<Arg>) -> Result<Vec<T>, DbError> {
        let (begun, kept) = (Instant::now(), self.explainer.as_ref().map(|_| args.clone()));
        let rows = match (&self.engine, &self.replicas) {
            (Engine::Sqlite { readers, .. }, _) => sqlite_rows(readers, sql, args).await,
            (Engine::Postgres(pool), None) => self.lane_rows(pool, sql, args).await,
            (Engine::Postgres(pool), Some(replicas)) => self.replica_rows(pool, replicas, sql, args).await,
        };
        let took = self.metrics.observe(begun, sql);
        self.explain(sql, kept, took);
        rows
    }

    /// The same from the primary, whoever asks.
    pub(super) async fn primary_rows<T: Row>(&self, sql: &'static str, args: Vec<Arg>) -> Result<Vec<T>, DbError> {
        let begun = Instant::now();
        let rows = match &self.engine {
            Engine::Sqlite { readers, .. } => sqlite_rows(readers, sql, args).await,
            Engine::Postgres(pool) => self.lane_rows(pool, sql, args).await,
        };
        self.metrics.observe(begun, sql);
        rows
    }

    async fn lane_rows<T: Row>(&self, pool: &PgPool, sql: &str, args: Vec<Arg>) -> Result<Vec<T>, DbError> {
        match &self.lane {
            Some(lane) => lane.rows(sql, args).await,
            None => postgres_rows(pool, sql, postgres_arguments(args)?).await,
        }
    }

    /// From a replica where one may be asked; from the primary otherwise, and when the replica fails.
    async fn replica_rows<T: Row>(
        &self,
        primary: &PgPool,
        replicas: &Replicas,
        sql: &str,
        args: Vec<Arg>,
    ) -> Result<Vec<T>, DbError> {
        // A statement that changes something is no read, whoever asks.
        let reads = ["SELECT", "WITH"].iter().any(|word| sql.trim_start().starts_with(word));
        if let Some((index, pool)) = if reads { replicas.choose(primary).await } else { None } {
            match postgres_rows(&pool, sql, postgres_arguments(args.clone())?).await {
                Ok(rows) => {
                    self.metrics.reads.get_or_create(&[("from", "replica")]).inc();
                    return Ok(rows);
                }
                Err(error) => replicas.failed(index, &error),
            }
        }
        self.metrics.reads.get_or_create(&[("from", "primary")]).inc();
        postgres_rows(primary, sql, postgres_arguments(args)?).await
    }

    /// Begins a transaction that may write. On SQLite it waits for its turn.
    pub async fn begin(&self) -> Result<Tx, DbError> {
        Ok(Tx {
            open: match &self.engine {
                Engine::Sqlite { writer, .. } => Open::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
                Engine::Postgres(pool) => Open::Postgres(pool.begin().await?),
            },
            metrics: self.metrics.clone(),
        })
    }
}

impl Db {
    /// Begins a transaction that only reads, all of it at the moment of its first statement. It keeps no writer waiting.
    pub async fn begin_read(&self) -> Result<Tx, DbError> {
        Ok(Tx {
            open: match &self.engine {
                Engine::Sqlite { readers, .. } => Open::Sqlite(readers.begin().await?),
                Engine::Postgres(pool) => {
                    Open::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
                }
            },
            metrics: self.metrics.clone(),
        })
    }
}

/// A transaction of one engine.
pub(super) enum Open {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    pub async fn fetch_all<T: Row>(&mut self, sql: &'static str, args: Vec<Arg>) -> Result<Vec<T>, DbError> {
        self.rows(sql, args).await
    }

    pub async fn fetch_optional<T: Row>(&mut self, sql: &'static str, args: Vec<Arg>) -> Result<Option<T>, DbError> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    pub async fn fetch_one<T: Row>(&mut self, sql: &'static str, args: Vec<Arg>) -> Result<T, DbError> {
        only(self.rows(sql, args).await?)
    }

    /// All rows of a statement assembled by [`super::Sql`].
    pub async fn fetch_built<T: Row>(&mut self, sql: super::Sql) -> Result<Vec<T>, DbError> {
        let (text, args) = sql.into_parts();
        self.rows(&text, args).await
    }

    pub async fn execute(&mut self, sql: &'static str, args: Vec<Arg>) -> Result<u64, DbError> {
        let begun = Instant::now();
        let done = match &mut self.open {
            Open::Sqlite(tx) => sqlite_execute(&mut **tx, sql, args).await,
            Open::Postgres(tx) => postgres_execute(&mut **tx, sql, postgres_arguments(args)?).await,
        };
        self.metrics.observe(begun, sql);
        done
    }

    async fn rows<T: Row>(&mut self, sql: &str, args: Vec<Arg>) -> Result<Vec<T>, DbError> {
        let begun = Instant::now();
        let rows = match &mut self.open {
            Open::Sqlite(tx) => sqlite_rows(&mut **tx, sql, args).await,
            Open::Postgres(tx) => postgres_rows(&mut **tx, sql, postgres_arguments(args)?).await,
        };
        self.metrics.observe(begun, sql);
        rows
    }
}

//! SQLite and PostgreSQL behind one thin layer; the only folder that knows that there are two.
//!
//! Statements are written once, with `$1…$n`, and run on both engines. Where they must differ they do so visibly, by
//! [`Db::by_engine`]. A row type derives `sqlx::FromRow` once. Transactions on SQLite begin with `BEGIN IMMEDIATE`:
//! deferred ones fail with "database is locked" when two of them turn into writers.

mod arg; // values for placeholders
mod changes; // which rows have changed since
mod error;
mod file; // the embedded database as a file
mod lane; // connections at hand for reads
mod latest; // one question of many, asked once
mod migrate;
mod money; // exact decimals, in both engines
mod open; // pools and their options
mod replica; // PostgreSQL's, for reads
mod rows; // one statement for many rows
mod run; // statements: fetch, execute, timing
mod slow; // statements that take long
mod sql; // statements assembled from constant fragments
mod tx;

use std::sync::Arc;

use sqlx::FromRow;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::sqlite::{SqlitePool, SqliteRow};

use self::changes::Changes;
use self::lane::Lane;
use self::replica::Replicas;
use self::slow::Explainer;
pub use arg::Arg;
pub use changes::{Depends, Moment};
pub use error::DbError;
pub use file::{check_file, copy_file};
pub use money::{Money, MoneyError};
pub use open::{DbOptions, PoolFigures};
pub use replica::reading;
pub use rows::{OverRows, Values};
pub use run::DbMetrics;
pub use sql::{Sql, containing};
pub use tx::Tx;

/// The database. Cloning shares its pools.
#[derive(Clone)]
pub struct Db {
    engine: Engine,
    metrics: DbMetrics,
    replicas: Option<Replicas>,
    /// When plans of slow statements are asked for.
    explainer: Option<Arc<Explainer>>,
    changes: Arc<Changes>,
    /// PostgreSQL's.
    lane: Option<Arc<Lane>>,
}

#[derive(Clone)]
enum Engine {
    /// One connection writes, so that writers queue up here instead of failing; the others read.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Postgres(PgPool),
}

/// A row type that both engines can fill: whatever derives `sqlx::FromRow`.
pub trait Row: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}
impl<T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin> Row for T {}

impl Db {
    /// `sqlite` or `postgres`.
    pub fn engine(&self) -> &'static str {
        self.by_engine("sqlite", "postgres")
    }

    /// The place where the engines differ.
    pub fn by_engine<T>(&self, sqlite: T, postgres: T) -> T {
        match self.engine {
            Engine::Sqlite { .. } => sqlite,
            Engine::Postgres(_) => postgres,
        }
    }
}

/// Values for `$1…$n`, each of any type that [`Arg`] can be made from.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::db::Arg::from($value)),*] };
}

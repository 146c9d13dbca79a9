//! A transaction on either engine. Dropped without a commit, it is rolled back.

use super::run::Open;
use super::{DbError, DbMetrics};

pub struct Tx {
    pub(super) open: Open,
    pub(super) metrics: DbMetrics,
}

impl Tx {
    /// See [`DbError::is_unsure`] for what a failure can mean.
    pub async fn commit(self) -> Result<(), DbError> {
        let done = match self.open {
            Open::Sqlite(tx) => tx.commit().await,
            Open::Postgres(tx) => tx.commit().await,
        };
        done.map_err(DbError::of_commit)
    }

    pub async fn rollback(self) -> Result<(), DbError> {
        match self.open {
            Open::Sqlite(tx) => tx.rollback().await?,
            Open::Postgres(tx) => tx.rollback().await?,
        }
        Ok(())
    }

    /// The place where the engines differ.
    pub fn by_engine<T>(&self, sqlite: T, postgres: T) -> T {
        match self.open {
            Open::Sqlite(_) => sqlite,
            Open::Postgres(_) => postgres,
        }
    }
}

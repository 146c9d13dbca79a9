//! A transaction on either engine. Dropped without a commit, it is rolled back.

use super::run::Open;
use super::{DbError, DbMetrics};

pub struct Tx {
    pub(super) open: Open,
    pub(super) metrics: DbMetrics,
}

impl Tx {
    pub async fn commit(self) -> Result<(), DbError> {
        match self.open {
            Open::Sqlite(tx) => tx.commit().await?,
            Open::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
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

//! The tables, brought up to date. Both engines have migrations of the same names.

use super::{Db, DbError, Engine};

impl Db {
    /// Applies what is missing; nothing when all is there. Several processes may do it at once.
    pub async fn migrate(&self) -> Result<(), DbError> {
        match &self.engine {
            Engine::Sqlite { writer, .. } => sqlx::migrate!("migrations/sqlite").run(writer).await?,
            Engine::Postgres(pool) => sqlx::migrate!("migrations/postgres").run(pool).await?,
        }
        Ok(())
    }
}

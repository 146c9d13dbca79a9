//! What can go wrong with a statement, by what the caller can do about it.

/// The cause stays inside; callers ask what kind it is.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error(transparent)]
    Migration(#[from] sqlx::migrate::MigrateError),
    #[error("{0}")]
    Url(String),
}

impl DbError {
    /// A row with the same unique value exists.
    pub fn is_unique_violation(&self) -> bool {
        self.kind_is(sqlx::error::ErrorKind::UniqueViolation)
    }

    /// The row refers to one that does not exist.
    pub fn is_foreign_key_violation(&self) -> bool {
        self.kind_is(sqlx::error::ErrorKind::ForeignKeyViolation)
    }

    /// The database cannot be reached, or has no connection to spare: the same may succeed later.
    pub fn is_unavailable(&self) -> bool {
        use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Tls};
        match self {
            Self::Sql(Io(_) | PoolTimedOut | PoolClosed | Tls(_)) => true,
            // SQLite: busy (5) or locked (6). PostgreSQL: class 08, and what a server that stops or starts says.
            Self::Sql(sqlx::Error::Database(error)) => error.code().is_some_and(|code| {
                matches!(&*code, "5" | "6" | "57P01" | "57P02" | "57P03" | "53300") || code.starts_with("08")
            }),
            _ => false,
        }
    }

    fn kind_is(&self, kind: sqlx::error::ErrorKind) -> bool {
        matches!(self, Self::Sql(sqlx::Error::Database(error)) if error.kind() == kind)
    }
}

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
    /// The connection broke during a commit: the change may have been made, or not.
    #[error("a commit without an answer: {0}")]
    Unsure(#[source] sqlx::Error),
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

    /// The database cannot be reached, has no connection to spare, or took this back in favor of another transaction:
    /// the same may succeed later, and in a transaction nothing was changed. A lone [`super::Db::execute`] commits by
    /// itself, so use it only for what may happen twice.
    pub fn is_unavailable(&self) -> bool {
        use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Tls, WorkerCrashed};
        match self {
            Self::Sql(Io(_) | PoolTimedOut | PoolClosed | Tls(_) | WorkerCrashed) => true,
            // SQLite: busy (5) or locked (6). PostgreSQL: class 08, what a server that stops or starts says, too many
            // connections, deadlock, and a conflict of serializable transactions.
            Self::Sql(sqlx::Error::Database(error)) => error.code().is_some_and(|code| {
                let may_pass = ["5", "6", "57P01", "57P02", "57P03", "53300", "40P01", "40001"];
                may_pass.contains(&&*code) || code.starts_with("08") || self.is_full()
            }),
            _ => false,
        }
    }

    /// The disk has no room: the same will succeed once somebody makes some.
    pub fn is_full(&self) -> bool {
        // SQLite's 13, PostgreSQL's `disk_full`.
        matches!(self, Self::Sql(sqlx::Error::Database(error))
            if error.code().is_some_and(|code| ["13", "53100"].contains(&&*code)))
    }

    /// A commit went out and no answer came back: the change may have been made.
    pub fn is_unsure(&self) -> bool {
        matches!(self, Self::Unsure(_))
    }

    /// Of a commit that failed. Where the connection is gone, nobody can say what became of it.
    pub(super) fn of_commit(error: sqlx::Error) -> Self {
        use sqlx::Error::{Io, Protocol, Tls, WorkerCrashed};
        let ends = |code: &str| code.starts_with("57P") || code.starts_with("08");
        let unsure = match &error {
            Io(_) | Tls(_) | Protocol(_) | WorkerCrashed => true,
            sqlx::Error::Database(error) => error.code().is_some_and(|code| ends(&code)),
            _ => false,
        };
        if unsure { Self::Unsure(error) } else { Self::Sql(error) }
    }

    fn kind_is(&self, kind: sqlx::error::ErrorKind) -> bool {
        matches!(self, Self::Sql(sqlx::Error::Database(error)) if error.kind() == kind)
    }
}

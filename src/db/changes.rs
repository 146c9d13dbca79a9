//! Whether tables have changed since an answer was made: the numbers that the triggers of migration 0052 keep.
//!
//! Asked of the primary for each request, so no message between nodes has to arrive for an answer to be right; requests
//! that come together share one statement.

use std::fmt;
use std::sync::Arc;

use super::{Db, DbError};
use crate::args;

/// The numbers of all scopes at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(Arc<[(String, i64)]>);

/// The numbers of some scopes: equal ones mean equal rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(Vec<i64>);

impl Changes {
    /// What an answer that is made of these scopes depends on.
    pub fn of(&self, scopes: &[&str]) -> Version {
        let number = |scope: &&str| self.0.iter().find(|(name, _)| name == scope).map_or(-1, |(_, number)| *number);
        Version(scopes.iter().map(number).collect())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, number) in self.0.iter().enumerate() {
            write!(f, "{}{number}", if index == 0 { "" } else { "-" })?;
        }
        Ok(())
    }
}

impl From<Vec<i64>> for Version {
    fn from(numbers: Vec<i64>) -> Self {
        Self(numbers)
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    scope: String,
    version: i64,
}

impl Db {
    /// Where the tables stand, at a moment after this was asked; `None` when the database does not say.
    pub async fn changes(&self) -> Option<Changes> {
        let look = async {
            let rows: Result<Vec<Row>, DbError> = self
                .primary_rows(
                    "SELECT scope, CAST(sum(version) AS BIGINT) AS version FROM changes GROUP BY scope",
                    args![],
                )
                .await;
            rows.ok().map(|rows| Changes(rows.into_iter().map(|row| (row.scope, row.version)).collect()))
        };
        self.changes.get(look).await
    }
}

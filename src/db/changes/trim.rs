//! Deleting the changes that everybody has seen.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::args;
use crate::db::{Db, DbError, Engine};

const EVERY: Duration = Duration::from_secs(2);
/// PostgreSQL: how long changes stay. A node that has not looked for so long takes everything for changed.
const STAY: Duration = Duration::from_secs(60);
/// SQLite: how many stay, and how many more there must be before it is worth a transaction.
const STAYING: i64 = 10_000;

/// Where the database's transactions were, at some moments of the last minute.
#[derive(Default)]
pub(in crate::db) struct Trim(VecDeque<(Instant, i64)>);

#[derive(sqlx::FromRow)]
struct Number {
    number: i64,
}

impl Db {
    /// Deletes changes that have been there for long, until `stop`.
    pub async fn tend_changes(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            if let Err(error) = self.trim_changes().await {
                tracing::warn!(%error, "old changes could not be deleted");
            }
        }
    }

    /// Deletes some of the changes that have been there for long.
    async fn trim_changes(&self) -> Result<u64, DbError> {
        match &self.engine {
            Engine::Sqlite { .. } => {
                let sql = "SELECT coalesce(max(number) - min(number), 0) AS number FROM row_changes";
                let span: Number = self.fetch_one(sql, args![]).await?;
                if span.number < 2 * STAYING {
                    return Ok(0);
                }
                let sql = "DELETE FROM row_changes WHERE number <= (SELECT max(number) FROM row_changes) - $1";
                self.execute(sql, args![STAYING]).await
            }
            Engine::Postgres(_) => {
                let mut trim = self.changes.trim.lock().await;
                let sql = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS number";
                // The primary's: a replica is behind.
                let now: Vec<Number> = self.primary_rows(sql, args![]).await?;
                let (at, mut below) = (Instant::now(), None);
                trim.0.extend(now.first().map(|now| (at, now.number)));
                while trim.0.front().is_some_and(|(then, _)| at.duration_since(*then) >= STAY) {
                    below = trim.0.pop_front().map(|(_, xid)| xid);
                }
                let Some(below) = below else { return Ok(0) };
                // Both in one step: whoever sees that rows are gone sees that the floor has risen.
                let sql = "WITH gone AS (DELETE FROM row_changes WHERE ctid = ANY(ARRAY(SELECT ctid FROM row_changes \
                           WHERE xid < $1::text::xid8 ORDER BY xid LIMIT 20000)) RETURNING 1) \
                           UPDATE row_changes_floor SET xid = greatest(xid, $1::text::xid8) WHERE EXISTS (SELECT 1 FROM gone)";
                self.execute(sql, args![below.to_string()]).await
            }
        }
    }
}

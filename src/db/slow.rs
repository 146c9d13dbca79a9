//! Statements that take long: counted, logged and, when that is asked for, explained.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Row as _};

use super::{Arg, Db, Engine};

/// Between two plans, so that a database that has become slow is not made slower.
const EXPLAIN_EVERY_MS: u64 = 10_000;

/// When the next plan may be asked for, in milliseconds since the beginning.
#[derive(Debug)]
pub(super) struct Explainer {
    begun: Instant,
    next_ms: AtomicU64,
}

impl Explainer {
    pub fn new() -> Self {
        Self { begun: Instant::now(), next_ms: AtomicU64::new(0) }
    }

    fn may(&self) -> bool {
        let (now_ms, next_ms) = (self.begun.elapsed().as_millis() as u64, self.next_ms.load(Ordering::Relaxed));
        let later_ms = now_ms + EXPLAIN_EVERY_MS;
        now_ms >= next_ms
            && self.next_ms.compare_exchange(next_ms, later_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Db {
    /// Logs the plan of a read that took `took`, when plans are asked for. Changes are not explained.
    pub(super) fn explain(&self, sql: &str, args: Option<Vec<Arg>>, took: Duration) {
        let (Some(args), Some(explainer)) = (args, &self.explainer) else { return };
        let reads = ["SELECT", "WITH"].iter().any(|word| sql.trim_start().starts_with(word));
        if took < self.metrics.slow || !reads || !explainer.may() {
            return;
        }
        let (db, sql) = (self.clone(), sql.to_owned());
        // By itself: who waits for the rows does not wait for the plan.
        tokio::spawn(async move {
            match db.plan(&sql, args).await {
                Ok(plan) => tracing::warn!(took_ms = took.as_millis() as u64, sql, plan, "plan of a slow statement"),
                Err(error) => tracing::warn!(%error, sql, "a slow statement could not be explained"),
            }
        });
    }

    async fn plan(&self, sql: &str, args: Vec<Arg>) -> Result<String, super::DbError> {
        let lines: Vec<String> = match &self.engine {
            Engine::Sqlite { readers, .. } => {
                let bound = super::run::sqlite_arguments(args)?;
                let rows = sqlx::query_with(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")), bound);
                let rows = rows.fetch_all(readers).await?;
                rows.iter().map(|row| row.try_get("detail")).collect::<Result<_, _>>()?
            }
            Engine::Postgres(pool) => {
                let bound = super::run::postgres_arguments(args)?;
                let rows = sqlx::query_with(AssertSqlSafe(format!("EXPLAIN {sql}")), bound).fetch_all(pool).await?;
                rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?
            }
        };
        Ok(lines.join("\n"))
    }
}

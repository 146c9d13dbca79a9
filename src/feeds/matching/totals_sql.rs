//! How many rows a list has in all. Up to a thousand they are counted for each answer; more than that are counted now and
//! then, because nobody turns the pages of a hundred thousand jobs by their exact number, and each count reads them all.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::db::{Db, DbError, Sql};

/// Totals up to here are exact in every answer.
const EXACT: i64 = 1_000;
/// A larger total may be so old, and older when counting takes long: a hundred times as old as it took to count, so that no
/// more than a hundredth of the time goes into it.
const AGE: Duration = Duration::from_secs(5);
const AGE_BY_COST: u32 = 100;
/// Larger totals that are remembered; then all are forgotten.
const REMEMBERED: usize = 1_000;

/// Cheap to make; one for all lists.
#[derive(Default)]
pub struct Totals(Mutex<HashMap<String, Known>>);

/// A total, and until when it may be told.
#[derive(Clone, Copy)]
struct Known {
    until: Instant,
    total: i64,
}

#[derive(sqlx::FromRow)]
struct Count {
    count: i64,
}

impl Totals {
    /// How many rows `narrowed` finds; `narrowed` completes a statement that begins with `SELECT 1 FROM …`.
    pub async fn of(&self, db: &Db, narrowed: Sql) -> Result<i64, DbError> {
        let key = format!("{narrowed:?}");
        let known = self.lock().get(&key).copied();
        if let Some(Known { until, total }) = known
            && Instant::now() < until
        {
            return Ok(total);
        }
        let some = self.up_to(db, narrowed.clone(), EXACT + 1).await?;
        if some <= EXACT {
            return Ok(some);
        }
        let begun = Instant::now();
        if let Some(Known { total, .. }) = known {
            // Whoever comes while it is counted again is told the old one.
            self.lock().insert(key.clone(), Known { until: begun + AGE, total });
        }
        let total = count(db, Sql::new("SELECT count(*) AS count FROM (").append(narrowed).push(") AS found")).await?;
        let mut totals = self.lock();
        if totals.len() >= REMEMBERED {
            totals.clear();
        }
        let until = Instant::now() + AGE.max(begun.elapsed() * AGE_BY_COST);
        totals.insert(key, Known { until, total });
        Ok(total)
    }

    /// How many rows `narrowed` finds, counted up to `most` for each answer.
    pub async fn up_to(&self, db: &Db, narrowed: Sql, most: i64) -> Result<i64, DbError> {
        let some = Sql::new("SELECT count(*) AS count FROM (").append(narrowed);
        count(db, some.push(" LIMIT ").bind(most).push(") AS found")).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

async fn count(db: &Db, sql: Sql) -> Result<i64, DbError> {
    Ok(db.fetch_built::<Count>(sql).await?.first().map_or(0, |row| row.count))
}

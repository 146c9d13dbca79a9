//! How many rows a list has in all: counted once for as long as nothing that it depends on has changed. Counting all rows
//! costs more than reading a page of them.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use crate::db::{Db, DbError, Depends, Moment};

/// Kinds of lists that are remembered; then all are forgotten, as what is asked for often is soon back.
const MOST: usize = 1024;

/// Cloning shares it.
#[derive(Clone, Default)]
pub struct Totals(Arc<Mutex<HashMap<String, (Moment, i64)>>>);

impl Totals {
    /// The total of the list `key`, which depends on this much. `now`: where the rows stood before this was called; `None`
    /// where nobody could say.
    pub async fn get(
        &self,
        db: &Db,
        key: String,
        now: Option<Moment>,
        depends: &Depends,
        count: impl Future<Output = Result<i64, DbError>>,
    ) -> Result<i64, DbError> {
        let Some(now) = now else { return count.await };
        let counted = self.lock().get(&key).copied();
        if let Some((_, total)) = counted.filter(|(then, _)| !db.has_changed(depends, then)) {
            return Ok(total);
        }
        let total = count.await?;
        let mut totals = self.lock();
        if totals.len() >= MOST {
            totals.clear();
        }
        totals.insert(key, (now, total));
        Ok(total)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Moment, i64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

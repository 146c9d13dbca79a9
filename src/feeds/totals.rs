//! Numbers about lists, found once for as long as nothing that they depend on has changed: how many rows there are in all, and
//! where a page begins. Counting rows costs more than reading a page of them.

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
        if let Some(total) = self.known(db, &key, depends) {
            return Ok(total);
        }
        let total = count.await?;
        self.note(key, now, total);
        Ok(total)
    }

    /// What was noted under `key`, if it still holds as far as anybody has looked.
    pub fn known(&self, db: &Db, key: &str, depends: &Depends) -> Option<i64> {
        let noted = self.lock().get(key).copied();
        noted.filter(|(then, _)| !db.has_changed(depends, then)).map(|(_, number)| number)
    }

    /// `now`: where the rows stood before `number` was found.
    pub fn note(&self, key: String, now: Moment, number: i64) {
        let mut totals = self.lock();
        if totals.len() >= MOST {
            totals.clear();
        }
        totals.insert(key, (now, number));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Moment, i64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

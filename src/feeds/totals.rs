//! How many rows a list has in all: counted once for as long as nothing that it depends on has changed. Counting all rows
//! costs more than reading a page of them.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use crate::db::{DbError, Version};

/// Kinds of lists that are remembered; then all are forgotten, as what is asked for often is soon back.
const MOST: usize = 1024;

/// Cloning shares it.
#[derive(Clone, Default)]
pub struct Totals(Arc<Mutex<HashMap<String, (Version, i64)>>>);

impl Totals {
    /// The total of the list `key`, whose rows are at `version`, read before this; `None` where nobody could say.
    pub async fn get(
        &self,
        key: String,
        version: Option<Version>,
        count: impl Future<Output = Result<i64, DbError>>,
    ) -> Result<i64, DbError> {
        let Some(version) = version else { return count.await };
        let known = self.lock().get(&key).filter(|(counted, _)| *counted == version).map(|(_, total)| *total);
        if let Some(total) = known {
            return Ok(total);
        }
        let total = count.await?;
        let mut totals = self.lock();
        if totals.len() >= MOST {
            totals.clear();
        }
        totals.insert(key, (version, total));
        Ok(total)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Version, i64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Lists that are kept for as long as their rows stay as they are.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use super::failure::Failure;
use crate::db::{Changes, Db};
use crate::http::{Answer, Cache};

/// The kept answers, and who says whether they hold.
#[derive(Clone)]
pub struct Kept {
    pub cache: Cache,
    pub db: Db,
}

impl Kept {
    /// The list under `key`, made of the rows of `scopes`. `make` is told where those stood before it was called.
    pub async fn list<F: Future<Output = Result<Vec<u8>, Failure>>>(
        &self,
        key: &str,
        scopes: &[&str],
        make: impl FnOnce(Option<Changes>) -> F,
    ) -> Result<Arc<Answer>, Failure> {
        let seen = Mutex::new(None);
        let version = || async {
            let changes = self.db.changes().await;
            let version = changes.as_ref().map(|changes| changes.of(scopes));
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = changes;
            version
        };
        let make = async {
            let changes = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
            make(changes).await
        };
        self.cache.answer(key, version, make).await
    }
}

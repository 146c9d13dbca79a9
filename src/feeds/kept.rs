//! Answers that are kept for as long as what they are made of stays as it is.

use std::future::Future;
use std::sync::Arc;

use super::failure::Failure;
use crate::db::{Db, Moment};
use crate::http::{Answer, Cache, Made, Sharing};

/// The kept answers, and who says whether they hold.
#[derive(Clone)]
pub struct Kept {
    pub cache: Cache,
    pub db: Db,
}

impl Kept {
    /// The list under `key`. `make` is told where the rows stood before it was called.
    pub async fn list<F: Future<Output = Result<Made, Failure>>>(
        &self,
        key: &str,
        make: impl FnOnce(Option<Moment>) -> F,
    ) -> Result<Arc<Answer>, Failure> {
        self.cache.answer(key, Sharing::Nodes, &self.db, make).await
    }

    /// One row under `key`: as cheap to make as to ask another node for.
    pub async fn row<F: Future<Output = Result<Made, Failure>>>(
        &self,
        key: &str,
        make: impl FnOnce(Option<Moment>) -> F,
    ) -> Result<Arc<Answer>, Failure> {
        self.cache.answer(key, Sharing::None, &self.db, make).await
    }
}

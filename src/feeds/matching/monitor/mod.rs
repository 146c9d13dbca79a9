//! What operators want to know of job matching: how batches went, what they found, what waits.

pub mod routes;
mod sql;

use std::collections::HashMap;
use std::sync::Mutex;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Matching;
use crate::feeds::failure::Failure;

/// Figures of ended batches, by their ids and ends.
pub(super) type Figures = Mutex<HashMap<(i64, DateTime<Utc>), sql::MatchFigures>>;

/// More than are ever shown; then all are forgotten.
const REMEMBERED: usize = 100;

impl Matching {
    pub async fn batch_figures(&self) -> Result<Value, Failure> {
        Ok(json!({"batches": sql::batches(&self.0.db).await?}))
    }

    pub async fn match_figures(&self) -> Result<Value, Failure> {
        let db = &self.0.db;
        let mut batches = Vec::new();
        for batch in sql::matched(db).await? {
            batches.extend(self.figures_of(batch).await?);
        }
        Ok(json!({"totals": sql::counts(db, &self.0.totals).await?, "batches": batches}))
    }

    /// The figures of a batch that has ended are added up once; a retry ends it anew.
    async fn figures_of(&self, batch: sql::Matched) -> Result<Option<sql::MatchFigures>, Failure> {
        let ended = batch.finished_at.map(|at| (batch.id, at));
        let lock = || self.0.figures.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(known) = ended.and_then(|key| lock().get(&key).cloned()) {
            return Ok(Some(known));
        }
        let found = sql::matches(&self.0.db, batch.id).await?;
        if let (Some(key), Some(found)) = (ended, &found) {
            let mut figures = lock();
            if figures.len() >= REMEMBERED {
                figures.clear();
            }
            figures.insert(key, found.clone());
        }
        Ok(found)
    }

    pub async fn queue_figures(&self) -> Result<Value, Failure> {
        Ok(json!({"queues": sql::queues(&self.0.db).await?}))
    }
}

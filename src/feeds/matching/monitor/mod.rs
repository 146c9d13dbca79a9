//! What operators want to know of job matching: how batches went, what they found, what waits.

pub mod routes;
mod sql;

use serde_json::{Value, json};

use super::Matching;
use crate::feeds::failure::Failure;

impl Matching {
    pub async fn batch_figures(&self) -> Result<Value, Failure> {
        Ok(json!({"batches": sql::batches(&self.0.db).await?}))
    }

    pub async fn match_figures(&self) -> Result<Value, Failure> {
        let db = &self.0.db;
        Ok(json!({"totals": sql::counts(db, &self.0.totals).await?, "batches": sql::matches(db).await?}))
    }

    pub async fn queue_figures(&self) -> Result<Value, Failure> {
        Ok(json!({"queues": sql::queues(&self.0.db).await?}))
    }
}

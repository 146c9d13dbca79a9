//! What people are told of by e-mail and webhook: staged in the durable queue with the row that it tells of.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::db::{DbError, Tx};
use crate::queue;

/// The queue's topic for alerts.
pub const TOPIC: &str = "alert";

#[derive(Debug, Serialize)]
pub struct Alert {
    pub kind: AlertKind,
    pub item_id: i64,
    pub sku: String,
    pub name: String,
    /// The figures that the alert is about, by name, for the mail's text.
    pub figures: serde_json::Value,
    pub at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    StockLow,
    StockOut,
    PriceChange,
    PriceApproval,
}

impl Alert {
    pub async fn enqueue(&self, tx: &mut Tx) -> Result<(), DbError> {
        queue::push(tx, TOPIC, self, self.at).await
    }
}

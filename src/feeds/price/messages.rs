//! What subscribers of prices are told; field names and order are the contract's.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Change, Price};
use crate::db::Money;
use crate::feeds::body::utc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Created,
    Updated,
    Deleted,
}

/// On `price:updates`. Prices are numbers, exact to the digit; null where there was or is no price.
#[derive(Debug, Serialize)]
pub struct PriceUpdate<'a> {
    message_type: &'static str,
    action: Action,
    inventory_id: i64,
    sku: &'a str,
    old_price: Option<Money>,
    new_price: Option<Money>,
    price_change_amount: Option<Money>,
    price_change_percent: Option<Money>,
    currency: &'a str,
    #[serde(serialize_with = "utc::serialize")]
    timestamp: DateTime<Utc>,
}

impl<'a> PriceUpdate<'a> {
    pub fn new(action: Action, price: &'a Price, change: Change, now: DateTime<Utc>) -> Self {
        Self {
            message_type: "price_update",
            action,
            inventory_id: price.inventory_id,
            sku: &price.sku,
            old_price: change.old,
            new_price: change.new,
            price_change_amount: change.amount,
            price_change_percent: change.percent,
            currency: &price.currency,
            timestamp: now,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertType {
    /// The change reaches `price.large_change_percent`.
    LargeChange,
    /// The change waits for a decision.
    ApprovalRequired,
    Approved,
    Rejected,
}

/// On `price:alerts`.
#[derive(Debug, Serialize)]
pub struct PriceAlert<'a> {
    message_type: &'static str,
    alert_type: AlertType,
    price_id: i64,
    inventory_id: i64,
    sku: &'a str,
    old_price: Option<Money>,
    new_price: Option<Money>,
    price_change_amount: Option<Money>,
    price_change_percent: Option<Money>,
    currency: &'a str,
    #[serde(serialize_with = "utc::serialize")]
    timestamp: DateTime<Utc>,
}

impl<'a> PriceAlert<'a> {
    pub fn new(alert_type: AlertType, price: &'a Price, change: Change, now: DateTime<Utc>) -> Self {
        Self {
            message_type: "price_alert",
            alert_type,
            price_id: price.id,
            inventory_id: price.inventory_id,
            sku: &price.sku,
            old_price: change.old,
            new_price: change.new,
            price_change_amount: change.amount,
            price_change_percent: change.percent,
            currency: &price.currency,
            timestamp: now,
        }
    }
}

//! What subscribers of prices are told; field names and order are the contract's.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Change, Price};
use crate::db::Money;
use crate::feeds::action::Action;
use crate::feeds::body::utc;

/// On `price:updates`.
#[derive(Debug, Serialize)]
pub struct PriceUpdate<'a> {
    message_type: &'static str,
    action: Action,
    #[serde(flatten)]
    figures: Figures<'a>,
}

/// On `price:alerts`.
#[derive(Debug, Serialize)]
pub struct PriceAlert<'a> {
    message_type: &'static str,
    alert_type: AlertType,
    price_id: i64,
    #[serde(flatten)]
    figures: Figures<'a>,
}

/// Prices are numbers, exact to the digit; null where there was or is no price.
#[derive(Debug, Serialize)]
struct Figures<'a> {
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

impl<'a> PriceUpdate<'a> {
    pub fn new(action: Action, price: &'a Price, change: Change, now: DateTime<Utc>) -> Self {
        Self { message_type: "price_update", action, figures: Figures::new(price, change, now) }
    }
}

impl<'a> PriceAlert<'a> {
    pub fn new(alert_type: AlertType, price: &'a Price, change: Change, now: DateTime<Utc>) -> Self {
        let figures = Figures::new(price, change, now);
        Self { message_type: "price_alert", alert_type, price_id: price.id, figures }
    }
}

impl<'a> Figures<'a> {
    fn new(price: &'a Price, change: Change, now: DateTime<Utc>) -> Self {
        Self {
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

/// A row of a snapshot: the price in force.
#[derive(Debug, Serialize)]
pub struct PriceRow<'a> {
    inventory_id: i64,
    sku: &'a str,
    new_price: Money,
    currency: &'a str,
    #[serde(serialize_with = "utc::serialize")]
    timestamp: DateTime<Utc>,
}

impl<'a> PriceRow<'a> {
    pub fn new(price: &'a Price) -> Self {
        Self {
            inventory_id: price.inventory_id,
            sku: &price.sku,
            new_price: price.selling_price,
            currency: &price.currency,
            timestamp: price.updated_at,
        }
    }
}

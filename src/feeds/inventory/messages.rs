//! What subscribers of the inventory are told; field names and order are the contract's.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Item;
use crate::feeds::action::Action;
use crate::feeds::body::utc;

/// On `inventory:updates`.
#[derive(Debug, Serialize)]
pub struct InventoryUpdate<'a> {
    message_type: &'static str,
    action: Action,
    item_id: i64,
    sku: &'a str,
    name: &'a str,
    stock_quantity: i64,
    available_quantity: i64,
    is_low_stock: bool,
    #[serde(serialize_with = "utc::serialize")]
    timestamp: DateTime<Utc>,
}

impl<'a> InventoryUpdate<'a> {
    pub fn new(action: Action, item: &'a Item) -> Self {
        Self {
            message_type: "inventory_update",
            action,
            item_id: item.id,
            sku: &item.sku,
            name: &item.name,
            stock_quantity: item.stock_quantity,
            available_quantity: item.available_quantity,
            is_low_stock: item.is_low_stock,
            timestamp: item.updated_at,
        }
    }
}

/// On `stock:alerts`, with every write that leaves an active, tracked item low.
#[derive(Debug, Serialize)]
pub struct StockAlert<'a> {
    message_type: &'static str,
    /// `low` or `out`.
    alert_level: &'static str,
    item_id: i64,
    sku: &'a str,
    /// What is available: stock less reservations.
    current_stock: i64,
    min_level: i64,
    #[serde(serialize_with = "utc::serialize")]
    timestamp: DateTime<Utc>,
}

impl<'a> StockAlert<'a> {
    pub fn new(item: &'a Item) -> Self {
        Self {
            message_type: "stock_alert",
            alert_level: item.alert_level(),
            item_id: item.id,
            sku: &item.sku,
            current_stock: item.available_quantity,
            min_level: item.min_stock_level,
            timestamp: item.updated_at,
        }
    }
}

/// A row of a snapshot: what an update would say of the item now, and its category.
#[derive(Debug, Serialize)]
pub struct InventoryRow<'a> {
    item_id: i64,
    sku: &'a str,
    name: &'a str,
    category: Option<&'a str>,
    stock_quantity: i64,
    available_quantity: i64,
    is_low_stock: bool,
    #[serde(serialize_with = "utc::serialize")]
    timestamp: DateTime<Utc>,
}

impl<'a> InventoryRow<'a> {
    pub fn new(item: &'a Item) -> Self {
        Self {
            item_id: item.id,
            sku: &item.sku,
            name: &item.name,
            category: item.category.as_deref(),
            stock_quantity: item.stock_quantity,
            available_quantity: item.available_quantity,
            is_low_stock: item.is_low_stock,
            timestamp: item.updated_at,
        }
    }
}

//! What an item may be. Every refusal names its field; all of them are told at once.

use serde::Deserialize;

use super::Item;
use crate::db::Money;
use crate::feeds::body::{not_null, nullable};
use crate::feeds::text::Checks;
use crate::http::FieldError;

/// Quantities and levels go up to this.
const MAX_QUANTITY: i64 = 1_000_000_000;

/// The body of a create, and a whole item before it is stored.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewItem {
    pub sku: String,
    pub name: String,
    pub description: Option<String>,
    pub category: Option<String>,
    #[serde(default)]
    pub stock_quantity: i64,
    #[serde(default)]
    pub reserved_quantity: i64,
    /// Grams.
    pub weight: Option<Money>,
    pub dimensions: Option<String>,
    #[serde(default)]
    pub cost_price: Money,
    #[serde(default = "default_min")]
    pub min_stock_level: i64,
    #[serde(default = "default_max")]
    pub max_stock_level: i64,
    #[serde(default = "default_true")]
    pub is_active: bool,
    #[serde(default = "default_true")]
    pub is_trackable: bool,
}

fn default_min() -> i64 {
    10
}

fn default_max() -> i64 {
    1000
}

fn default_true() -> bool {
    true
}

/// The body of PUT and PATCH: any subset of the fields.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ItemChange {
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub sku: Option<String>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub name: Option<String>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    pub description: Option<Option<String>>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    pub category: Option<Option<String>>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub stock_quantity: Option<i64>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub reserved_quantity: Option<i64>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<Money>)]
    pub weight: Option<Option<Money>>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    pub dimensions: Option<Option<String>>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub cost_price: Option<Money>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub min_stock_level: Option<i64>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub max_stock_level: Option<i64>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub is_active: Option<bool>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub is_trackable: Option<bool>,
}

impl ItemChange {
    /// The stored item with the given fields in place of its own.
    pub fn onto(self, stored: &Item) -> NewItem {
        NewItem {
            sku: self.sku.unwrap_or_else(|| stored.sku.clone()),
            name: self.name.unwrap_or_else(|| stored.name.clone()),
            description: self.description.unwrap_or_else(|| stored.description.clone()),
            category: self.category.unwrap_or_else(|| stored.category.clone()),
            stock_quantity: self.stock_quantity.unwrap_or(stored.stock_quantity),
            reserved_quantity: self.reserved_quantity.unwrap_or(stored.reserved_quantity),
            weight: self.weight.unwrap_or(stored.weight),
            dimensions: self.dimensions.unwrap_or_else(|| stored.dimensions.clone()),
            cost_price: self.cost_price.unwrap_or(stored.cost_price),
            min_stock_level: self.min_stock_level.unwrap_or(stored.min_stock_level),
            max_stock_level: self.max_stock_level.unwrap_or(stored.max_stock_level),
            is_active: self.is_active.unwrap_or(stored.is_active),
            is_trackable: self.is_trackable.unwrap_or(stored.is_trackable),
        }
    }
}

impl NewItem {
    /// Trims and upper-cases what is to be, and checks every rule.
    pub fn check(mut self) -> Result<Self, Vec<FieldError>> {
        let mut checks = Checks::default();
        self.sku = self.sku.trim().to_ascii_uppercase();
        let letters = self.sku.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        checks.require("sku", letters && (3..=50).contains(&self.sku.len()), "is 3 to 50 letters, digits or hyphens");
        self.name = checks.line("name", &self.name, 255).unwrap_or_default();
        checks.require("name", !self.name.is_empty(), "cannot be empty");
        self.description = checks.optional_text("description", self.description, 10_000);
        self.category = checks.optional_line("category", self.category, 100);
        self.dimensions = checks.optional_line("dimensions", self.dimensions, 100);
        for (field, quantity) in [
            ("stock_quantity", self.stock_quantity),
            ("reserved_quantity", self.reserved_quantity),
            ("min_stock_level", self.min_stock_level),
            ("max_stock_level", self.max_stock_level),
        ] {
            checks.require(field, (0..=MAX_QUANTITY).contains(&quantity), "is from 0 to 1000000000");
        }
        let levels = self.min_stock_level <= self.max_stock_level;
        checks.require("max_stock_level", levels, "cannot be below min_stock_level");
        checks.require("cost_price", self.cost_price >= Money::ZERO, "cannot be negative");
        checks.require("weight", self.weight.is_none_or(|grams| grams >= Money::ZERO), "cannot be negative");
        checks.done().map(|()| self)
    }
}

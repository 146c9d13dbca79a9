//! Storage of items; every statement runs on both engines.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::NewItem;
use crate::args;
use crate::db::{Arg, Db, DbError, Money, Tx};
use crate::feeds::body::utc;

/// An item as it is stored, with what is derived from it.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Item {
    pub id: i64,
    pub sku: String,
    pub name: String,
    pub description: Option<String>,
    pub category: Option<String>,
    pub stock_quantity: i64,
    pub reserved_quantity: i64,
    /// What can be sold: stock less reservations, never below 0.
    pub available_quantity: i64,
    pub is_low_stock: bool,
    /// Grams.
    pub weight: Option<Money>,
    pub dimensions: Option<String>,
    pub cost_price: Money,
    pub min_stock_level: i64,
    pub max_stock_level: i64,
    pub is_active: bool,
    pub is_trackable: bool,
    #[serde(serialize_with = "utc::serialize")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "utc::serialize")]
    pub updated_at: DateTime<Utc>,
}

impl Item {
    /// As they are written.
    pub const FIELDS: &[&str] = &[
        "id",
        "sku",
        "name",
        "description",
        "category",
        "stock_quantity",
        "reserved_quantity",
        "available_quantity",
        "is_low_stock",
        "weight",
        "dimensions",
        "cost_price",
        "min_stock_level",
        "max_stock_level",
        "is_active",
        "is_trackable",
        "created_at",
        "updated_at",
    ];
    /// What a list of many needs.
    pub const LIGHT: &[&str] =
        &["id", "sku", "name", "category", "stock_quantity", "available_quantity", "is_low_stock", "is_active"];

    /// `out` when nothing is available, else `low`: what an alert says.
    pub fn alert_level(&self) -> &'static str {
        if self.available_quantity == 0 { "out" } else { "low" }
    }
}

/// The columns of [`Item`]. The engines name the larger of two values differently; the rest is the same.
macro_rules! columns {
    (sqlite) => {
        columns!("max")
    };
    (postgres) => {
        columns!("greatest")
    };
    ($greatest:literal) => {
        concat!(
            "id, sku, name, description, category, stock_quantity, reserved_quantity, ",
            $greatest,
            "(0, stock_quantity - reserved_quantity) AS available_quantity, ",
            $greatest,
            "(0, stock_quantity - reserved_quantity) <= min_stock_level AS is_low_stock, ",
            "weight, dimensions, cost_price, min_stock_level, max_stock_level, is_active, is_trackable, ",
            "created_at, updated_at"
        )
    };
}

pub(super) use columns;

/// A statement around the columns, for the engine of `$db`.
macro_rules! with_columns {
    ($db:expr, $before:literal, $after:literal) => {
        $db.by_engine(concat!($before, columns!(sqlite), $after), concat!($before, columns!(postgres), $after))
    };
}

pub(super) use with_columns;

pub async fn insert(tx: &mut Tx, new: &NewItem, now: DateTime<Utc>) -> Result<Item, DbError> {
    let sql = with_columns!(
        tx,
        "INSERT INTO inventory_items (sku, name, description, category, stock_quantity, reserved_quantity, weight, \
         dimensions, cost_price, min_stock_level, max_stock_level, is_active, is_trackable, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14) RETURNING ",
        ""
    );
    let mut args = values(new);
    args.push(now.into());
    tx.fetch_one(sql, args).await
}

/// Writes all columns; answers the stored row.
pub async fn update(tx: &mut Tx, id: i64, new: &NewItem, now: DateTime<Utc>) -> Result<Item, DbError> {
    let sql = with_columns!(
        tx,
        "UPDATE inventory_items SET sku = $1, name = $2, description = $3, category = $4, stock_quantity = $5, \
         reserved_quantity = $6, weight = $7, dimensions = $8, cost_price = $9, min_stock_level = $10, \
         max_stock_level = $11, is_active = $12, is_trackable = $13, updated_at = $14 WHERE id = $15 RETURNING ",
        ""
    );
    let mut args = values(new);
    args.extend(args![now, id]);
    tx.fetch_one(sql, args).await
}

fn values(new: &NewItem) -> Vec<Arg> {
    args![
        &new.sku,
        &new.name,
        new.description.clone(),
        new.category.clone(),
        new.stock_quantity,
        new.reserved_quantity,
        new.weight,
        new.dimensions.clone(),
        new.cost_price,
        new.min_stock_level,
        new.max_stock_level,
        new.is_active,
        new.is_trackable,
    ]
}

pub async fn find(db: &Db, id: i64) -> Result<Option<Item>, DbError> {
    db.fetch_optional(with_columns!(db, "SELECT ", " FROM inventory_items WHERE id = $1"), args![id]).await
}

/// All rows.
pub async fn all(tx: &mut Tx) -> Result<Vec<Item>, DbError> {
    tx.fetch_all(with_columns!(tx, "SELECT ", " FROM inventory_items ORDER BY id"), args![]).await
}

/// The row, held against other writers until the transaction ends. SQLite has one writer anyway.
pub async fn lock(tx: &mut Tx, id: i64) -> Result<Option<Item>, DbError> {
    let sql = tx.by_engine(
        concat!("SELECT ", columns!(sqlite), " FROM inventory_items WHERE id = $1"),
        concat!("SELECT ", columns!(postgres), " FROM inventory_items WHERE id = $1 FOR UPDATE"),
    );
    tx.fetch_optional(sql, args![id]).await
}

/// Adds `delta`, unless that would leave the stock below 0 or above what fits; then there is no row in the answer.
pub async fn adjust(tx: &mut Tx, id: i64, delta: i64, now: DateTime<Utc>) -> Result<Option<Item>, DbError> {
    let sql = with_columns!(
        tx,
        "UPDATE inventory_items SET stock_quantity = stock_quantity + $1, updated_at = $2 \
         WHERE id = $3 AND stock_quantity + $1 BETWEEN 0 AND 1000000000 RETURNING ",
        ""
    );
    tx.fetch_optional(sql, args![delta, now, id]).await
}

pub async fn delete(tx: &mut Tx, id: i64) -> Result<Option<Item>, DbError> {
    tx.fetch_optional(with_columns!(tx, "DELETE FROM inventory_items WHERE id = $1 RETURNING ", ""), args![id]).await
}

#[derive(sqlx::FromRow)]
pub(super) struct Count {
    pub count: i64,
}

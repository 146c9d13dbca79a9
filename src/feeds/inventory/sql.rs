//! Storage of items; every statement runs on both engines.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::NewItem;
use crate::args;
use crate::db::{Arg, Db, DbError, Money, Sql, Tx};
use crate::feeds::body::utc;
use crate::feeds::page::PageRequest;

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
    /// `out` when nothing is available, else `low`: what an alert says.
    pub fn alert_level(&self) -> &'static str {
        if self.available_quantity == 0 { "out" } else { "low" }
    }
}

/// What a list is narrowed and sorted by.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    pub category: Option<String>,
    pub active: Option<bool>,
    pub low_stock: Option<bool>,
    /// Text within SKU, name or description, in any case.
    pub text: Option<String>,
    pub sort_by: SortBy,
    pub descending: bool,
}

#[derive(Clone, Copy, Debug, Default, serde::Deserialize, utoipa::ToSchema)]
#[schema(as = InventorySort)]
#[serde(rename_all = "snake_case")]
pub enum SortBy {
    #[default]
    Id,
    Sku,
    Name,
    Category,
    StockQuantity,
    AvailableQuantity,
    CreatedAt,
    UpdatedAt,
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

/// A statement around the columns, for the engine of `$db`.
macro_rules! with_columns {
    ($db:expr, $before:literal, $after:literal) => {
        $db.by_engine(concat!($before, columns!(sqlite), $after), concat!($before, columns!(postgres), $after))
    };
}

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
struct Count {
    count: i64,
}

/// One page, and how many items there are in all.
pub async fn list(db: &Db, query: &ListQuery, page: PageRequest) -> Result<(Vec<Item>, i64), DbError> {
    let count = narrowed(db, Sql::new("SELECT count(*) AS count FROM inventory_items"), query);
    let total: i64 = db.fetch_built::<Count>(count).await?.first().map_or(0, |row| row.count);
    let order = match (query.sort_by, query.descending) {
        (SortBy::Id, false) => " ORDER BY id",
        (SortBy::Id, true) => " ORDER BY id DESC",
        (SortBy::Sku, false) => " ORDER BY sku",
        (SortBy::Sku, true) => " ORDER BY sku DESC",
        (SortBy::Name, false) => " ORDER BY name, id",
        (SortBy::Name, true) => " ORDER BY name DESC, id DESC",
        (SortBy::Category, false) => " ORDER BY category NULLS LAST, id",
        (SortBy::Category, true) => " ORDER BY category DESC NULLS LAST, id DESC",
        (SortBy::StockQuantity, false) => " ORDER BY stock_quantity, id",
        (SortBy::StockQuantity, true) => " ORDER BY stock_quantity DESC, id DESC",
        (SortBy::AvailableQuantity, false) => " ORDER BY available_quantity, id",
        (SortBy::AvailableQuantity, true) => " ORDER BY available_quantity DESC, id DESC",
        (SortBy::CreatedAt, false) => " ORDER BY created_at, id",
        (SortBy::CreatedAt, true) => " ORDER BY created_at DESC, id DESC",
        (SortBy::UpdatedAt, false) => " ORDER BY updated_at, id",
        (SortBy::UpdatedAt, true) => " ORDER BY updated_at DESC, id DESC",
    };
    let select = Sql::new(with_columns!(db, "SELECT ", " FROM inventory_items"));
    let select = narrowed(db, select, query).push(order).push(" LIMIT ").bind(page.limit);
    let items = db.fetch_built(select.push(" OFFSET ").bind(page.offset())).await?;
    Ok((items, total))
}

/// The condition of the partial index, letter by letter.
const LOW_SQLITE: &str = "max(0, stock_quantity - reserved_quantity) <= min_stock_level";
const LOW_POSTGRES: &str = "greatest(0, stock_quantity - reserved_quantity) <= min_stock_level";

fn narrowed(db: &Db, sql: Sql, query: &ListQuery) -> Sql {
    let sql = match query.low_stock {
        Some(true) => sql.filter_by(db.by_engine(LOW_SQLITE, LOW_POSTGRES)),
        Some(false) => sql.filter_by(db.by_engine(
            "NOT max(0, stock_quantity - reserved_quantity) <= min_stock_level",
            "NOT greatest(0, stock_quantity - reserved_quantity) <= min_stock_level",
        )),
        None => sql,
    };
    let text = db.by_engine(
        "(sku LIKE ? ESCAPE '\\' OR name LIKE ? ESCAPE '\\' OR description LIKE ? ESCAPE '\\')",
        "(sku ILIKE ? ESCAPE '\\' OR name ILIKE ? ESCAPE '\\' OR description ILIKE ? ESCAPE '\\')",
    );
    sql.filter_some("category = ?", query.category.as_deref())
        .filter_some("is_active = ?", query.active)
        .filter_some(text, query.text.as_deref().map(containing))
}

/// A LIKE pattern for text that may itself have the pattern's signs in it.
fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern + "%"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_low_stock_condition_is_that_of_the_index() {
        let sqlite = include_str!("../../../migrations/sqlite/0001_inventory.sql");
        let postgres = include_str!("../../../migrations/postgres/0001_inventory.sql");
        for (migration, condition) in [(sqlite, LOW_SQLITE), (postgres, LOW_POSTGRES)] {
            assert!(migration.contains(&format!("    WHERE {condition};\n")), "{condition}");
        }
    }
}

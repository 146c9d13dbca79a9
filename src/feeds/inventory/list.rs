//! Lists of items: narrowed, sorted, and in pages by number or by cursor.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::Item;
use super::sql::{Count, columns, with_columns};
use crate::db::{Arg, Db, DbError, Sql, containing};
use crate::feeds::cursor::Cursor;
use crate::feeds::page::PageRequest;

/// What a list is narrowed and sorted by.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    pub category: Option<String>,
    pub active: Option<bool>,
    pub low_stock: Option<bool>,
    /// Nothing is available; such an item is low as well.
    pub out_of_stock: Option<bool>,
    /// Text within SKU, name or description, in any case.
    pub text: Option<String>,
    pub sort_by: SortBy,
    pub descending: bool,
    /// The page begins behind this row.
    pub after: Option<Cursor>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
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

impl ListQuery {
    /// What cursors of this list are good for.
    pub fn order(&self) -> String {
        format!("inventory {:?}{}", self.sort_by, if self.descending { " desc" } else { "" })
    }

    /// What a text of [`ListQuery::cursor`] leads to.
    pub fn cursor_of(&self, text: &str) -> Option<Cursor> {
        Cursor::parse(Some(text), None, &self.order()).ok().flatten()
    }

    /// Leads behind `item`.
    pub fn cursor(&self, item: &Item, page: i64) -> String {
        let value = match self.sort_by {
            SortBy::Id => Value::Null,
            SortBy::Sku => item.sku.as_str().into(),
            SortBy::Name => item.name.as_str().into(),
            SortBy::Category => item.category.as_deref().into(),
            SortBy::StockQuantity => item.stock_quantity.into(),
            SortBy::AvailableQuantity => item.available_quantity.into(),
            SortBy::CreatedAt => item.created_at.to_rfc3339().into(),
            SortBy::UpdatedAt => item.updated_at.to_rfc3339().into(),
        };
        Cursor { page, by: self.order(), value, id: item.id }.encode()
    }
}

/// How many items there are in all.
pub async fn total(db: &Db, query: &ListQuery) -> Result<i64, DbError> {
    let count = narrowed(db, Sql::new("SELECT count(*) AS count FROM inventory_items"), query);
    Ok(db.fetch_built::<Count>(count).await?.first().map_or(0, |row| row.count))
}

/// One page, and one item more when another follows.
pub async fn page(db: &Db, query: &ListQuery, page: PageRequest) -> Result<Vec<Item>, DbError> {
    page_from(db, query, page, None).await
}

/// The same where the page's first item is known; in the order of ids only.
pub async fn page_from(
    db: &Db,
    query: &ListQuery,
    page: PageRequest,
    start: Option<i64>,
) -> Result<Vec<Item>, DbError> {
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
    let mut select = narrowed(db, select, query);
    if let Some(after) = &query.after {
        select = behind(db, select, query, after);
    }
    let select = select.filter_some(if query.descending { "id <= ?" } else { "id >= ?" }, start);
    let select = select.push(order).push(" LIMIT ").number(page.limit + 1);
    match query.after.is_some() || start.is_some() {
        true => db.fetch_built(select).await,
        false => db.fetch_built(select.push(" OFFSET ").bind(page.offset())).await,
    }
}

/// What comes behind a column's value and an id, upwards and downwards.
macro_rules! past {
    ($column:expr) => {
        (concat!("(", $column, ", id) > (?1, ?2)"), concat!("(", $column, ", id) < (?1, ?2)"))
    };
}

fn behind(db: &Db, sql: Sql, query: &ListQuery, after: &Cursor) -> Sql {
    let text = || after.value.as_str().map(str::to_owned);
    let time = || after.value.as_str().and_then(|text| text.parse::<DateTime<Utc>>().ok());
    let (past, value): (_, Arg) = match query.sort_by {
        SortBy::Id => return sql.filter(if query.descending { "id < ?" } else { "id > ?" }, after.id),
        SortBy::Category => return behind_category(sql, query.descending, text(), after.id),
        SortBy::Sku => (past!("sku"), text().into()),
        SortBy::Name => (past!("name"), text().into()),
        SortBy::StockQuantity => (past!("stock_quantity"), after.value.as_i64().into()),
        SortBy::AvailableQuantity => {
            let past = db.by_engine(
                past!("max(0, stock_quantity - reserved_quantity)"),
                past!("greatest(0, stock_quantity - reserved_quantity)"),
            );
            (past, after.value.as_i64().into())
        }
        SortBy::CreatedAt => (past!("created_at"), time().into()),
        SortBy::UpdatedAt => (past!("updated_at"), time().into()),
    };
    sql.filter_two(if query.descending { past.1 } else { past.0 }, value, after.id)
}

/// Items without a category come last, whichever way the others are sorted.
fn behind_category(sql: Sql, descending: bool, category: Option<String>, id: i64) -> Sql {
    match (category, descending) {
        (None, false) => sql.filter("category IS NULL AND id > ?", id),
        (None, true) => sql.filter("category IS NULL AND id < ?", id),
        (Some(category), false) => sql.filter_two("((category, id) > (?1, ?2) OR category IS NULL)", category, id),
        (Some(category), true) => sql.filter_two("((category, id) < (?1, ?2) OR category IS NULL)", category, id),
    }
}

/// The condition of the partial index, letter by letter.
const LOW_SQLITE: &str = "max(0, stock_quantity - reserved_quantity) <= min_stock_level";
const LOW_POSTGRES: &str = "greatest(0, stock_quantity - reserved_quantity) <= min_stock_level";

/// By the index of what is available.
const OUT_SQLITE: &str = "max(0, stock_quantity - reserved_quantity) = 0";
const OUT_POSTGRES: &str = "greatest(0, stock_quantity - reserved_quantity) = 0";

fn narrowed(db: &Db, sql: Sql, query: &ListQuery) -> Sql {
    let sql = match query.low_stock {
        Some(true) => sql.filter_by(db.by_engine(LOW_SQLITE, LOW_POSTGRES)),
        Some(false) => sql.filter_by(db.by_engine(
            "NOT max(0, stock_quantity - reserved_quantity) <= min_stock_level",
            "NOT greatest(0, stock_quantity - reserved_quantity) <= min_stock_level",
        )),
        None => sql,
    };
    let sql = match query.out_of_stock {
        Some(true) => sql.filter_by(db.by_engine(OUT_SQLITE, OUT_POSTGRES)),
        Some(false) => sql.filter_by(db.by_engine(
            "max(0, stock_quantity - reserved_quantity) > 0",
            "greatest(0, stock_quantity - reserved_quantity) > 0",
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

//! Storage of prices and their history; every statement runs on both engines.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Author, Change, NewPrice, percent_of};
use crate::args;
use crate::db::{Db, DbError, Money, Sql, Tx};
use crate::feeds::body::utc;
use crate::feeds::page::PageRequest;

/// A price with the item that it is for.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Price {
    pub id: i64,
    pub inventory_id: i64,
    pub sku: String,
    pub name: String,
    pub category: Option<String>,
    pub selling_price: Money,
    pub cost_price: Money,
    pub discount_price: Option<Money>,
    pub currency: String,
    /// Of the selling price.
    pub margin_percent: Option<Money>,
    /// Of the cost price.
    pub markup_percent: Option<Money>,
    pub is_active: bool,
    pub requires_approval: bool,
    /// The selling price that awaits approval.
    pub pending_price: Option<Money>,
    #[serde(serialize_with = "utc::optional::serialize")]
    pub effective_from: Option<DateTime<Utc>>,
    #[serde(serialize_with = "utc::optional::serialize")]
    pub effective_until: Option<DateTime<Utc>>,
    #[serde(serialize_with = "utc::serialize")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "utc::serialize")]
    pub updated_at: DateTime<Utc>,
}

impl Price {
    /// As they are written.
    pub const FIELDS: &[&str] = &[
        "id",
        "inventory_id",
        "sku",
        "name",
        "category",
        "selling_price",
        "cost_price",
        "discount_price",
        "currency",
        "margin_percent",
        "markup_percent",
        "is_active",
        "requires_approval",
        "pending_price",
        "effective_from",
        "effective_until",
        "created_at",
        "updated_at",
    ];
    /// What a list of many needs.
    pub const LIGHT: &[&str] =
        &["id", "inventory_id", "sku", "name", "selling_price", "discount_price", "currency", "is_active"];

    /// Active, and begun.
    pub fn is_in_force(&self, now: DateTime<Utc>) -> bool {
        self.is_active && self.effective_from.is_none_or(|from| from <= now)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[schema(as = PriceHistory)]
pub struct HistoryRow {
    pub id: i64,
    pub inventory_id: i64,
    pub old_price: Option<Money>,
    pub new_price: Option<Money>,
    pub price_change_percent: Option<Money>,
    pub price_change_amount: Option<Money>,
    pub change_reason: Option<String>,
    pub changed_by: Option<String>,
    /// created, updated, approved or deleted.
    pub change_type: String,
    pub notes: Option<String>,
    #[serde(serialize_with = "utc::serialize")]
    pub changed_at: DateTime<Utc>,
}

/// What a list is narrowed by.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    pub inventory_id: Option<i64>,
    pub sku: Option<String>,
    pub currency: Option<String>,
    pub active: Option<bool>,
    pub pending: Option<bool>,
    /// The page begins behind this price.
    pub after: Option<i64>,
}

macro_rules! select {
    ($after:literal) => {
        concat!(
            "SELECT p.id, p.inventory_id, i.sku, i.name, i.category, p.selling_price, p.cost_price, p.discount_price, ",
            "p.currency, p.margin_percent, p.markup_percent, p.is_active, p.requires_approval, p.pending_price, ",
            "p.effective_from, p.effective_until, p.created_at, p.updated_at ",
            "FROM prices p JOIN inventory_items i ON i.id = p.inventory_id",
            $after
        )
    };
}

/// The price in force of each item and currency.
pub async fn in_force(tx: &mut Tx, now: DateTime<Utc>) -> Result<Vec<Price>, DbError> {
    let sql = select!(
        " WHERE p.id IN (SELECT max(id) FROM prices WHERE is_active = TRUE AND (effective_from IS NULL \
         OR effective_from <= $1) GROUP BY inventory_id, currency) ORDER BY p.id"
    );
    tx.fetch_all(sql, args![now]).await
}

#[derive(sqlx::FromRow)]
pub struct LockedItem {
    pub cost_price: Money,
}

/// Holds the item, so that prices of one item change one after the other.
pub async fn lock_item(tx: &mut Tx, id: i64) -> Result<Option<LockedItem>, DbError> {
    let sql = tx.by_engine(
        "SELECT cost_price FROM inventory_items WHERE id = $1",
        "SELECT cost_price FROM inventory_items WHERE id = $1 FOR UPDATE",
    );
    tx.fetch_optional(sql, args![id]).await
}

#[derive(sqlx::FromRow)]
struct Selling {
    selling_price: Money,
}

/// The item's active price in a currency: the one that a new price takes the place of. One that begins in the future
/// is not it yet.
pub async fn active_price(
    tx: &mut Tx,
    inventory_id: i64,
    currency: &str,
    now: DateTime<Utc>,
) -> Result<Option<Money>, DbError> {
    let sql = "SELECT selling_price FROM prices WHERE inventory_id = $1 AND currency = $2 AND is_active = TRUE \
               AND (effective_from IS NULL OR effective_from <= $3) ORDER BY id DESC LIMIT 1";
    let found: Option<Selling> = tx.fetch_optional(sql, args![inventory_id, currency, now]).await?;
    Ok(found.map(|price| price.selling_price))
}

#[derive(sqlx::FromRow)]
struct Id {
    id: i64,
}

pub async fn insert(tx: &mut Tx, new: &NewPrice, cost: Money, waits: bool, now: DateTime<Utc>) -> Result<i64, DbError> {
    let sql = "INSERT INTO prices (inventory_id, selling_price, cost_price, discount_price, currency, margin_percent, \
               markup_percent, is_active, requires_approval, pending_price, effective_from, effective_until, \
               created_at, updated_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13) RETURNING id";
    let (margin, markup) = margins(new.selling_price, cost);
    let args = args![
        new.inventory_id,
        new.selling_price,
        cost,
        new.discount_price,
        &new.currency,
        margin,
        markup,
        new.is_active && !waits,
        waits,
        waits.then_some(new.selling_price),
        new.effective_from,
        new.effective_until,
        now,
    ];
    tx.fetch_one::<Id>(sql, args).await.map(|row| row.id)
}

/// Ends the item's other active prices in the currency.
pub async fn supersede(tx: &mut Tx, item: i64, currency: &str, by: i64, now: DateTime<Utc>) -> Result<(), DbError> {
    let sql = "UPDATE prices SET is_active = FALSE, updated_at = $1 \
               WHERE inventory_id = $2 AND currency = $3 AND id <> $4 AND is_active = TRUE";
    tx.execute(sql, args![now, item, currency, by]).await.map(|_| ())
}

pub async fn reload(tx: &mut Tx, id: i64) -> Result<Price, DbError> {
    tx.fetch_one(select!(" WHERE p.id = $1"), args![id]).await
}

pub async fn find(db: &Db, id: i64) -> Result<Option<Price>, DbError> {
    db.fetch_optional(select!(" WHERE p.id = $1"), args![id]).await
}

/// The price, its item held until the transaction ends. Whoever writes prices of an item holds the item first, as
/// [`lock_item`] does: in any other order two writers could wait for each other.
pub async fn lock(tx: &mut Tx, id: i64) -> Result<Option<Price>, DbError> {
    let sql = tx.by_engine(
        "SELECT i.id FROM inventory_items i JOIN prices p ON p.inventory_id = i.id WHERE p.id = $1",
        "SELECT i.id FROM inventory_items i JOIN prices p ON p.inventory_id = i.id WHERE p.id = $1 FOR UPDATE OF i",
    );
    match tx.fetch_optional::<Id>(sql, args![id]).await? {
        // Read again behind the lock: the price may have changed while this waited for it.
        Some(_) => tx.fetch_optional(select!(" WHERE p.id = $1"), args![id]).await,
        None => Ok(None),
    }
}

/// Writes all fields of `next`, and the price that waits beside them.
pub async fn update(
    tx: &mut Tx,
    id: i64,
    next: &NewPrice,
    pending: Option<Money>,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let sql = "UPDATE prices SET selling_price = $1, cost_price = $2, discount_price = $3, currency = $4, \
               margin_percent = $5, markup_percent = $6, is_active = $7, requires_approval = $8, pending_price = $9, \
               effective_from = $10, effective_until = $11, updated_at = $12 WHERE id = $13";
    let cost = next.cost_price.unwrap_or_default();
    let (margin, markup) = margins(next.selling_price, cost);
    let args = args![
        next.selling_price,
        cost,
        next.discount_price,
        &next.currency,
        margin,
        markup,
        next.is_active,
        pending.is_some(),
        pending,
        next.effective_from,
        next.effective_until,
        now,
        id,
    ];
    tx.execute(sql, args).await.map(|_| ())
}

/// The price that waits becomes the selling price, and active.
pub async fn approve(tx: &mut Tx, stored: &Price, pending: Money, now: DateTime<Utc>) -> Result<(), DbError> {
    let sql = "UPDATE prices SET selling_price = $1, margin_percent = $2, markup_percent = $3, is_active = TRUE, \
               requires_approval = FALSE, pending_price = NULL, updated_at = $4 WHERE id = $5";
    let (margin, markup) = margins(pending, stored.cost_price);
    tx.execute(sql, args![pending, margin, markup, now, stored.id]).await.map(|_| ())
}

pub async fn reject(tx: &mut Tx, id: i64, now: DateTime<Utc>) -> Result<(), DbError> {
    let sql = "UPDATE prices SET requires_approval = FALSE, pending_price = NULL, updated_at = $1 WHERE id = $2";
    tx.execute(sql, args![now, id]).await.map(|_| ())
}

pub async fn delete(tx: &mut Tx, id: i64) -> Result<(), DbError> {
    tx.execute("DELETE FROM prices WHERE id = $1", args![id]).await.map(|_| ())
}

pub async fn insert_history(
    tx: &mut Tx,
    inventory_id: i64,
    change: Change,
    change_type: &'static str,
    author: &Author,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let sql = "INSERT INTO price_history (inventory_id, old_price, new_price, price_change_percent, \
               price_change_amount, change_reason, changed_by, change_type, notes, changed_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let args = args![
        inventory_id,
        change.old,
        change.new,
        change.percent,
        change.amount,
        author.change_reason.clone(),
        author.changed_by.clone(),
        change_type,
        author.notes.clone(),
        now,
    ];
    tx.execute(sql, args).await.map(|_| ())
}

#[derive(sqlx::FromRow)]
struct Count {
    count: i64,
}

fn narrowed(sql: Sql, query: &ListQuery) -> Sql {
    sql.filter_some("p.inventory_id = ?", query.inventory_id)
        .filter_some("i.sku = ?", query.sku.as_deref())
        .filter_some("p.currency = ?", query.currency.as_deref())
        .filter_some("p.is_active = ?", query.active)
        .filter_some("p.requires_approval = ?", query.pending)
}

/// How many prices there are in all.
pub async fn total(db: &Db, query: &ListQuery) -> Result<i64, DbError> {
    let count = "SELECT count(*) AS count FROM prices p JOIN inventory_items i ON i.id = p.inventory_id";
    Ok(db.fetch_built::<Count>(narrowed(Sql::new(count), query)).await?.first().map_or(0, |row| row.count))
}

/// One page with the items joined in, and one price more when another follows.
pub async fn list(db: &Db, query: &ListQuery, page: PageRequest) -> Result<Vec<Price>, DbError> {
    let select = narrowed(Sql::new(select!("")), query).filter_some("p.id > ?", query.after);
    let select = select.push(" ORDER BY p.id LIMIT ").bind(page.limit + 1);
    match query.after {
        Some(_) => db.fetch_built(select).await,
        None => db.fetch_built(select.push(" OFFSET ").bind(page.offset())).await,
    }
}

/// How many rows there are in all.
pub async fn history_total(db: &Db, inventory_id: Option<i64>) -> Result<i64, DbError> {
    let count = Sql::new("SELECT count(*) AS count FROM price_history").filter_some("inventory_id = ?", inventory_id);
    Ok(db.fetch_built::<Count>(count).await?.first().map_or(0, |row| row.count))
}

/// One page, the newest first, and one row more when another follows.
pub async fn history(
    db: &Db,
    inventory_id: Option<i64>,
    after: Option<i64>,
    page: PageRequest,
) -> Result<Vec<HistoryRow>, DbError> {
    let select = Sql::new(
        "SELECT id, inventory_id, old_price, new_price, price_change_percent, price_change_amount, change_reason, \
         changed_by, change_type, notes, changed_at FROM price_history",
    );
    let select = select.filter_some("inventory_id = ?", inventory_id).filter_some("id < ?", after);
    let select = select.push(" ORDER BY id DESC LIMIT ").bind(page.limit + 1);
    match after {
        Some(_) => db.fetch_built(select).await,
        None => db.fetch_built(select.push(" OFFSET ").bind(page.offset())).await,
    }
}

/// Margin of the selling price and markup on the cost, in percent.
fn margins(selling: Money, cost: Money) -> (Option<Money>, Option<Money>) {
    let gain = selling.decimal() - cost.decimal();
    (percent_of(gain, selling.decimal()), percent_of(gain, cost.decimal()))
}

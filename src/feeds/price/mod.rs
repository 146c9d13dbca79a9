//! Prices: the rule of every write. Every change of a selling price writes a history row in the same transaction.
//!
//! - A new price takes the place of the item's active one in the same currency, unless it begins in the future.
//! - A change that awaits approval (asked for, or past `approval_percent`) changes nothing yet: the row keeps it as
//!   `pending_price`, `price:alerts` tells of it, and approving applies it as any other change.
//!   A price that is switched on is measured against the one that it replaces, so approval cannot be gone around.
//! - A change past `large_change_percent` takes effect at once, and `price:alerts` tells of it too.

mod change; // from old to new: amount, percent, margins
mod messages; // what subscribers are told
pub mod routes;
mod sql;
mod validate;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::Deserialize;

use self::change::Change;
use self::messages::{AlertType, PriceAlert, PriceRow, PriceUpdate};
pub use self::sql::{HistoryRow, ListQuery, Price};
pub use self::validate::{Author, NewPrice, PriceChange};
use super::action::Action;
use super::alert::{Alert, AlertKind};
use super::cursor::by_id;
use super::failure::Failure;
use super::noted::{PRICE_HISTORY, PRICES, of_prices};
use super::outbox::{Outbox, StageError};
use super::page::{Page, PageRequest};
use super::snapshot::{Rows, row};
use super::totals::Totals;
use super::{PRICE_ALERTS, PRICE_UPDATES};
use crate::clock::Clock;
use crate::db::{Db, DbError, Moment, Money, Tx};
use crate::http::{FieldError, Problem};
use crate::series::{Point, Writer};
use crate::stream::{SnapshotRow, Tags};

/// When a change of price is more than a change.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PriceOptions {
    /// A change of at least this many percent, up or down, is told on `price:alerts`. 0: never.
    pub large_change_percent: u32,
    /// A change of at least this many percent awaits approval. 0: only when the caller asks for it.
    pub approval_percent: u32,
}

impl Default for PriceOptions {
    fn default() -> Self {
        Self { large_change_percent: 20, approval_percent: 0 }
    }
}

/// The prices. Cloning shares them.
#[derive(Clone)]
pub struct Prices(Arc<Inner>);

struct Inner {
    db: Db,
    outbox: Outbox,
    clock: Clock,
    series: Writer,
    options: PriceOptions,
    totals: Totals,
}

impl Prices {
    pub fn new(db: Db, outbox: Outbox, clock: Clock, series: Writer, options: PriceOptions) -> Self {
        Self(Arc::new(Inner { db, outbox, clock, series, options, totals: Totals::default() }))
    }

    pub async fn create(&self, new: NewPrice, caller: &str) -> Result<Price, Failure> {
        let (now, author) = (self.0.clock.now(), new.author.clone().or_caller(caller));
        let new = new.check().map_err(Problem::invalid)?;
        let mut tx = self.0.db.begin().await?;
        let item = sql::lock_item(&mut tx, new.inventory_id).await?;
        let item = item.ok_or_else(|| {
            Problem::invalid(vec![FieldError::new("inventory_id", format!("there is no item {}", new.inventory_id))])
        })?;
        let before = sql::active_price(&mut tx, new.inventory_id, &new.currency, now).await?;
        let change = Change::between(before, Some(new.selling_price));
        let waits = new.requires_approval || change.reaches(self.0.options.approval_percent);
        let id = sql::insert(&mut tx, &new, new.cost_price.unwrap_or(item.cost_price), waits, now).await?;
        if !waits && new.is_active && new.effective_from.is_none_or(|from| from <= now) {
            sql::supersede(&mut tx, new.inventory_id, &new.currency, id, now).await?;
        }
        let price = sql::reload(&mut tx, id).await?;
        if waits {
            self.alert(&mut tx, AlertType::ApprovalRequired, &price, change, now).await?;
        } else {
            self.changed(&mut tx, Action::Created, "created", &price, change, &author, now).await?;
        }
        self.0.outbox.commit(tx).await?;
        self.note(&price, now);
        Ok(price)
    }

    pub async fn get(&self, id: i64) -> Result<Price, Failure> {
        sql::find(&self.0.db, id).await?.ok_or_else(|| missing(id).into())
    }

    /// `now`: where the rows stood before this was called, where somebody could say.
    pub async fn list(
        &self,
        query: &ListQuery,
        page: PageRequest,
        now: Option<Moment>,
    ) -> Result<Page<Price>, Failure> {
        let (db, depends) = (&self.0.db, of_prices(PRICES));
        let key = format!("{:?}", ListQuery { after: None, ..query.clone() });
        let total = self.0.totals.get(db, key, now, &depends, sql::total(db, query)).await?;
        let prices = sql::list(db, query, page).await?;
        Ok(Page::keyed(prices, page, total, |price, page| by_id("prices", price.id, page)))
    }

    /// Of one item or of all, behind the row `after`.
    pub async fn history(
        &self,
        inventory_id: Option<i64>,
        after: Option<i64>,
        page: PageRequest,
        now: Option<Moment>,
    ) -> Result<Page<HistoryRow>, Failure> {
        let (db, depends) = (&self.0.db, of_prices(PRICE_HISTORY));
        let count = sql::history_total(db, inventory_id);
        let total = self.0.totals.get(db, format!("history {inventory_id:?}"), now, &depends, count).await?;
        let rows = sql::history(db, inventory_id, after, page).await?;
        Ok(Page::keyed(rows, page, total, |row, page| by_id("history", row.id, page)))
    }

    /// Changes the fields that are given; a new selling price may have to wait.
    pub async fn update(&self, id: i64, change: PriceChange, caller: &str) -> Result<Price, Failure> {
        let (now, author) = (self.0.clock.now(), change.author.clone().or_caller(caller));
        let mut tx = self.0.db.begin().await?;
        let stored = sql::lock(&mut tx, id).await?.ok_or_else(|| missing(id))?;
        let asked = change.requires_approval == Some(true);
        let mut next = change.onto(&stored);
        next.clone().check().map_err(Problem::invalid)?;
        let stays = stored.is_active && next.currency == stored.currency;
        let replaces = next.is_active && !stays;
        let differs = next.selling_price != stored.selling_price;
        if replaces && !differs && stored.pending_price.is_some() {
            let message = "cannot be set while the price awaits approval";
            return Err(Problem::conflict(format!("is_active {message}")).with_field("is_active", message).into());
        }
        let before = match replaces {
            true => sql::active_price(&mut tx, stored.inventory_id, &next.currency, now).await?,
            false => Some(stored.selling_price),
        };
        let step = Change::between(before, Some(next.selling_price));
        if asked && !differs && !replaces {
            let message = "goes with a selling_price that differs from the stored one";
            return Err(invalid("requires_approval", message).into());
        }
        let waits = (differs || replaces) && (asked || step.reaches(self.0.options.approval_percent));
        if waits && next.currency != stored.currency {
            return Err(invalid("currency", "cannot change together with a price that is to wait").into());
        }
        let pending = if waits { Some(next.selling_price) } else { stored.pending_price.filter(|_| !differs) };
        if waits {
            next.selling_price = stored.selling_price;
            next.is_active &= stays;
        }
        // One of the two is in force now, the other may be later; the discount must hold for both.
        let lowest = pending.map_or(next.selling_price, |pending| pending.min(next.selling_price));
        if next.discount_price.is_some_and(|discount| discount >= lowest) {
            return Err(invalid("discount_price", "is below selling_price, and below the price that waits").into());
        }
        sql::update(&mut tx, id, &next, pending, now).await?;
        if next.is_active && next.effective_from.is_none_or(|from| from <= now) {
            sql::supersede(&mut tx, stored.inventory_id, &next.currency, id, now).await?;
        }
        let price = sql::reload(&mut tx, id).await?;
        if waits {
            self.alert(&mut tx, AlertType::ApprovalRequired, &price, step, now).await?;
        } else {
            let history = if differs || step.old != step.new { "updated" } else { "" };
            self.changed(&mut tx, Action::Updated, history, &price, step, &author, now).await?;
        }
        self.0.outbox.commit(tx).await?;
        self.note(&price, now);
        Ok(price)
    }

    /// Applies or discards the price that waits.
    pub async fn decide(&self, id: i64, approve: bool, author: Author, caller: &str) -> Result<Price, Failure> {
        author.check().map_err(Problem::invalid)?;
        let (now, author) = (self.0.clock.now(), author.or_caller(caller));
        let mut tx = self.0.db.begin().await?;
        let stored = sql::lock(&mut tx, id).await?.ok_or_else(|| missing(id))?;
        let pending =
            stored.pending_price.ok_or_else(|| Problem::conflict(format!("price {id} awaits no approval")))?;
        let before = match stored.is_active {
            true => Some(stored.selling_price),
            false => sql::active_price(&mut tx, stored.inventory_id, &stored.currency, now).await?,
        };
        let change = Change::between(before, Some(pending));
        if approve {
            sql::approve(&mut tx, &stored, pending, now).await?;
            if stored.effective_from.is_none_or(|from| from <= now) {
                sql::supersede(&mut tx, stored.inventory_id, &stored.currency, id, now).await?;
            }
        } else {
            sql::reject(&mut tx, id, now).await?;
        }
        let price = sql::reload(&mut tx, id).await?;
        if approve {
            self.changed(&mut tx, Action::Updated, "approved", &price, change, &author, now).await?;
        }
        let alert = if approve { AlertType::Approved } else { AlertType::Rejected };
        self.alert(&mut tx, alert, &price, change, now).await?;
        self.0.outbox.commit(tx).await?;
        self.note(&price, now);
        Ok(price)
    }

    /// Deletes the price. Only one in force takes the item's price away and is told as that; one that waits is told as
    /// rejected.
    pub async fn delete(&self, id: i64, caller: &str) -> Result<(), Failure> {
        let (now, author) = (self.0.clock.now(), Author::default().or_caller(caller));
        let mut tx = self.0.db.begin().await?;
        let stored = sql::lock(&mut tx, id).await?.ok_or_else(|| missing(id))?;
        sql::delete(&mut tx, id).await?;
        if stored.is_in_force(now) {
            let change = Change::between(Some(stored.selling_price), None);
            self.changed(&mut tx, Action::Deleted, "deleted", &stored, change, &author, now).await?;
        } else if stored.requires_approval {
            let before = sql::active_price(&mut tx, stored.inventory_id, &stored.currency, now).await?;
            let change = Change::between(before, stored.pending_price);
            self.alert(&mut tx, AlertType::Rejected, &stored, change, now).await?;
        }
        self.0.outbox.commit(tx).await?;
        Ok(())
    }

    /// The price as it is from now on, for charts; a figure to the digit is what the rows are for.
    fn note(&self, price: &Price, now: DateTime<Utc>) {
        if price.is_in_force(now)
            && let Some(figure) = price.selling_price.decimal().to_f64()
        {
            let point = Point::new("price", now).tag("sku", &price.sku).tag("currency", &price.currency);
            self.0.series.write(point.field("price", figure));
        }
    }

    /// What follows a change that has taken effect: history (when `change_type` is not empty), stream, alert.
    #[expect(clippy::too_many_arguments, reason = "one call, one change; a struct would only name them again")]
    async fn changed(
        &self,
        tx: &mut Tx,
        action: Action,
        change_type: &'static str,
        price: &Price,
        change: Change,
        author: &Author,
        now: DateTime<Utc>,
    ) -> Result<(), Failure> {
        if !change_type.is_empty() {
            sql::insert_history(tx, price.inventory_id, change, change_type, author, now).await?;
        }
        let update = PriceUpdate::new(action, price, change, now);
        self.0.outbox.stage(tx, PRICE_UPDATES, &update, tags(price), now).await?;
        if change_type != "approved" && change.reaches(self.0.options.large_change_percent) {
            self.alert(tx, AlertType::LargeChange, price, change, now).await?;
        }
        Ok(())
    }

    /// Tells subscribers, and people where somebody has to look or decide.
    async fn alert(
        &self,
        tx: &mut Tx,
        alert_type: AlertType,
        price: &Price,
        change: Change,
        now: DateTime<Utc>,
    ) -> Result<(), StageError> {
        let message = PriceAlert::new(alert_type, price, change, now);
        self.0.outbox.stage(tx, PRICE_ALERTS, &message, tags(price), now).await?;
        let kind = match alert_type {
            AlertType::LargeChange => AlertKind::PriceChange,
            AlertType::ApprovalRequired => AlertKind::PriceApproval,
            AlertType::Approved | AlertType::Rejected => return Ok(()),
        };
        let figures = serde_json::json!({
            "old_price": change.old.map(|price| price.to_string()),
            "new_price": change.new.map(|price| price.to_string()),
            "change_percent": change.percent.map(|percent| percent.to_string()),
            "currency": price.currency,
        });
        let (sku, name) = (price.sku.clone(), price.name.clone());
        Alert { kind, item_id: price.inventory_id, sku, name, figures, at: now }.enqueue(tx).await?;
        Ok(())
    }
}

#[async_trait]
impl Rows for Prices {
    async fn read(&self, tx: &mut Tx) -> Result<Vec<SnapshotRow>, DbError> {
        let prices = sql::in_force(tx, self.0.clock.now()).await?;
        Ok(prices.iter().filter_map(|price| row(&PriceRow::new(price), price.category.as_deref())).collect())
    }
}

fn tags(price: &Price) -> Tags {
    let mut tags: Tags = vec![("sku".into(), price.sku.clone())];
    tags.extend(price.category.iter().map(|category| ("category".to_owned(), category.clone())));
    tags
}

fn invalid(field: &'static str, message: &'static str) -> Problem {
    Problem::invalid(vec![FieldError::new(field, message)])
}

fn missing(id: i64) -> Problem {
    Problem::not_found(format!("there is no price {id}"))
}

/// `(part - whole) / whole` in percent; `None` where that has no value or does not fit.
fn percent_of(difference: Decimal, whole: Decimal) -> Option<Money> {
    let percent = difference.checked_mul(Decimal::ONE_HUNDRED)?.checked_div(whole)?;
    Money::rounded(percent).ok()
}

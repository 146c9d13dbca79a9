//! Stock items: the rule of every write. validate → row → outbox → commit → stream; when low, alerts too.

mod depends; // what makes an answer old
mod list; // narrowed, sorted, in pages
mod messages; // what subscribers are told
pub mod routes;
mod sql;
mod validate;

use std::sync::Arc;

use async_trait::async_trait;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

pub use self::list::{ListQuery, SortBy};
use self::messages::{InventoryRow, InventoryUpdate, StockAlert};
pub use self::sql::Item;
pub use self::validate::{ItemChange, NewItem};
use super::action::Action;
use super::alert::{Alert, AlertKind};
use super::failure::Failure;
use super::outbox::Outbox;
use super::page::{Page, PageRequest};
use super::snapshot::{Rows, row};
use super::totals::Totals;
use super::{INVENTORY_UPDATES, STOCK_ALERTS};
use crate::clock::Clock;
use crate::db::{Db, DbError, Moment, Tx};
use crate::http::{FieldError, Problem};
use crate::series::{Point, Writer};
use crate::stream::{SnapshotRow, Tags};
use crate::telemetry::{Registry, name};

/// The inventory. Cloning shares it.
#[derive(Clone)]
pub struct Inventory(Arc<Inner>);

struct Inner {
    db: Db,
    outbox: Outbox,
    clock: Clock,
    series: Writer,
    low_stock_alerts: Family<LevelLabel, Counter>,
    totals: Totals,
    /// Where pages by number begin.
    starts: Totals,
}

#[async_trait]
impl Rows for Inventory {
    async fn read(&self, tx: &mut Tx) -> Result<Vec<SnapshotRow>, DbError> {
        let items = sql::all(tx).await?;
        Ok(items.iter().filter_map(|item| row(&InventoryRow::new(item), item.category.as_deref())).collect())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LevelLabel {
    level: &'static str,
}

/// The largest change of stock in one request; twice this still fits everywhere.
const MAX_DELTA: i64 = 1_000_000_000;

impl Inventory {
    pub fn new(db: Db, outbox: Outbox, clock: Clock, series: Writer, registry: &mut Registry) -> Self {
        let low_stock_alerts = Family::<LevelLabel, Counter>::default();
        registry.register(name::LOW_STOCK_ALERTS, "Alerts for low stock, by level", low_stock_alerts.clone());
        Self(Arc::new(Inner {
            db,
            outbox,
            clock,
            series,
            low_stock_alerts,
            totals: Totals::default(),
            starts: Totals::default(),
        }))
    }

    pub async fn create(&self, new: NewItem) -> Result<Item, Failure> {
        let now = self.0.clock.now();
        let checked = new.check().map_err(Problem::invalid)?;
        let mut tx = self.0.db.begin().await?;
        let item = match sql::insert(&mut tx, &checked, now).await {
            Err(error) if error.is_unique_violation() => return Err(duplicate(&checked.sku).into()),
            result => result?,
        };
        self.tell(tx, Action::Created, item).await
    }

    pub async fn get(&self, id: i64) -> Result<Item, Failure> {
        sql::find(&self.0.db, id).await?.ok_or_else(|| missing(id).into())
    }

    /// `now`: where the rows stood before this was called, where somebody could say.
    pub async fn list(&self, query: &ListQuery, page: PageRequest, now: Option<Moment>) -> Result<Page<Item>, Failure> {
        let (db, depends) = (&self.0.db, query.total_depends());
        let key = format!("{:?}", (&query.category, query.active, query.low_stock, query.out_of_stock, &query.text));
        let total = self.0.totals.get(db, key, now, &depends, list::total(db, query)).await?;
        let items = match now {
            Some(now) => self.page(query, page, now).await?,
            None => list::page(db, query, page).await?,
        };
        Ok(Page::keyed(items, page, total, |item, page| query.cursor(item, page)))
    }

    /// A page by number without counting to where it begins, where that is known.
    async fn page(&self, query: &ListQuery, page: PageRequest, now: Moment) -> Result<Vec<Item>, DbError> {
        let Inner { db, starts, .. } = &*self.0;
        if query.sort_by != SortBy::Id || query.after.is_some() || page.page == 1 {
            return list::page(db, query, page).await;
        }
        let (key, depends) = (format!("{query:?} {page:?}"), query.total_depends());
        let start = starts.known(db, &key, &depends);
        let items = list::page_from(db, query, page, start).await?;
        if let (None, Some(first)) = (start, items.first()) {
            starts.note(key, now, first.id);
        }
        Ok(items)
    }

    /// Changes the fields that are given.
    pub async fn update(&self, id: i64, change: ItemChange) -> Result<Item, Failure> {
        let now = self.0.clock.now();
        let mut tx = self.0.db.begin().await?;
        let stored = sql::lock(&mut tx, id).await?.ok_or_else(|| missing(id))?;
        let checked = change.onto(&stored).check().map_err(Problem::invalid)?;
        let item = match sql::update(&mut tx, id, &checked, now).await {
            Err(error) if error.is_unique_violation() => return Err(duplicate(&checked.sku).into()),
            result => result?,
        };
        self.tell(tx, Action::Updated, item).await
    }

    pub async fn delete(&self, id: i64) -> Result<(), Failure> {
        let mut tx = self.0.db.begin().await?;
        let mut item = sql::delete(&mut tx, id).await?.ok_or_else(|| missing(id))?;
        item.updated_at = self.0.clock.now();
        self.tell(tx, Action::Deleted, item).await.map(|_| ())
    }

    /// Adds `delta` to the stock; the row decides, so that any number of callers at once end at the right figure.
    pub async fn adjust(&self, id: i64, delta: i64) -> Result<Item, Failure> {
        if delta == 0 || !(-MAX_DELTA..=MAX_DELTA).contains(&delta) {
            let message = "is a whole number other than 0, from -1000000000 to 1000000000";
            return Err(Problem::invalid(vec![FieldError::new("delta", message)]).into());
        }
        let mut tx = self.0.db.begin().await?;
        match sql::adjust(&mut tx, id, delta, self.0.clock.now()).await? {
            Some(item) => self.tell(tx, Action::Updated, item).await,
            None => {
                let stored = sql::lock(&mut tx, id).await?.ok_or_else(|| missing(id))?;
                let message = format!("{delta} would take the stock of {} out of its bounds", stored.stock_quantity);
                Err(Problem::conflict(format!("delta {message}")).with_field("delta", message).into())
            }
        }
    }

    /// Stages what subscribers are told of the item's new state, and commits.
    async fn tell(&self, mut tx: Tx, action: Action, item: Item) -> Result<Item, Failure> {
        let (outbox, now) = (&self.0.outbox, item.updated_at);
        let mut tags: Tags = vec![("sku".into(), item.sku.clone())];
        tags.extend(item.category.iter().map(|category| ("category".to_owned(), category.clone())));
        let update = InventoryUpdate::new(action, &item);
        outbox.stage(&mut tx, INVENTORY_UPDATES, &update, tags.clone(), now).await?;
        let low = action != Action::Deleted && item.is_active && item.is_trackable && item.is_low_stock;
        if low {
            let alert = StockAlert::new(&item);
            outbox.stage(&mut tx, STOCK_ALERTS, &alert, tags, now).await?;
            stock_alert(&item).enqueue(&mut tx).await?;
        }
        outbox.commit(tx).await?;
        if action != Action::Deleted {
            self.0.series.write(stock_level(&item));
        }
        if low {
            self.0.low_stock_alerts.get_or_create(&LevelLabel { level: item.alert_level() }).inc();
        }
        Ok(item)
    }
}

/// The item's stock as it is from now on.
fn stock_level(item: &Item) -> Point {
    Point::new("stock_level", item.updated_at)
        .tag("sku", &item.sku)
        .tag("category", item.category.as_deref().unwrap_or_default())
        .field("stock", item.stock_quantity)
        .field("reserved", item.reserved_quantity)
        .field("available", item.available_quantity)
}

fn stock_alert(item: &Item) -> Alert {
    Alert {
        kind: if item.available_quantity == 0 { AlertKind::StockOut } else { AlertKind::StockLow },
        item_id: item.id,
        sku: item.sku.clone(),
        name: item.name.clone(),
        figures: serde_json::json!({
            "available_quantity": item.available_quantity,
            "min_stock_level": item.min_stock_level,
        }),
        at: item.updated_at,
    }
}

fn missing(id: i64) -> Problem {
    Problem::not_found(format!("there is no inventory item {id}"))
}

fn duplicate(sku: &str) -> Problem {
    Problem::conflict(format!("an item with the SKU {sku} exists already")).with_field("sku", "is taken")
}

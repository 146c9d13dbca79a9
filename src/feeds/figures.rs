//! Figures of the rows that are too dear to count at each scrape: counted now and then by one task.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tokio_util::sync::CancellationToken;

use crate::args;
use crate::db::{Db, DbError};
use crate::telemetry::{Registry, name};

const PERIOD: Duration = Duration::from_secs(15);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

/// Keeps the gauges of items and database connections up to date.
pub struct Figures {
    db: Db,
    items: Family<StateLabel, Gauge>,
    connections: Family<StateLabel, Gauge>,
}

#[derive(sqlx::FromRow)]
struct Count {
    active: i64,
    inactive: i64,
    low: i64,
}

impl Figures {
    pub fn new(db: Db, registry: &mut Registry) -> Self {
        let (items, connections) = (Family::<StateLabel, Gauge>::default(), Family::<StateLabel, Gauge>::default());
        registry.register(name::INVENTORY_ITEMS, "Items by state; counted every 15 seconds", items.clone());
        let help = "Database connections of the pool by state; read every 15 seconds";
        registry.register(name::DB_CONNECTIONS, help, connections.clone());
        Self { db, items, connections }
    }

    pub async fn run(self, stop: CancellationToken) {
        loop {
            if let Err(error) = self.count().await {
                tracing::warn!(%error, "the items could not be counted");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }

    async fn count(&self) -> Result<(), DbError> {
        let pool = self.db.pool_figures();
        let idle = i64::try_from(pool.idle).unwrap_or(i64::MAX);
        let set = |family: &Family<StateLabel, Gauge>, state, value| {
            family.get_or_create(&StateLabel { state }).set(value);
        };
        set(&self.connections, "open", pool.open.into());
        set(&self.connections, "idle", idle);
        set(&self.connections, "max", pool.max.into());
        let sql = "SELECT CAST(coalesce(sum(CASE WHEN is_active THEN 1 ELSE 0 END), 0) AS BIGINT) AS active, \
                   CAST(coalesce(sum(CASE WHEN is_active THEN 0 ELSE 1 END), 0) AS BIGINT) AS inactive, \
                   CAST(coalesce(sum(CASE WHEN stock_quantity - reserved_quantity <= min_stock_level THEN 1 ELSE 0 END), 0) \
                   AS BIGINT) AS low FROM inventory_items";
        let count: Count = self.db.fetch_one(sql, args![]).await?;
        set(&self.items, "active", count.active);
        set(&self.items, "inactive", count.inactive);
        set(&self.items, "low_stock", count.low);
        Ok(())
    }
}

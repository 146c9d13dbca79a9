//! What the tests of rows share: a database of either engine, and the feeds on it.

use fanfare::clock::Clock;
use fanfare::db::{Db, DbMetrics, DbOptions};
use fanfare::feeds::Outbox;
use fanfare::feeds::inventory::Inventory;
use fanfare::feeds::price::{PriceOptions, Prices};
use fanfare::queue::{Queue, QueueOptions};
use fanfare::series::Writer;
use fanfare::telemetry::Registry;

use crate::support::{Postgres, temp_dir};

/// One engine's database with all tables, and what lives on it.
pub struct Rows {
    pub db: Db,
    pub outbox: Outbox,
    pub inventory: Inventory,
    pub prices: Prices,
    _folder: tempfile::TempDir,
}

#[derive(Debug, PartialEq, sqlx::FromRow)]
pub struct Text {
    pub text: String,
}

impl Rows {
    /// The same empty tables on SQLite and on PostgreSQL.
    pub async fn both() -> [Rows; 2] {
        let folder = temp_dir("rows");
        let sqlite = format!("sqlite://{}", folder.path().join("rows.db").display());
        let postgres = Postgres::database().await.url;
        [Self::open(&sqlite, folder).await, Self::open(&postgres, temp_dir("none")).await]
    }

    pub async fn sqlite() -> Rows {
        let folder = temp_dir("rows");
        Self::open(&format!("sqlite://{}", folder.path().join("rows.db").display()), folder).await
    }

    async fn open(url: &str, folder: tempfile::TempDir) -> Rows {
        let mut registry = Registry::default();
        let db = Db::open(url, &DbOptions::default(), DbMetrics::register(&mut registry)).await.expect("open");
        db.migrate().await.expect("migrate");
        db.migrate().await.expect("a second time changes nothing");
        let clock = Clock::system();
        let queue = Queue::new(db.clone(), clock.clone(), QueueOptions::default(), &mut registry);
        let outbox = Outbox::new(queue);
        let series = Writer::nowhere();
        let inventory = Inventory::new(db.clone(), outbox.clone(), clock.clone(), series.clone(), &mut registry);
        let options = PriceOptions { approval_percent: 50, ..PriceOptions::default() };
        let prices = Prices::new(db.clone(), outbox.clone(), clock, series, options);
        Rows { db, outbox, inventory, prices, _folder: folder }
    }

    /// What has been staged for the stream so far, in order: channel and message.
    pub async fn staged(&self) -> Vec<(String, serde_json::Value)> {
        let sql = "SELECT channel || ' ' || data AS text FROM outbox ORDER BY id";
        let rows: Vec<Text> = self.db.fetch_all(sql, vec![]).await.expect("outbox");
        rows.into_iter()
            .map(|row| {
                let (channel, data) = row.text.split_once(' ').expect("channel and data");
                (channel.to_owned(), serde_json::from_str(data).expect("json"))
            })
            .collect()
    }

    pub async fn clear_staged(&self) {
        self.db.execute("DELETE FROM outbox", vec![]).await.expect("clear");
    }
}

/// A body as a handler would have read it.
pub fn body<T: serde::de::DeserializeOwned>(json: serde_json::Value) -> T {
    fanfare::http::parse(json.to_string().as_bytes()).expect("a valid body")
}

//! Both databases, migrated and empty, opened as the server opens them.

use ::fanfare::db::{Db, DbMetrics, DbOptions};
use ::fanfare::telemetry::Registry;
use tempfile::TempDir;

use super::{Postgres, temp_dir};

/// An open database of this test alone.
pub struct TestDb {
    pub db: Db,
    pub url: String,
    folder: Option<TempDir>,
}

/// One of each engine: what a test shows must hold on both.
pub async fn databases() -> [TestDb; 2] {
    [sqlite().await, postgres().await]
}

pub async fn sqlite() -> TestDb {
    let folder = temp_dir("sqlite");
    let url = format!("sqlite://{}", folder.path().join("fanfare.db").display());
    TestDb { db: open(&url).await, url, folder: Some(folder) }
}

pub async fn postgres() -> TestDb {
    let url = Postgres::database().await.url;
    TestDb { db: open(&url).await, url, folder: None }
}

/// A few connections only: all tests share one cluster and its limit.
async fn open(url: &str) -> Db {
    let options = DbOptions { pool_size: 2, max_overflow: 4, ..DbOptions::default() };
    let metrics = DbMetrics::register(&mut Registry::default());
    let db = Db::open(url, &options, metrics).await.expect("the database opens");
    db.migrate().await.expect("the migrations run");
    db
}

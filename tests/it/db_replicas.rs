//! Reads from a real replica: only what it has, and never older than what the reader wrote.

use std::process::Command;

use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};

use crate::support::{Fanfare, Postgres, Settings, eventually, program};

/// A hot standby that follows `primary`.
async fn standby(primary: &Postgres) -> Postgres {
    let folder = Postgres::own_folder("pg");
    let mut base = Command::new(program("pg_basebackup", &["/usr/lib/postgresql/15/bin".into()]));
    base.current_dir("/").args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--wal-method=stream"]);
    Postgres::run(base.arg("-d").arg(primary.url("postgres")).arg("-D").arg(folder.path().join("data")));
    Postgres::over(folder, vec!["hot_standby=on".into()]).await
}

async fn figure(server: &Fanfare, name: &str) -> u64 {
    let text = reqwest::get(format!("{}/metrics", server.url())).await.expect("scrape").text().await.expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |value| value.trim().parse().expect("a number"))
}

async fn stock(server: &Fanfare, id: &Value) -> i64 {
    let item = reqwest::get(format!("{}/api/v1/inventory/{id}", server.url())).await.expect("get");
    assert_eq!(item.status(), 200);
    item.json::<Value>().await.expect("json")["stock_quantity"].as_i64().expect("a number")
}

const REPLICA: &str = "fanfare_db_replica_reads_total{from=\"replica\"}";
const PRIMARY: &str = "fanfare_db_replica_reads_total{from=\"primary\"}";

#[tokio::test]
async fn a_reader_sees_what_it_wrote_and_a_replica_that_lags_or_dies_is_passed_over() {
    let primary = Postgres::start().await;
    let database = primary.create_database().await;
    let replica = standby(&primary).await;
    let read_url = replica.url(&database.name);
    let settings = Settings::new().database(&database.url).env("READ_DATABASE_URL_1", &read_url);
    let settings = settings.env("DB_POOL_SIZE", "4").env("FANFARE__RATE__PER_ADDRESS", "0");
    // A kept answer would not be read from anywhere.
    let settings = settings.env("FANFARE__CACHE__MEMORY_BYTES", "0");
    let server = Fanfare::start(settings.clone()).await;
    let client = reqwest::Client::new();
    let item = json!({ "sku": "READ-1", "name": "x", "stock_quantity": 500 });
    let item = client.post(format!("{}/api/v1/inventory", server.url())).json(&item).send().await.expect("create");
    let id = item.json::<Value>().await.expect("json")["id"].clone();
    let adjust = async || {
        let url = format!("{}/api/v1/inventory/{id}/adjust", server.url());
        let sent = client.post(url).json(&json!({ "delta": -1 })).send().await.expect("adjust");
        assert!(sent.status().is_success());
    };
    eventually("a read comes from the replica", async || {
        assert_eq!(stock(&server, &id).await, 500);
        (figure(&server, REPLICA).await > 0).then_some(())
    })
    .await;

    // The replica stands still: every read after a write is the primary's.
    let mut to_replica = PgConnection::connect(&read_url).await.expect("the replica");
    to_replica.execute("SELECT pg_wal_replay_pause()").await.expect("paused");
    for left in (480..500).rev() {
        adjust().await;
        assert_eq!(stock(&server, &id).await, left);
    }
    // What another node wrote is no different, whether or not that one knows of the replica.
    let other = Fanfare::start(Settings::new().database(&database.url).env("DB_POOL_SIZE", "3")).await;
    let item = json!({ "sku": "READ-2", "name": "x", "stock_quantity": 0, "max_stock_level": 100 });
    let item = client.post(format!("{}/api/v1/inventory", other.url())).json(&item).send().await.expect("create");
    let theirs = item.json::<Value>().await.expect("json")["id"].clone();
    for told in 1..=20 {
        let url = format!("{}/api/v1/inventory/{theirs}/adjust", other.url());
        assert!(client.post(url).json(&json!({ "delta": 1 })).send().await.expect("adjust").status().is_success());
        assert_eq!(stock(&server, &theirs).await, told);
        let list = format!("{}/api/v1/inventory?q=READ-2", server.url());
        let list: Value = reqwest::get(list).await.expect("list").json().await.expect("json");
        assert_eq!(list["items"][0]["stock_quantity"], told);
    }
    drop(other);
    let (from_replica, from_primary) = (figure(&server, REPLICA).await, figure(&server, PRIMARY).await);
    assert_eq!(stock(&server, &id).await, 480);
    assert_eq!(figure(&server, REPLICA).await, from_replica);
    assert!(figure(&server, PRIMARY).await > from_primary);

    // It goes on, and is asked again; still nobody reads what is older than what he wrote.
    to_replica.execute("SELECT pg_wal_replay_resume()").await.expect("resumed");
    for left in (400..480).rev() {
        adjust().await;
        assert_eq!(stock(&server, &id).await, left);
    }
    eventually("the replica is asked again", async || {
        assert_eq!(stock(&server, &id).await, 400);
        (figure(&server, REPLICA).await > from_replica).then_some(())
    })
    .await;

    // It dies: no read fails, and a server starts without it.
    drop(to_replica);
    replica.kill();
    for left in (380..400).rev() {
        adjust().await;
        assert_eq!(stock(&server, &id).await, left);
    }
    let other = Fanfare::start(settings).await;
    assert_eq!(stock(&other, &id).await, 380);
}

#[tokio::test]
async fn the_plan_of_a_slow_read_is_logged_and_its_password_is_not() {
    for database in [None, Some(Postgres::database().await.url)] {
        let mut settings =
            Settings::new().env("FANFARE__DATABASE__SLOW_MS", "0").env("FANFARE__DATABASE__EXPLAIN_SLOW", "true");
        if let Some(url) = &database {
            settings = settings.database(url).env("DB_POOL_SIZE", "3");
        }
        let server = Fanfare::start(settings).await;
        let plan = async || server.log().lines().any(|line| line.contains("plan of a slow statement")).then_some(());
        eventually("a plan", plan).await;
        assert!(figure(&server, "fanfare_db_slow_statements_total").await > 0);
    }
    let settings = Settings::new()
        .env("READ_DATABASE_URL_2", "postgres://me:hunter2@two/x")
        .env("READ_DATABASE_URL_1", "postgres://me:hunter1@one/x");
    let (status, said) = Fanfare::run(&settings, &["check-config"]).await;
    assert!(status.success() && said.contains("read_urls = \"***\"") && !said.contains("hunter"), "{said}");
}

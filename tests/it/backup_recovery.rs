//! Backups that are taken while the server works, and what comes back after all is lost.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sqlx::{Connection, Executor};
use tempfile::TempDir;

use crate::support::{Fanfare, Postgres, Redis, Settings, eventually, next_json, temp_dir, ws};

/// All items, in order, without what a read itself changes.
async fn items(server: &Fanfare) -> Vec<Value> {
    let url = format!("{}/api/v1/inventory?limit=1000&sort_by=sku", server.url());
    let page: Value = reqwest::get(url).await.expect("list").json().await.expect("json");
    let mut items = page["items"].as_array().unwrap_or_else(|| panic!("{page}")).clone();
    items.sort_by_key(|item| item["sku"].to_string());
    items
}

async fn add(server: &Fanfare, sku: &str) -> i64 {
    let body = json!({ "sku": sku, "name": "an item", "stock_quantity": 50 });
    let sent = reqwest::Client::new().post(format!("{}/api/v1/inventory", server.url())).json(&body).send().await;
    let sent = sent.expect("create");
    assert_eq!(sent.status(), 201);
    sent.json::<Value>().await.expect("json")["id"].as_i64().expect("an id")
}

async fn adjust(url: &str, id: i64, delta: i64) {
    let url = format!("{url}/api/v1/inventory/{id}/adjust");
    let sent = reqwest::Client::new().post(url).json(&json!({ "delta": delta })).send().await.expect("adjust");
    assert!(sent.status().is_success(), "{}", sent.status());
}

fn script(name: &str, backups: &Path) -> Command {
    let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/backup").join(name));
    script.current_dir("/").env("BACKUP_DIR", backups).env("DATA_DIR", "/nonexistent");
    script.env("FANFARE", env!("CARGO_BIN_EXE_fanfare"));
    script
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> =
        std::fs::read_dir(folder).expect("read").map(|entry| entry.expect("entry").path()).collect();
    found.retain(|path| path.is_dir());
    found.sort();
    found
}

async fn backup(args: &[&str]) -> (bool, String) {
    let (status, said) = Fanfare::run(&Settings::new().env("LOG_LEVEL", "error"), &[&["backup"], args].concat()).await;
    (status.success(), said.trim().to_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[tokio::test]
async fn an_embedded_server_comes_back_as_it_was_when_it_was_backed_up() {
    let backups = temp_dir("backups");
    let mut server = Fanfare::start(Settings::new()).await;
    let (data, to) = (server.data_dir().to_owned(), text(backups.path()).to_owned());
    let kept = add(&server, "KEPT-1").await;
    add(&server, "KEPT-2").await;
    // Under writes: the copy must be of one moment, whichever that is.
    let (url, stop) = (server.url(), tokio_util::sync::CancellationToken::new());
    let writing = tokio::spawn({
        let stop = stop.clone();
        async move {
            let mut times = 0;
            while !stop.is_cancelled() {
                adjust(&url, kept, if times % 2 == 0 { -1 } else { 1 }).await;
                times += 1;
            }
            if times % 2 == 1 {
                adjust(&url, kept, 1).await;
            }
            times
        }
    });
    let (done, made) = backup(&["create", "--data-dir", text(&data), "--to", &to]).await;
    assert!(done, "{made}");
    stop.cancel();
    assert!(writing.await.expect("joined") > 0);
    assert!(backup(&["verify", &made]).await.0);
    let (done, made) = backup(&["create", "--data-dir", text(&data), "--to", &to]).await;
    assert!(done, "{made}");
    let then = items(&server).await;
    let history = |server: &Fanfare| format!("{}/api/v1/series/stock_level?sku=KEPT-1", server.url());
    let points_then = reqwest::get(history(&server)).await.expect("history").text().await.expect("text");

    add(&server, "LOST-1").await;
    adjust(&server.url(), kept, -7).await;
    let (done, said) = backup(&["restore", &made, "--data-dir", text(&data)]).await;
    assert!(!done && said.contains("stop it first"), "{said}");

    server.kill9();
    std::fs::remove_file(data.join("fanfare.db")).expect("destroyed");
    let (done, said) = backup(&["restore", &made, "--data-dir", text(&data)]).await;
    assert!(done && said.contains("before-restore"), "{said}");
    server.restart().await;
    assert_eq!(items(&server).await, then);
    let points = reqwest::get(history(&server)).await.expect("history").text().await.expect("text");
    assert_eq!(points.matches("KEPT-1").count(), points_then.matches("KEPT-1").count());
    add(&server, "NEW-1").await;
}

#[tokio::test]
async fn a_backup_that_was_touched_is_refused_and_the_oldest_are_forgotten() {
    let backups = temp_dir("backups");
    let mut server = Fanfare::start(Settings::new()).await;
    add(&server, "ITEM-1").await;
    server.terminate().await;
    let (data, to) = (server.data_dir().to_owned(), text(backups.path()).to_owned());
    std::fs::create_dir(backups.path().join("20200101T000000000Z.partial")).expect("what a crash left");
    std::fs::create_dir(backups.path().join("notes")).expect("what is not ours");
    let mut made = Vec::new();
    for _ in 0..3 {
        let (done, said) = backup(&["create", "--data-dir", text(&data), "--to", &to, "--keep", "2"]).await;
        assert!(done, "{said}");
        made.push(PathBuf::from(said));
    }
    let mut left = made[1..].to_vec();
    left.push(backups.path().join("notes"));
    assert_eq!(folders(backups.path()), left);

    let target = temp_dir("restored");
    let file = made[2].join("fanfare.db");
    let whole = std::fs::read(&file).expect("read");
    let mut touched = whole.clone();
    touched[whole.len() / 2] ^= 1;
    std::fs::write(&file, touched).expect("write");
    for command in [vec!["verify", text(&made[2])], vec!["restore", text(&made[2]), "--data-dir", text(target.path())]]
    {
        let (done, said) = backup(&command).await;
        assert!(!done && said.contains("is not what it was"), "{said}");
    }
    assert!(!target.path().join("fanfare.db").exists(), "nothing is restored from it");
    std::fs::write(&file, whole).expect("write");
    assert!(backup(&["verify", text(&made[2])]).await.0);
    // A manifest is no way out of the folder.
    let manifest = std::fs::read_to_string(made[2].join("manifest.json")).expect("read");
    std::fs::write(made[2].join("manifest.json"), manifest.replace("\"fanfare.db\"", "\"../fanfare.db\""))
        .expect("write");
    assert!(!backup(&["verify", text(&made[2])]).await.0);
    let (done, said) = backup(&["create", "--data-dir", "/nonexistent", "--to", &to]).await;
    assert!(!done && said.contains("no database"), "{said}");
}

/// A restored cluster: the data that `restore-postgres` made, in a folder as the harness wants it.
async fn restored(backups: &Path, moment: &str) -> Postgres {
    let folder: TempDir = Postgres::own_folder("pg");
    Postgres::run(script("restore-postgres", backups).arg(folder.path().join("data")).arg(moment));
    let cluster = Postgres::over(folder, Vec::new()).await;
    let url = cluster.url("postgres");
    eventually("the recovery ends", async || {
        let mut connection = sqlx::PgConnection::connect(&url).await.ok()?;
        let within: bool = sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(&mut connection).await.ok()?;
        (!within).then_some(())
    })
    .await;
    cluster
}

#[tokio::test]
async fn postgres_is_destroyed_and_comes_back_to_a_moment() {
    let backups = Postgres::own_folder("backups");
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/backup/archive-wal");
    let archive = format!("archive_command=BACKUP_DIR={} '{}' %p %f", backups.path().display(), archive.display());
    let cluster = Postgres::start_with(vec!["wal_level=replica".into(), "archive_mode=on".into(), archive]).await;
    let (database, redis) = (cluster.create_database().await, Redis::start().await);
    let mut server = Fanfare::start(Settings::new().redis(&redis).database(&database.url)).await;

    let kept = add(&server, "BEFORE-1").await;
    let daily = |kind: &str| {
        let mut run = script("run", backups.path());
        run.arg(kind).env("DATABASE_URL", &database.url).env("REDIS_URL", redis.url()).env("KEEP_DAILY", "2");
        run
    };
    for _ in 0..3 {
        Postgres::run(&mut daily("daily"));
    }
    assert_eq!(folders(&backups.path().join("daily/postgres")).len(), 2);
    assert_eq!(folders(&backups.path().join("daily/redis")).len(), 2);
    let at_the_dump = items(&server).await;
    Postgres::run(script("postgres-base", backups.path()).env("DATABASE_URL", cluster.url("postgres")));

    let second = add(&server, "BETWEEN-1").await;
    adjust(&server.url(), kept, -5).await;
    let mut stream = server.ws("/ws/inventory?positions=true").await;
    adjust(&server.url(), second, -1).await;
    let position = loop {
        let message = next_json(&mut stream).await;
        if message["item_id"] == second {
            break message["_position"].clone();
        }
    };
    let at_the_moment = items(&server).await;
    let mut connection = sqlx::PgConnection::connect(&database.url).await.expect("postgres");
    let moment: String =
        sqlx::query_scalar("SELECT clock_timestamp()::text").fetch_one(&mut connection).await.expect("now");

    adjust(&server.url(), kept, -40).await;
    add(&server, "AFTER-1").await;
    let deleted = reqwest::Client::new().delete(format!("{}/api/v1/inventory/{second}", server.url())).send().await;
    assert_eq!(deleted.expect("delete").status(), 204);
    let at_the_end = items(&server).await;
    let last: String =
        sqlx::query_scalar("SELECT pg_walfile_name(pg_switch_wal())").fetch_one(&mut connection).await.expect("switch");
    let archived = backups.path().join("wal").join(last);
    eventually("the log is archived", async || archived.exists().then_some(())).await;

    // The disaster: server, database and all its files.
    server.kill9();
    drop(connection);
    drop(cluster);

    let cluster = restored(backups.path(), &moment).await;
    let gone = Postgres::run(script("new-epochs", backups.path()).env("REDIS_URL", redis.url()));
    assert!(gone.contains("fanfare:{inventory:updates}:meta"), "{gone}");
    let url = cluster.url(&database.name);
    let server = Fanfare::start(Settings::new().redis(&redis).database(&url)).await;
    assert_eq!(items(&server).await, at_the_moment);
    assert_ne!(at_the_moment, at_the_end);
    // Who comes back with a position of the lost future is told so.
    let since = format!("{}:{}", position["epoch"].as_str().expect("epoch"), position["offset"]);
    let mut stream = ws(&server.ws_url(&format!("/ws/inventory?since={since}"))).await;
    while next_json(&mut stream).await["message_type"] != "gap" {}
    add(&server, "AGAIN-1").await;
    drop(server);

    // To the very end, from the same base.
    let latest = restored(backups.path(), "latest").await;
    let server = Fanfare::start(Settings::new().redis(&redis).database(&latest.url(&database.name))).await;
    assert_eq!(items(&server).await, at_the_end);
    drop(server);

    // The dump, which needs neither base nor archive.
    let fresh = cluster.create_database().await;
    let dump = folders(&backups.path().join("daily/postgres")).pop().expect("a dump").join("fanfare.dump");
    Postgres::run(
        Command::new("pg_restore").current_dir("/").args(["--no-owner", "--exit-on-error", "-d", &fresh.url]).arg(dump),
    );
    let server = Fanfare::start(Settings::new().redis(&redis).database(&fresh.url)).await;
    assert_eq!(items(&server).await, at_the_dump);
    let mut connection = sqlx::PgConnection::connect(&fresh.url).await.expect("postgres");
    connection.execute("SELECT 1").await.expect("it answers");
}

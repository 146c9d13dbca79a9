//! Nothing is lost and nothing counts twice, whoever is killed in between; and a full journal says so.

use serde_json::{Value, json};

use crate::progress_kit::{counted_once, number, open, post, run, stored};
use crate::support::{Fanfare, Postgres, Redis, Settings, eventually, next_json};

const EVENTS: i64 = 3_000;

/// All events in batches, each of them sent again until it is accepted, and some twice.
fn batches() -> Vec<Value> {
    let events: Vec<Value> = (0..EVENTS)
        .map(|i| {
            // Out of order: 2 4 3 0 1.
            let second = i - i % 5 + [2, 4, 3, 0, 1][(i % 5) as usize];
            let error = (i % 4 == 0).then_some("ValueError: odd");
            run(&format!("event-{i}"), &format!("student{}@x", i % 37), i % 11, second, error)
        })
        .collect();
    events.chunks(50).map(|chunk| json!(chunk)).collect()
}

async fn accepted(server: &Fanfare, batch: &Value) {
    eventually("the batch is accepted", async || {
        let answer = crate::support::http().post(format!("{}/api/v1/events", server.url())).json(batch).send().await;
        match answer.map(|answer| answer.status().as_u16()) {
            Ok(202) => Some(()),
            Ok(503) | Err(_) => None,
            Ok(other) => panic!("{other}"),
        }
    })
    .await;
}

/// Kills workers and the server while events come in; at the end every event counts once.
async fn survives(settings: Settings, url: &str, mut redis: Option<Redis>) {
    let settings = settings.database(url).env("FANFARE__PROGRESS__WORKER", "false");
    let settings = settings.env("FANFARE__PROGRESS__CLAIM_IDLE_MS", "300").env("FANFARE__PROGRESS__BATCH_ENTRIES", "3");
    let mut server = Fanfare::start(settings.clone()).await;
    let mut stream = server.ws("/ws/progress?student=student7@x").await;
    let db = open(url).await;
    let mut worker = Fanfare::worker(&settings);
    for (index, batch) in batches().iter().enumerate() {
        accepted(&server, batch).await;
        if index % 7 == 0 {
            accepted(&server, batch).await;
        }
        if index % 9 == 4 {
            // In the middle of its work, wherever that is.
            worker.kill();
            worker = Fanfare::worker(&settings);
        }
        if index == 20 {
            server.kill9();
            server.restart().await;
            stream = server.ws("/ws/progress?student=student7@x").await;
        }
        if let Some(redis) = redis.as_mut().filter(|_| index == 40) {
            redis.restart().await;
        }
    }
    stored(&db, EVENTS).await;
    let sql = "SELECT count(*) AS number FROM queue_items";
    eventually("an empty queue", async || (number(&db, sql).await == 0).then_some(())).await;
    counted_once(&db, EVENTS).await;
    let sql = "SELECT count(*) AS number FROM cell_executions WHERE status = 'error'";
    assert_eq!(number(&db, sql).await, EVENTS / 4);
    // What came after the server's last start is told; one more shows that the stream is alive to its end.
    let last = json!([run("the last", "student7@x", 1, EVENTS + 1, None)]);
    accepted(&server, &last).await;
    while next_json(&mut stream).await["eventId"] != "the last" {}
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing_and_count_nothing_twice_on_the_table() {
    let database = Postgres::database().await;
    survives(Settings::new(), &database.url, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing_and_count_nothing_twice_on_redis() {
    let (database, redis) = (Postgres::database().await, Redis::start_keeping().await);
    survives(Settings::new().redis(&redis), &database.url, Some(redis)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing_and_count_nothing_twice_embedded() {
    let mut server = Fanfare::start(Settings::new().env("FANFARE__PROGRESS__BATCH_ENTRIES", "3")).await;
    for (index, batch) in batches().iter().enumerate() {
        accepted(&server, batch).await;
        if index % 12 == 5 {
            server.kill9();
            server.restart().await;
        }
    }
    let db = open(&format!("sqlite://{}", server.data_dir().join("fanfare.db").display())).await;
    stored(&db, EVENTS).await;
    counted_once(&db, EVENTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_journal_refuses_with_503_and_takes_again_when_there_is_room() {
    let redis = Redis::start().await;
    for settings in [Settings::new(), Settings::new().redis(&redis)] {
        let settings = settings.env("FANFARE__PROGRESS__WORKER", "false").env("FANFARE__PROGRESS__MAX_ENTRIES", "2");
        let database = Postgres::database().await;
        let settings = settings.database(&database.url);
        let server = Fanfare::start(settings.clone()).await;
        let one = |id: i64| json!([run(&format!("e{id}"), "a@x", id, id, None)]);
        assert_eq!(post(&server, &one(1)).await.0, 202);
        assert_eq!(post(&server, &one(2)).await.0, 202);
        let (status, problem) = post(&server, &one(3)).await;
        assert_eq!((status, &problem["type"]), (503, &json!("/problems/unavailable")));
        let metrics = crate::support::http().get(format!("{}/metrics", server.url())).send().await.unwrap();
        assert!(metrics.text().await.unwrap().contains("fanfare_journal_entries_refused_total 1"));
        let worker = Fanfare::worker(&settings);
        accepted(&server, &one(3)).await;
        let db = open(&database.url).await;
        stored(&db, 3).await;
        counted_once(&db, 3).await;
        drop(worker);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_while_the_database_is_away_and_outlive_a_redis_that_forgot() {
    let mut redis = Redis::start().await;
    let server = Fanfare::start(Settings::new().redis(&redis)).await;
    assert_eq!(post(&server, &json!([run("first", "a@x", 1, 1, None)])).await.0, 202);
    let db = open(&format!("sqlite://{}", server.data_dir().join("fanfare.db").display())).await;
    stored(&db, 1).await;
    // Somebody holds the database for writing: accepting goes on, as the journal is elsewhere.
    let held = db.begin().await.unwrap();
    assert_eq!(post(&server, &json!([run("second", "a@x", 1, 2, None)])).await.0, 202);
    held.rollback().await.unwrap();
    stored(&db, 2).await;
    counted_once(&db, 2).await;
    eventually("an empty stream", async || {
        (redis.command(&["XLEN", "fanfare:{progress}:journal"]).await == ":0").then_some(())
    })
    .await;
    // Empty again: the stream and its group are made anew.
    redis.restart().await;
    accepted(&server, &json!([run("third", "a@x", 1, 3, None)])).await;
    stored(&db, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_the_file_is_taken_over_by_another_journal() {
    // While somebody holds the database for writing, accepted events stay in the file.
    let folder = crate::support::temp_dir("journal");
    let url = format!("sqlite://{}", folder.path().join("rows.db").display());
    let settings = Settings::new().database(&url);
    let mut server = Fanfare::start(settings.clone()).await;
    let db = open(&url).await;
    let held = db.begin().await.unwrap();
    for n in 0..3 {
        assert_eq!(post(&server, &json!([run(&format!("e{n}"), "a@x", n, n, None)])).await.0, 202);
    }
    server.kill9();
    held.rollback().await.unwrap();
    server.restart_as(settings.env("FANFARE__PROGRESS__JOURNAL", "table")).await;
    stored(&db, 3).await;
    counted_once(&db, 3).await;
}

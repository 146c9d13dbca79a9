//! Everything is killed in the middle of events: worker, server, Redis, PostgreSQL, the series store. At the end each
//! event counts once in the tables, each has its point in the store, and the dead letters hold only the poison.
//!
//! `FANFARE_KILL_EVENTS=100000` sends so many instead of some thousands.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::progress_kit::{counted_once, get, number, open, run};
use crate::progress_letters::poison;
use crate::support::{Fanfare, PATIENCE, Postgres, Redis, Settings, Victoria, http};

/// When the first of them happened, in milliseconds; see `progress_kit::run`.
const BEGIN_MS: i64 = 1_795_000_000_000;
const BATCH: usize = 50;

fn events() -> i64 {
    std::env::var("FANFARE_KILL_EVENTS").map_or(3_000, |value| value.parse().expect("a number"))
}

/// Each event at a second of its own, some out of order; one of them is poison.
fn batches(events: i64) -> Vec<Value> {
    let mut all: Vec<Value> = (0..events)
        .map(|i| {
            let second = i - i % 5 + [2, 4, 3, 0, 1][(i % 5) as usize];
            run(
                &format!("event-{i}"),
                &format!("student{}@x", i % 37),
                i % 11,
                second,
                (i % 4 == 0).then_some("E: odd"),
            )
        })
        .collect();
    all.insert(all.len() / 3, run("poison", "student1@x", 1, events + 10, None));
    all.chunks(BATCH).map(|chunk| json!(chunk)).collect()
}

/// As the extension does: again with the same ids until the server has it.
async fn accepted(client: &reqwest::Client, server: &Fanfare, batch: &Value) {
    let deadline = Instant::now() + 3 * PATIENCE;
    loop {
        let answer = client.post(format!("{}/api/v1/events", server.url())).json(batch).send().await;
        match answer.map(|answer| answer.status().as_u16()) {
            Ok(202) => return,
            Ok(503) | Err(_) => assert!(Instant::now() < deadline, "a batch is not accepted\n{}", server.log()),
            Ok(other) => panic!("{other}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn settings(store: &Victoria) -> Settings {
    Settings::new()
        .env("INFLUXDB_URL", store.url())
        .env("FANFARE__SERIES__BATCH_AGE_MS", "20")
        .env("FANFARE__SERIES__TIMEOUT_MS", "1000")
        .env("FANFARE__SERIES__BACKOFF_INITIAL_MS", "50")
        .env("FANFARE__SERIES__BACKOFF_MAX_MS", "200")
        .env("FANFARE__SERIES__OWN_FIGURES_S", "0")
        .env("FANFARE__QUEUE__MAX_ATTEMPTS", "3")
        .env("FANFARE__QUEUE__BACKOFF_INITIAL_MS", "10")
        .env("FANFARE__QUEUE__BACKOFF_MAX_MS", "50")
        .env("FANFARE__QUEUE__POLL_MS", "50")
        .env("FANFARE__PROGRESS__CLAIM_IDLE_MS", "300")
        .env("FANFARE__PROGRESS__BATCH_ENTRIES", "3")
}

/// Waits, as long as so many events may take, until `done`.
async fn in_time(what: &str, events: i64, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + 2 * PATIENCE + Duration::from_millis(10 * events as u64);
    while !done().await {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What must be true when the last event has been accepted.
async fn balanced(server: &Fanfare, store: &Victoria, url: &str, events: i64) {
    let db = open(url).await;
    let stored = "SELECT count(*) AS number FROM progress_events";
    in_time("all events in the tables", events, async || number(&db, stored).await >= events).await;
    let waiting = "SELECT count(*) AS number FROM queue_items WHERE state <> 'dead'";
    in_time("an empty queue", events, async || number(&db, waiting).await == 0).await;
    counted_once(&db, events).await;
    let letters = get(server, "/api/v1/dead-letters").await;
    let dead: Vec<&Value> =
        letters["items"].as_array().unwrap().iter().map(|it| &it["payload"][0]["eventId"]).collect();
    assert_eq!(dead, [&json!("poison")]);
    let expected: BTreeSet<i64> = (0..events).map(|i| BEGIN_MS + i * 1_000).collect();
    let mut found = BTreeSet::new();
    in_time("all points in the store", events, async || {
        let series = store.series("student_progress_runs").await;
        found = series.iter().flat_map(|(_, points)| points.iter().map(|(at_ms, _)| *at_ms)).collect();
        expected.is_subset(&found)
    })
    .await;
    // The poison's transaction never came to its end, but its point may have been handed over before that was known.
    found.remove(&(BEGIN_MS + (events + 10) * 1_000));
    assert_eq!((found.len(), store.invalid_lines().await), (expected.len(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_killed_embedded() {
    let (mut store, events) = (Victoria::start().await, events());
    let mut server = Fanfare::start(settings(&store)).await;
    let url = format!("sqlite://{}", server.data_dir().join("fanfare.db").display());
    poison(&open(&url).await).await;
    let (client, batches) = (http(), batches(events));
    let every = (batches.len() / 8).max(1);
    for (index, batch) in batches.iter().enumerate() {
        accepted(&client, &server, batch).await;
        if index % every != every / 2 {
            continue;
        }
        match index / every % 4 {
            1 => store.end(),
            3 => store.restart().await,
            // Once with the store, once without it.
            _ => {
                server.kill9();
                server.restart().await;
            }
        }
    }
    store.restart().await;
    balanced(&server, &store, &url, events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_killed_on_redis_and_postgresql() {
    let (mut store, events) = (Victoria::start().await, events());
    let (mut redis, postgres) = (Redis::start_keeping().await, Postgres::start().await);
    let url = postgres.create_database().await.url;
    let settings = settings(&store).redis(&redis).database(&url).env("FANFARE__PROGRESS__WORKER", "false");
    let mut server = Fanfare::start(settings.clone()).await;
    let mut worker = Fanfare::worker(&settings);
    poison(&open(&url).await).await;
    let (client, batches) = (http(), batches(events));
    let every = (batches.len() / 10).max(1);
    for (index, batch) in batches.iter().enumerate() {
        accepted(&client, &server, batch).await;
        if index % 7 == 0 {
            // A retry of what was accepted: the extension did not hear the answer.
            accepted(&client, &server, batch).await;
        }
        if index % every != every / 2 {
            continue;
        }
        match index / every % 5 {
            0 => worker.again(&settings),
            1 => {
                redis.kill();
                redis.restart().await;
            }
            2 => postgres.restart().await,
            3 => {
                store.end();
                worker.again(&settings);
            }
            _ => {
                server.kill9();
                store.restart().await;
                server.restart().await;
            }
        }
    }
    balanced(&server, &store, &url, events).await;
    let waiting = redis.command(&["XLEN", "fanfare:{progress}:journal"]).await;
    assert_eq!(waiting, ":0", "nothing waits in the journal");
}

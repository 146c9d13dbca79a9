//! A real store, and processes that end in the middle: every point gets there.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::DateTime;
use fanfare::clock::Clock;
use fanfare::series::{Influx, InfluxOptions, Point, Series, SeriesMetrics, SeriesOptions};
use fanfare::tasks::Tasks;
use serde_json::{Value, json};

use crate::support::{Fanfare, Settings, Victoria, eventually, http};

fn settings(store: &Victoria) -> Settings {
    Settings::new()
        .env("INFLUXDB_URL", store.url())
        .env("FANFARE__SERIES__BATCH_AGE_MS", "20")
        .env("FANFARE__SERIES__TIMEOUT_MS", "1000")
        .env("FANFARE__SERIES__BACKOFF_INITIAL_MS", "50")
        .env("FANFARE__SERIES__BACKOFF_MAX_MS", "200")
        .env("FANFARE__SERIES__OWN_FIGURES_S", "0")
}

async fn create(server: &Fanfare, sku: &str, stock: i64) {
    let item = json!({"sku": sku, "name": "x", "stock_quantity": stock});
    let answer = http().post(format!("{}/api/v1/inventory", server.url())).json(&item).send().await.unwrap();
    assert_eq!(answer.status(), 201);
}

/// Takes one piece; the stock after it, or `None` when there was no answer.
async fn take_one(client: &reqwest::Client, server: &Fanfare) -> Option<i64> {
    let url = format!("{}/api/v1/inventory/1/adjust", server.url());
    let answer = client.post(url).json(&json!({"delta": -1})).send().await.ok()?;
    let item: Value = answer.error_for_status().ok()?.json().await.ok()?;
    item["stock_quantity"].as_i64()
}

async fn figure(server: &Fanfare, name: &str) -> f64 {
    let text = http().get(format!("{}/metrics", server.url())).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
    line.unwrap_or_else(|| panic!("{name} in {text}")).parse().unwrap()
}

/// The stock levels that the store has.
async fn levels(store: &Victoria) -> Vec<i64> {
    let series = store.series("stock_level_stock").await;
    let mut levels: Vec<i64> =
        series.iter().flat_map(|(_, values)| values.iter().map(|(_, value)| *value as i64)).collect();
    levels.sort_unstable();
    levels
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_store_reads_every_line_as_it_was_meant() {
    let store = Victoria::start().await;
    let at =
        InfluxOptions { url: store.url().parse().unwrap(), token: "t".into(), org: "o".into(), bucket: "b".into() };
    let influx = Influx::new(at, SeriesOptions::default(), Clock::system()).unwrap();
    assert_eq!(influx.ping().await, Ok(()));
    let tags = [
        "plain",
        "with space",
        "a,b=c",
        "日本語",
        "back\\slash",
        "two\nlines x=1\ninjected v=2",
        "tail\\",
        "\"quoted\"",
        "#x",
    ];
    let now_ms = Clock::system().now_ms();
    let points: Vec<Point> = tags
        .iter()
        .enumerate()
        .map(|(n, tag)| {
            let at = DateTime::from_timestamp_millis(now_ms + n as i64).unwrap();
            let point = Point::new("oracle", at).tag("k", tag).field("v", n as f64 + 0.5).field("i", n as i64);
            point.field("text", "say \"x\" \\ end").field("b", true)
        })
        .collect();
    assert_eq!(influx.write(&points).await, Ok(points.len() as u64));
    let found: BTreeMap<_, _> = store.series("oracle_v").await.into_iter().collect();
    let expected =
        points.iter().enumerate().map(|(n, point)| (point.tags().clone(), vec![(now_ms + n as i64, n as f64 + 0.5)]));
    assert_eq!(found, expected.collect());
    assert_eq!((store.invalid_lines().await, store.count("injected_v").await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_not_there_gets_everything_later_and_kill_9_takes_nothing() {
    let mut store = Victoria::absent();
    let mut server = Fanfare::start(settings(&store)).await;
    create(&server, "A-1", 1_000).await;
    let client = http();
    for _ in 0..3 {
        for _ in 0..40 {
            take_one(&client, &server).await.expect("writes do not need the store");
        }
        let accepted = figure(&server, "fanfare_series_points_accepted_total").await;
        eventually("all are in the spool", async || {
            // What an earlier process left counts, too.
            (figure(&server, "fanfare_series_points_pending").await >= accepted).then_some(())
        })
        .await;
        server.kill9();
        server.restart().await;
    }
    let health: Value =
        http().get(format!("{}/health/detailed", server.url())).send().await.unwrap().json().await.unwrap();
    assert_eq!((&health["status"], &health["services"]["influxdb"]["status"]), (&json!("degraded"), &json!("down")));
    assert_eq!(figure(&server, "fanfare_series_points_pending").await, 121.0);
    store.restart().await;
    eventually("the spool is empty", async || {
        (figure(&server, "fanfare_series_points_pending").await == 0.0).then_some(())
    })
    .await;
    assert_eq!(levels(&store).await, (880..=1_000).collect::<Vec<_>>());
    assert_eq!(figure(&server, "fanfare_series_points_stored_total").await, 121.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_store_an_ended_one_and_a_killed_server_lose_nothing() {
    let mut store = Victoria::start().await;
    let mut server = Fanfare::start(settings(&store)).await;
    create(&server, "A-1", 10_000).await;
    let client = http();
    let mut seen = vec![10_000];
    for round in 0..6 {
        match round {
            1 => store.stop_signal(),
            2 => store.continue_signal(),
            3 => store.end(),
            4 => store.restart().await,
            _ => {}
        }
        for _ in 0..60 {
            seen.push(take_one(&client, &server).await.expect("writes do not need the store"));
        }
        // In the middle of things; the point of the last answer may still have been on its way to the spool.
        if round % 2 == 1 {
            server.kill9();
            server.restart().await;
            seen.pop();
        }
    }
    eventually("the spool is empty", async || {
        (figure(&server, "fanfare_series_points_pending").await == 0.0).then_some(())
    })
    .await;
    assert!(server.terminate().await.success());
    let found = levels(&store).await;
    let missing: Vec<_> = seen.iter().filter(|level| found.binary_search(level).is_err()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(store.invalid_lines().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_asked_to_end_sends_what_it_has() {
    let store = Victoria::start().await;
    // Far longer than this test waits: only the end sends them.
    let mut server = Fanfare::start(settings(&store).env("FANFARE__SERIES__BATCH_AGE_MS", "3600000")).await;
    create(&server, "A-1", 100).await;
    let client = http();
    for _ in 0..30 {
        take_one(&client, &server).await.unwrap();
    }
    assert!(server.terminate().await.success());
    assert_eq!(levels(&store).await, (70..=100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_points_pass_a_store_that_freezes_and_ends() {
    let (mut store, folder) = (Victoria::start().await, crate::support::temp_dir("series"));
    let at =
        InfluxOptions { url: store.url().parse().unwrap(), token: "t".into(), org: "o".into(), bucket: "b".into() };
    let options = SeriesOptions { timeout_ms: 1_000, backoff_max_ms: 1_000, ..SeriesOptions::default() };
    let influx = Arc::new(Influx::new(at, options.clone(), Clock::system()).unwrap());
    let (tasks, metrics) = (Tasks::new(), SeriesMetrics::default());
    let started = fanfare::series::start(folder.path(), influx, &options, &Clock::system(), &metrics, &tasks);
    let (writer, _) = started.unwrap();
    let begin_ms = Clock::system().now_ms() - 100_000;
    for round in 0..100 {
        match round {
            20 => store.stop_signal(),
            40 => store.continue_signal(),
            60 => store.end(),
            80 => store.restart().await,
            _ => {}
        }
        let point = |n: i64| {
            let at = DateTime::from_timestamp_millis(begin_ms + round * 100 + n / 10).unwrap();
            Point::new("many", at).tag("k", (n % 10).to_string()).field("v", round * 1_000 + n)
        };
        writer.record((0..1_000).map(point).collect()).await.unwrap();
    }
    eventually("all are stored", async || (metrics.waiting.get() == 0).then_some(())).await;
    assert_eq!((metrics.stored.get(), metrics.dead_letters.get()), (100_000, 0));
    let series = store.series("many_v").await;
    let mut values: Vec<i64> =
        series.iter().flat_map(|(_, values)| values.iter().map(|(_, value)| *value as i64)).collect();
    values.sort_unstable();
    assert!(values == (0..100_000).collect::<Vec<_>>(), "{} values", values.len());
    assert!(tasks.drain(crate::support::PATIENCE).await.is_empty());
}

//! Time travel: the past comes in the same messages, spaced as it was, and meets the live stream with no gap and nothing
//! twice. `FANFARE_REPLAY_SECONDS=600` plays a record of ten minutes instead of a short one, and
//! `FANFARE_SEAM_TRIALS=1000` meets the stream a thousand times.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fanfare::args;
use fanfare::clock::Clock;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::progress_kit::{number, open, post, run};
use crate::support::{Fanfare, Postgres, Redis, Settings, http, next_json, next_text, temp_dir};

/// What a command may make larger.
fn of_environment(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |value| value.parse().expect("a number"))
}

fn query(path: &str, from_ms: i64, speed: &str) -> String {
    let from = chrono::DateTime::from_timestamp_millis(from_ms).unwrap();
    let from = from.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    format!("{path}?from={from}&speed={speed}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_the_same_at_every_speed_and_keeps_its_times_embedded() {
    let folder = temp_dir("replay");
    same_at_every_speed(format!("sqlite://{}", folder.path().join("fanfare.db").display())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_the_same_at_every_speed_and_keeps_its_times_on_postgresql() {
    let database = Postgres::database().await;
    same_at_every_speed(database.url.clone()).await;
}

async fn same_at_every_speed(url: String) {
    let span_ms = 1_000 * of_environment("FANFARE_REPLAY_SECONDS", 4) as i64;
    const MESSAGES: i64 = 1_200;
    // The quick ones are not read while the slow one plays, and so answer no ping.
    let settings = Settings::new().database(&url).env("FANFARE__STREAM__PING_INTERVAL_S", "3600");
    let server = Fanfare::start(settings).await;
    let db = open(&url).await;
    // It ended a minute ago; some of it comes in bursts, some of it on another channel.
    let begin_ms = Clock::system().now_ms() - 60_000 - span_ms;
    let mut tx = db.begin().await.unwrap();
    for n in 0..MESSAGES {
        let at_ms = begin_ms + (n - n % 7) * span_ms / MESSAGES;
        let channel = if n % 5 == 0 { "stock:alerts" } else { "inventory:updates" };
        let data = json!({"message_type": "x", "n": n, "sku": format!("S-{}", n % 3)}).to_string();
        let sql = "INSERT INTO stream_record (channel, epoch, position, at_ms, data, tags)
                   VALUES ($1, 'old', $2, $3, $4, '[]')";
        tx.execute(sql, args![channel, n + 1, at_ms, data]).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut playing = Vec::new();
    for speed in ["1", "10", "100"] {
        let began = Instant::now();
        let mut stream = server.ws(&query("/ws/inventory", begin_ms, speed)).await;
        playing.push(tokio::spawn(async move {
            let mut hash = Sha256::new();
            for n in 0..MESSAGES {
                let text = next_text(&mut stream).await;
                assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["n"], n);
                hash.update(text);
            }
            (stream, hash.finalize(), began.elapsed())
        }));
    }
    let mut hashes = Vec::new();
    for (speed, playing) in [1.0, 10.0, 100.0].into_iter().zip(playing) {
        let (mut stream, hash, took) = playing.await.unwrap();
        let whole = Duration::from_millis(span_ms as u64).div_f64(speed);
        assert!(took >= whole.mul_f64(0.98) && took < whole + Duration::from_secs(10), "{took:?} at {speed}");
        hashes.push(hash);
        let item = json!({"sku": format!("LIVE-{speed}"), "name": "x", "stock_quantity": 100});
        let answer = http().post(format!("{}/api/v1/inventory", server.url())).json(&item).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        while next_json(&mut stream).await["sku"] != format!("LIVE-{speed}") {}
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    // Filters hold in the past, too.
    let mut stream = server.ws(&format!("{}&sku=S-1", query("/ws/inventory", begin_ms, "1000"))).await;
    for n in 0..MESSAGES / 3 {
        assert_eq!(next_json(&mut stream).await["n"], n * 3 + 1);
    }
}

/// Clients that begin in the past while somebody publishes all the time: each sees one unbroken row of numbers.
async fn seams(settings: Settings, trials: u64) {
    let server = Arc::new(Fanfare::start(settings).await);
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for writer in 0..3 {
        let (server, stop) = (server.clone(), stop.clone());
        writers.push(tokio::spawn(async move {
            let mut n = 0;
            while !stop.load(Ordering::SeqCst) {
                let events: Vec<Value> =
                    (0..1 + n % 9).map(|e| run(&format!("{writer}-{n}-{e}"), "a@x", e, n * 10 + e, None)).collect();
                assert_eq!(post(&server, &json!(events)).await.0, 202);
                n += 1;
            }
        }));
    }
    let mut first = server.ws("/ws/progress?positions=true").await;
    while next_json(&mut first).await["message_type"] == "subscribed" {}
    for some in 0..trials.div_ceil(10) {
        let mut clients = Vec::new();
        for one in 0..10.min(trials - some * 10) {
            let server = server.clone();
            clients.push(tokio::spawn(async move {
                let speed = ["3", "10", "50", "1000"][(one % 4) as usize];
                let path = format!("/ws/progress?from=-{}s&speed={speed}&positions=true", one % 3);
                let mut stream = server.ws(&path).await;
                let (mut last, mut past, mut live) = (None, 0, None);
                loop {
                    let message = next_json(&mut stream).await;
                    match message["message_type"].as_str().unwrap() {
                        "replay" => continue,
                        "subscribed" => {
                            assert_eq!(message["channels"]["progress:events"]["gap"], false, "{message}");
                            live = Some(0);
                            continue;
                        }
                        "gap" => panic!("{message}"),
                        _ => {}
                    }
                    let position = &message["_position"];
                    let offset = position["offset"].as_u64().unwrap_or_else(|| panic!("{message}"));
                    assert!(last.is_none_or(|last| last + 1 == offset), "{last:?} then {offset} at {live:?}");
                    last = Some(offset);
                    match &mut live {
                        None => past += 1,
                        Some(30) => return past,
                        Some(live) => *live += 1,
                    }
                }
            }));
        }
        let mut past = 0;
        for client in clients {
            past += client.await.unwrap();
        }
        assert!(past > 0, "none of them saw the past");
    }
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seam_into_live_is_exact_under_load_embedded() {
    seams(Settings::new(), of_environment("FANFARE_SEAM_TRIALS", 30)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seam_into_live_is_exact_under_load_on_redis_and_postgresql() {
    let (redis, database) = (Redis::start().await, Postgres::database().await);
    seams(Settings::new().redis(&redis).database(&database.url), of_environment("FANFARE_SEAM_TRIALS", 20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_is_bounded_and_may_be_off_and_a_replay_ends_with_the_server() {
    let folder = temp_dir("replay");
    let url = format!("sqlite://{}", folder.path().join("fanfare.db").display());
    let mut server = Fanfare::start(Settings::new().database(&url).env("FANFARE__RECORD__MESSAGES", "20")).await;
    let events: Vec<Value> = (0..50).map(|n| run(&format!("e{n}"), "a@x", n, n, None)).collect();
    assert_eq!(post(&server, &json!(events)).await.0, 202);
    let db = open(&url).await;
    let rows = "SELECT count(*) AS number FROM stream_record";
    crate::support::eventually("a record", async || (number(&db, rows).await >= 50).then_some(())).await;
    // At a snail's pace: what came ten minutes in would be due in an hour and a half.
    db.execute("UPDATE stream_record SET at_ms = at_ms + 600000 WHERE position > 1", vec![]).await.unwrap();
    let mut stream = server.ws("/ws/progress?from=-1h&speed=1000").await;
    next_json(&mut stream).await;
    server.restart().await;
    // Trimmed at the start: more than twenty are not kept.
    crate::support::eventually("a bounded record", async || (number(&db, rows).await <= 20).then_some(())).await;
    let mut stream = server.ws("/ws/progress?from=-1h&speed=0.1").await;
    crate::support::eventually("it is in the past", async || {
        let text = http().get(format!("{}/metrics", server.url())).send().await.unwrap().text().await.unwrap();
        text.contains("fanfare_replays 1").then_some(())
    })
    .await;
    assert!(server.terminate().await.success());
    match crate::support::next_message(&mut stream).await {
        Some(tokio_tungstenite::tungstenite::Message::Close(Some(close))) => assert_eq!(u16::from(close.code), 1012),
        other => panic!("{other:?}"),
    }
    let off = Fanfare::start(Settings::new().env("FANFARE__RECORD__AGE_S", "0")).await;
    for (server, query) in [(&off, "from=-1m"), (&off, "speed=2"), (&off, "from=-1m&since=a:1")] {
        let url = format!("{}/ws/progress?{query}", server.url());
        let answer = http().get(url).header("upgrade", "websocket").header("connection", "upgrade");
        let answer =
            answer.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(answer.send().await.unwrap().status(), 400, "{query}");
    }
}

//! Server-sent events: the same streams, positions, budgets and ends as over WebSockets.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fanfare::clock::Clock;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::sse_kit::{Sse, get};
use crate::stream_recovery::{UPDATES, ledger};
use crate::stream_ws::{metrics, publish, total, wait_for_metric};
use crate::support::{Fanfare, PATIENCE, Redis, Settings, eventually, http, program};

fn numbered(n: u64) -> String {
    json!({ "message_type": "inventory_update", "sku": "A", "n": n }).to_string()
}

async fn numbers(client: &mut Sse, range: std::ops::RangeInclusive<u64>) {
    for n in range {
        assert_eq!(client.json().await["n"], n);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_feed_has_its_events() {
    let server = Fanfare::start(Settings::new().env("ALLOWED_ORIGINS", "https://shop.example")).await;
    for (path, channels) in [
        ("/sse", &["system:notifications"][..]),
        ("/sse/inventory", &["inventory:updates", "stock:alerts"]),
        ("/sse/price", &["price:updates", "price:alerts"]),
        ("/sse/progress", &["progress:events"]),
        ("/sse/match", &["match:notifications", "batch:progress"]),
    ] {
        let mut client =
            Sse::with(&server, path, &[("origin", "https://shop.example"), ("accept", "text/event-stream")]).await;
        let headers = client.response.headers().clone();
        for (name, value) in [
            ("content-type", "text/event-stream"),
            ("cache-control", "no-store, no-transform"),
            ("x-accel-buffering", "no"),
            ("access-control-allow-origin", "https://shop.example"),
        ] {
            assert_eq!(headers[name], value, "{path}");
        }
        assert!(headers.contains_key("x-client-id") && !headers.contains_key("content-encoding"));
        for channel in channels {
            // To the byte but for the ends of lines, which part an event's lines.
            publish(&server, channel, "{ \"a\":\t1,\r\n\"b\": \"caf\\u00e9 日本\"\n}").await;
            assert_eq!(client.event().await.data, "{ \"a\":\t1,\n\"b\": \"caf\\u00e9 日本\"\n}");
        }
        assert_eq!(client.retry_ms, Some(2000));
    }
    let figures = metrics(&server).await;
    assert_eq!(figures[r#"publication_encodings_total{dialect="sse"}"#], 8.0, "once each");
    ledger(&server).await;
    for (path, headers, status) in [
        ("/sse?format=msgpack", &[][..], 400),
        ("/sse?auth=message", &[], 400),
        ("/sse/inventory?skuu=A", &[], 400),
        ("/sse?snapshot=true", &[], 400),
        ("/sse", &[("accept", "application/json")], 406),
        ("/sse", &[("origin", "https://evil.example")], 403),
    ] {
        assert_eq!(get(&server, path, headers).await.status(), status, "{path} {headers:?}");
    }
    let probe = || async { (total(&metrics(&server).await, "websocket_connections") == 0.0).then_some(()) };
    eventually("places of clients that have gone are free", probe).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn last_event_id_resumes_exactly() {
    let redis = Redis::start().await;
    for settings in [Settings::new(), Settings::new().redis(&redis)] {
        let server = Fanfare::start(settings).await;
        for query in ["", "?positions=true"] {
            let path = format!("/sse/inventory{query}");
            let mut client = Sse::open(&server, &path).await;
            if !query.is_empty() {
                assert_eq!(client.json().await["message_type"], "subscribed");
            }
            // Both channels of the feed, several at once: wherever it is cut, the id says what has come.
            for n in 1..=20 {
                publish(&server, if n % 3 == 0 { "stock:alerts" } else { UPDATES }, &numbered(n)).await;
            }
            let mut ids = Vec::new();
            for n in 1..=20u64 {
                let event = client.event().await;
                assert_eq!(serde_json::from_str::<Value>(&event.data).unwrap()["n"], n);
                ids.push(event.id);
            }
            drop(client);
            for (seen, id) in (1..=20).zip(&ids) {
                let mut again = Sse::resume(&server, &path, id).await;
                if !query.is_empty() {
                    let hello = again.json().await;
                    assert_eq!(hello["channels"][UPDATES]["gap"], false, "{hello}");
                }
                // Channel by channel, as over a WebSocket; one more has come in each round before this.
                let (alerts, mut missed): (Vec<u64>, Vec<u64>) = (seen + 1..=20).partition(|n| n % 3 == 0);
                missed.extend((1..seen).map(|_| 100));
                missed.extend(alerts);
                for n in missed {
                    assert_eq!(again.json().await["n"], n, "after {seen} with {id}");
                }
                publish(&server, UPDATES, &numbered(100)).await;
                assert_eq!(again.json().await["n"], 100, "live, and nothing twice");
                drop(again);
                let mut last = Sse::resume(&server, &path, ids.last().unwrap()).await;
                if !query.is_empty() {
                    last.json().await;
                }
                for _ in 0..seen {
                    assert_eq!(last.json().await["n"], 100);
                }
            }
        }
        // From another server, or from nobody: something may be missing, and is said to be.
        let mut strange = Sse::resume(&server, "/sse/inventory", "42").await;
        let gap = strange.json().await;
        assert_eq!((&gap["message_type"], &gap["reason"]), (&json!("gap"), &json!("unknown position")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_websocket_may_ask_for_events_have_too() {
    let server = Fanfare::start(Settings::new()).await;
    for (sku, stock) in [("AAA", 1), ("BBB", 2)] {
        let item = json!({"sku": sku, "name": sku, "stock_quantity": stock, "min_stock_level": 0});
        let made = http().post(format!("{}/api/v1/inventory", server.url())).json(&item).send().await.unwrap();
        assert_eq!(made.status(), 201);
    }
    // A snapshot, cut off before and after its end.
    let path = "/sse/inventory?snapshot=true&sku=AAA";
    let mut client = Sse::open(&server, path).await;
    assert_eq!(client.json().await["message_type"], "subscribed");
    let snapshot = client.event().await;
    let rows: Value = serde_json::from_str(&snapshot.data).unwrap();
    assert_eq!((rows["rows"].as_array().unwrap().len(), &rows["rows"][0]["sku"]), (1, &json!("AAA")));
    assert_eq!(snapshot.id, "", "not before its end: then it comes again");
    publish(&server, UPDATES, r#"{"sku":"BBB","n":1}"#).await;
    publish(&server, UPDATES, r#"{"sku":"AAA","n":2}"#).await;
    let change = client.event().await;
    assert_eq!(serde_json::from_str::<Value>(&change.data).unwrap()["n"], 2);
    publish(&server, UPDATES, r#"{"sku":"AAA","n":3}"#).await;
    let mut again = Sse::resume(&server, path, &change.id).await;
    assert_eq!(again.json().await["message_type"], "subscribed", "and no snapshot");
    assert_eq!(again.json().await["n"], 3);
    // Fewer messages, and who is there.
    let mut paced = Sse::open(&server, "/sse/inventory?max_hz=2").await;
    assert_eq!(paced.json().await["message_type"], "subscribed");
    for n in 0..10 {
        publish(&server, UPDATES, &json!({"sku": "C", "stock_quantity": n}).to_string()).await;
    }
    let (mut count, mut last) = (0, Value::Null);
    while count < 10 {
        last = paced.json().await;
        count += last["_fold"]["count"].as_u64().unwrap();
    }
    assert_eq!((count, &last["stock_quantity"]), (10, &json!(9)));
    let mut resumed = Sse::resume(&server, "/sse/inventory?max_hz=2", &paced.id).await;
    assert_eq!(resumed.json().await["channels"][UPDATES]["recovered"], 0, "a fold stands for all that it holds");
    let mut watcher = Sse::open(&server, "/sse/price?presence=true").await;
    let list = watcher.json().await;
    assert_eq!((&list["message_type"], &list["action"]), (&json!("presence"), &json!("list")));
    ledger(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_node_goes_on_where_a_killed_one_was() {
    let redis = Redis::start().await;
    let mut first = Fanfare::start(Settings::new().redis(&redis)).await;
    let other = Fanfare::start(Settings::new().redis(&redis)).await;
    let mut client = Sse::open(&first, "/sse/inventory").await;
    for n in 1..=50 {
        publish(&other, UPDATES, &numbered(n)).await;
    }
    numbers(&mut client, 1..=30).await;
    let id = client.id.clone();
    first.kill9();
    for n in 51..=60 {
        publish(&other, UPDATES, &numbered(n)).await;
    }
    let mut client = Sse::resume(&other, "/sse/inventory", &id).await;
    numbers(&mut client, 31..=60).await;
    publish(&other, UPDATES, &numbered(61)).await;
    numbers(&mut client, 61..=61).await;
    ledger(&other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_says_when_to_come_back() {
    let mut server = Fanfare::start(Settings::new()).await;
    let mut client = Sse::open(&server, "/sse").await;
    publish(&server, "system:notifications", "\"last\"").await;
    assert_eq!(client.event().await.data, "\"last\"");
    let id = client.id.clone();
    let began = Instant::now();
    let (status, (notice, close, end)) =
        tokio::join!(server.terminate(), async { (client.event().await, client.event().await, client.next().await) });
    assert!(status.success() && began.elapsed() < Duration::from_secs(5), "a stream is no request to wait for");
    let said: Value = serde_json::from_str(&notice.data).unwrap();
    assert_eq!((&said["message_type"], notice.id), (&json!("reconnect"), id));
    assert_eq!(client.retry_ms, said["after_ms"].as_u64());
    let said: Value = serde_json::from_str(&close.data).unwrap();
    assert_eq!((&*close.name, &said["code"], &said["reconnect"]), ("close", &json!(1012), &json!(true)));
    assert_eq!(end, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_closed_with_where_to_resume() {
    let settings = Settings::new().env("FANFARE__STREAM__OUTBOX_BYTES", "65536");
    let server = Fanfare::start(settings.env("FANFARE__STREAM__CLOSE_TIMEOUT_MS", "60000")).await;
    let mut slow = Sse::open(&server, "/sse").await;
    let pad = "x".repeat(60_000);
    let closed = r#"websocket_connections_closed_total{reason="slow"}"#;
    let mut published = 0;
    while !metrics(&server).await.contains_key(closed) {
        publish(&server, "system:notifications", &json!({ "n": published, "pad": pad }).to_string()).await;
        published += 1;
        assert!(published < 2000, "it is never slow");
    }
    let mut received = 0;
    let last = loop {
        let event = slow.event().await;
        if event.name == "close" {
            break event;
        }
        assert_eq!(serde_json::from_str::<Value>(&event.data).unwrap()["n"], received, "nothing is missing before");
        received += 1;
    };
    let said: Value = serde_json::from_str(&last.data).unwrap();
    assert_eq!(said["code"], 3008);
    assert_eq!(said["reason"], format!("slow; since={}", last.id), "where it resumes, twice said");
    assert_eq!(slow.next().await, None);
    let mut again = Sse::resume(&server, "/sse", &last.id).await;
    for n in received..published {
        assert_eq!(again.json().await["n"], n);
    }
    let books = ledger(&server).await;
    assert_eq!(books["system:notifications"]["dropped"]["slow"], published - received, "{books:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_its_token_and_lives_by_its_heartbeats() {
    let secret = "a secret for tests, long enough: 0123456789";
    let server = Fanfare::start(
        Settings::new()
            .env("SECRET_KEY", secret)
            .env("FANFARE__STREAM__PING_INTERVAL_S", "2")
            .env("FANFARE__STREAM__PONG_TIMEOUT_S", "1"),
    )
    .await;
    let claims = json!({"sub": "ann", "exp": Clock::system().now().timestamp() + 5});
    let key = EncodingKey::from_secret(secret.as_bytes());
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
    let path = format!("/sse/price?token={token}");
    let mut client = Sse::open(&server, &path).await;
    let close = client.event().await;
    assert_eq!((&*close.name, close.data.contains("3005")), ("close", true), "{close:?}");
    assert!(client.comments >= 1 && !client.id.is_empty(), "heartbeats say where it stands");
    assert_eq!(client.next().await, None);
    let refused = || async { (get(&server, &path, &[]).await.status() == 401).then_some(()) };
    eventually("it is refused, which is where a browser gives up", refused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_reads_it() {
    let server = Fanfare::start(Settings::new()).await;
    let mut curl = Command::new(program("curl", &[]));
    curl.args(["-sN", "--noproxy", "*", "--max-time", "20", &format!("{}/sse", server.url())]).stdout(Stdio::piped());
    let mut child = curl.spawn().unwrap();
    wait_for_metric(&server, r#"websocket_connections{feed="general"}"#, 1.0).await;
    publish(&server, "system:notifications", r#"{"n":1}"#).await;
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let read = tokio::task::spawn_blocking(move || {
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line: &String| !line.starts_with("data:")) {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
            lines.push(line);
        }
        lines
    });
    let lines = tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
    assert_eq!((&*lines[0], lines.last().unwrap().as_str()), ("retry: 2000\n", "data: {\"n\":1}\n"));
    assert!(lines[lines.len() - 2].starts_with("id: "), "{lines:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The script says what it wants done to the servers, and goes on when it is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browsers_event_source_comes_back_and_misses_nothing() {
    let redis = Redis::start().await;
    let mut first = Fanfare::start(Settings::new().redis(&redis)).await;
    let other = Fanfare::start(Settings::new().redis(&redis)).await;
    let mut script = Command::new(program("node", &[]))
        .current_dir("web")
        .args(["e2e/events.mjs", &first.url(), &other.url()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node");
    let mut done = script.stdin.take().unwrap();
    let (said, mut lines) = tokio::sync::mpsc::channel(16);
    let stdout = std::io::BufReader::new(script.stdout.take().unwrap());
    std::thread::spawn(move || {
        std::io::BufRead::lines(stdout).map_while(Result::ok).try_for_each(|line| said.blocking_send(line))
    });
    let mut printed = String::new();
    while let Some(line) = lines.recv().await {
        printed.push_str(&format!("{line}\n"));
        match line.strip_prefix("do:") {
            Some("restart first") => first.restart().await,
            Some("terminate first") => assert!(first.terminate().await.success()),
            Some("start first") => first.restart().await,
            Some(unknown) => panic!("{unknown}"),
            None => continue,
        }
        std::io::Write::write_all(&mut done, b"done\n").unwrap();
    }
    let status = script.wait().unwrap();
    assert!(status.success() && printed.contains("nothing was lost"), "{printed}\n{}", first.log());
}

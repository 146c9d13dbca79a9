//! Traces to a collector, errors to a Sentry-compatible receiver, security events to their file.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Fanfare, Postgres, Redis, Settings, Webhook, eventually, next_json, temp_dir};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// All spans of `TRACE` that come in until one is called `last` on both nodes, by name.
async fn spans(collector: &mut Webhook, last: &str, times: usize) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    while found.iter().filter(|span| span["name"] == last).count() < times {
        let request = collector.next().await;
        assert_eq!(request.headers["content-type"], "application/json");
        let body: Value = serde_json::from_slice(&request.body).expect("OTLP as JSON");
        for resource in body["resourceSpans"].as_array().expect("resourceSpans") {
            let attributes = resource["resource"]["attributes"].to_string();
            assert!(attributes.contains("service.name") && attributes.contains("fanfare"), "{attributes}");
            for scope in resource["scopeSpans"].as_array().expect("scopeSpans") {
                found.extend(
                    scope["spans"].as_array().expect("spans").iter().filter(|span| span["traceId"] == TRACE).cloned(),
                );
            }
        }
    }
    found
}

/// Two nodes on one database that trace what they are asked to, and where they tell of it.
async fn traced_nodes(redis: &Redis) -> (Webhook, [Fanfare; 2]) {
    let (collector, database) = (Webhook::start().await, Postgres::database().await);
    let settings = Settings::new()
        .redis(redis)
        .database(&database.url)
        .env("DB_POOL_SIZE", "3")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url().trim_end_matches("/hook").to_owned())
        .env("FANFARE__TELEMETRY__SAMPLE_RATIO", "0");
    let nodes = [Fanfare::start(settings.clone()).await, Fanfare::start(settings).await];
    (collector, nodes)
}

#[tokio::test]
async fn one_message_is_traced_from_the_request_to_the_sockets_of_another_node() {
    let redis = Redis::start().await;
    let (mut collector, [one, two]) = traced_nodes(&redis).await;
    let client = reqwest::Client::new();
    let item = json!({ "sku": "TRACED-1", "name": "x", "stock_quantity": 90 });
    let item: Value = client
        .post(format!("{}/api/v1/inventory", one.url()))
        .json(&item)
        .send()
        .await
        .expect("create")
        .json()
        .await
        .expect("json");
    let mut streams = [one.ws("/ws/inventory?positions=true").await, two.ws("/ws/inventory?positions=true").await];

    let adjust = client.post(format!("{}/api/v1/inventory/{}/adjust", one.url(), item["id"]));
    let adjust = adjust.header("traceparent", format!("00-{TRACE}-{PARENT}-01")).json(&json!({ "delta": -1 }));
    let answer = adjust.send().await.expect("adjust");
    assert_eq!(answer.headers()["x-trace-id"], TRACE);
    for stream in &mut streams {
        let message = loop {
            let message = next_json(stream).await;
            if message["stock_quantity"] == 89 {
                break message;
            }
        };
        assert_eq!(message["_position"]["trace_id"], TRACE, "{message}");
    }
    let spans = spans(&mut collector, "shard.write", 2).await;
    let by_id: HashMap<&str, &Value> = spans.iter().map(|span| (span["spanId"].as_str().expect("id"), span)).collect();
    let named = |name: &str| -> Vec<&Value> {
        spans.iter().filter(|span| span["name"].as_str().is_some_and(|it| it.contains(name))).collect()
    };
    let request = named("/adjust")[0];
    assert_eq!((request["parentSpanId"].as_str(), request["kind"].as_i64()), (Some(PARENT), Some(2)));
    assert!(!named("db.statement").is_empty() && named("outbox.wait").len() == 1 && named("broker.publish").len() == 1);
    for span in &spans {
        let number = |field: &str| span[field].as_str().expect("nanoseconds").parse::<u128>().expect("a number");
        assert!(number("startTimeUnixNano") <= number("endTimeUnixNano"), "{span}");
        let parent = span["parentSpanId"].as_str().expect("a parent");
        assert!(parent == PARENT || by_id.contains_key(parent), "{span} hangs in the air");
    }
    // Nobody asked for the others.
    assert!(client.get(format!("{}/api/v1/inventory", one.url())).send().await.expect("list").status().is_success());
    let unsampled =
        client.get(format!("{}/health", one.url())).header("traceparent", format!("00-{TRACE}-{PARENT}-00"));
    unsampled.send().await.expect("health");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(collector.waiting(), 0);
}

#[tokio::test]
async fn a_learning_event_is_traced_through_the_journal_to_the_sockets_of_another_node() {
    let redis = Redis::start().await;
    let (mut collector, [one, two]) = traced_nodes(&redis).await;
    let mut streams = [one.ws("/ws/progress?positions=true").await, two.ws("/ws/progress?positions=true").await];
    let client = reqwest::Client::new();
    let post = async |id: &str, traceparent: Option<String>| {
        let event = json!([{ "eventId": id, "eventType": "cell_executed", "userId": "u1", "notebookPath": "a.ipynb",
            "eventTime": "2026-11-21T06:47:42Z", "cellId": "c1", "hasError": false }]);
        let request = client.post(format!("{}/api/v1/events", one.url())).json(&event);
        let request = if let Some(text) = traceparent { request.header("traceparent", text) } else { request };
        assert!(request.send().await.expect("post").status().is_success());
    };
    post("traced", Some(format!("00-{TRACE}-{PARENT}-01"))).await;
    for stream in &mut streams {
        let message = loop {
            let message = next_json(stream).await;
            if message["message_type"] == "progress_event" {
                break message;
            }
        };
        assert_eq!(message["_position"]["trace_id"], TRACE, "{message}");
        assert!(message.get("traceparent").is_none(), "{message}");
    }
    let spans = spans(&mut collector, "shard.write", 2).await;
    let by_id: HashMap<&str, &Value> = spans.iter().map(|span| (span["spanId"].as_str().expect("id"), span)).collect();
    let named = |name: &str| -> Vec<&Value> {
        spans.iter().filter(|span| span["name"].as_str().is_some_and(|it| it.contains(name))).collect()
    };
    let (request, apply) = (named("/api/v1/events")[0], named("events.apply")[0]);
    assert_eq!((request["parentSpanId"].as_str(), request["kind"].as_i64()), (Some(PARENT), Some(2)));
    assert_eq!(apply["parentSpanId"], request["spanId"]);
    assert_eq!((named("journal.wait").len(), named("outbox.wait").len(), named("broker.publish").len()), (1, 1, 1));
    let below = named("db.statement").into_iter().filter(|span| span["parentSpanId"] == apply["spanId"]);
    assert!(below.count() > 3, "the statements of the event");
    assert_eq!(named("outbox.wait")[0]["parentSpanId"], apply["spanId"]);
    for span in &spans {
        let parent = span["parentSpanId"].as_str().expect("a parent");
        assert!(parent == PARENT || by_id.contains_key(parent), "{span} hangs in the air");
    }
    // Nobody asked for this one, and its message is nobody's.
    post("untraced", None).await;
    for stream in &mut streams {
        let message = next_json(stream).await;
        assert!(message["_position"].get("trace_id").is_none(), "{message}");
    }
}

#[tokio::test]
async fn an_error_is_reported_once_with_its_trace_and_no_secret() {
    let (mut receiver, redis) = (Webhook::start().await, Redis::start().await);
    let address = receiver.url().trim_start_matches("http://").trim_end_matches("/hook").to_owned();
    let settings = Settings::new().redis(&redis).env("SENTRY_DSN", format!("http://public-key@{address}/7"));
    let server = Fanfare::start(settings.env("FANFARE__TELEMETRY__ENVIRONMENT", "test")).await;
    // A row that no broker takes is logged as an error.
    let database = format!("sqlite://{}", server.data_dir().join("fanfare.db").display());
    let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect(&database).await.expect("the database");
    let row = "INSERT INTO outbox (channel, data, tags, created_at) VALUES ('a:b', 'no json', '[]', '2026-01-01 00:00:00+00:00')";
    for _ in 0..20 {
        sqlx::query(row).execute(&mut connection).await.expect("a row");
    }
    let report = receiver.next().await;
    assert!(report.headers["x-sentry-auth"].to_str().expect("text").contains("sentry_key=public-key"));
    assert_eq!(report.headers["content-type"], "application/x-sentry-envelope");
    let text = String::from_utf8(report.body.to_vec()).expect("text");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((lines.len(), &lines[1]["type"]), (3, &json!("event")));
    assert_eq!(lines[0]["event_id"], lines[2]["event_id"]);
    assert_eq!(lines[2]["environment"], "test");
    assert_eq!(lines[2]["message"]["formatted"], "an outbox row cannot be published");
    // The same fault again and again is told a few times.
    let counted = async || {
        let text = reqwest::get(format!("{}/metrics", server.url())).await.ok()?.text().await.ok()?;
        text.contains("fanfare_signals_dropped_total 15").then_some(())
    };
    eventually("fifteen of twenty are left out", counted).await;
}

#[tokio::test]
async fn security_events_go_to_their_file_whatever_the_level_and_follow_a_rotation() {
    let folder = temp_dir("audit");
    let file = folder.path().join("audit.jsonl");
    let settings = Settings::new().env("SECRET_KEY", "0123456789abcdef0123456789abcdef").env("LOG_LEVEL", "off");
    let mut server = Fanfare::start(settings.env("FANFARE__LOG__AUDIT_FILE", file.display().to_string())).await;
    let refused = async || {
        let request =
            reqwest::Client::new().get(format!("{}/api/v1/inventory", server.url())).bearer_auth("not-a-token");
        assert_eq!(request.header("x-trace-id", "looked-for").send().await.expect("an answer").status(), 401);
    };
    refused().await;
    let written = async || std::fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n'));
    let text = eventually("a line", written).await;
    let line: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    assert_eq!((line["target"].as_str(), line["level"].as_str()), (Some("security"), Some("WARN")));
    assert_eq!(line["message"], "caller refused");
    assert_eq!(line["span"]["trace_id"], "looked-for");
    assert!(line["span"]["peer"].as_str().expect("peer").starts_with("127.0.0.1"), "{line}");
    assert!(!text.contains("not-a-token"));
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).expect("file").permissions()) & 0o777,
        0o600
    );

    std::fs::rename(&file, folder.path().join("audit.1.jsonl")).expect("rotated");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(server.pid()), nix::sys::signal::Signal::SIGHUP).expect("SIGHUP");
    eventually("a new file", async || file.exists().then_some(())).await;
    refused().await;
    eventually("a line in the new file", written).await;
    assert!(server.terminate().await.success());
}

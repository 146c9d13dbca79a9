//! Coming back: from a position, from a snapshot, from a slow spell, on this node or another.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::stream_kit::Plain;
use crate::stream_ws::{Raw, publish};
use crate::support::{Fanfare, Postgres, Redis, Settings, WebSocket, http, next_json, next_message, ws};

pub const UPDATES: &str = "inventory:updates";

pub async fn get(server: &Fanfare, path: &str) -> Value {
    let answer = http().get(format!("{}{path}", server.url())).send().await.unwrap();
    answer.json().await.unwrap()
}

/// The books, which must balance whenever they are looked at.
pub async fn ledger(server: &Fanfare) -> Value {
    let ledger = get(server, "/api/v1/ledger").await;
    assert_eq!(ledger["balanced"], true, "{ledger:#}");
    ledger["channels"].clone()
}

/// What `?since=` takes, of a message or of the first word of the server.
pub fn since(message: &Value) -> String {
    match &message["_position"] {
        Value::Null => message["since"].as_str().unwrap().to_owned(),
        position => format!("{}:{}", position["epoch"].as_str().unwrap(), position["offset"]),
    }
}

async fn subscribed(server: &Fanfare, path: &str) -> (WebSocket, Value) {
    let mut socket = server.ws(path).await;
    let first = next_json(&mut socket).await;
    assert_eq!(first["message_type"], "subscribed", "{first}");
    (socket, first)
}

fn numbered(n: u64) -> String {
    json!({ "message_type": "inventory_update", "sku": "A", "n": n }).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_comes_back_gets_what_it_missed_and_then_what_is_live() {
    let redis = Redis::start().await;
    for settings in [Settings::new(), Settings::new().redis(&redis)] {
        let server = Fanfare::start(settings).await;
        let (mut client, hello) = subscribed(&server, "/ws/inventory?positions=true").await;
        assert_eq!(hello["channels"][UPDATES]["offset"], 0);
        for n in 1..=3 {
            publish(&server, UPDATES, &numbered(n)).await;
            let message = next_json(&mut client).await;
            assert_eq!((&message["n"], &message["_position"]["offset"]), (&json!(n), &json!(n)));
            assert_eq!(message["_position"]["epoch"], hello["channels"][UPDATES]["epoch"]);
        }
        let seen = next_seen(&server, &mut client, 4).await;
        drop(client);
        for n in 5..=30 {
            publish(&server, UPDATES, &numbered(n)).await;
        }
        // Many at once, while more is published: each gets exactly what comes after 4, in order.
        let publishing = async {
            for n in 31..=60 {
                publish(&server, UPDATES, &numbered(n)).await;
            }
        };
        let path = format!("/ws/inventory?since={seen}");
        let resuming = join_all((0..20).map(|_| async {
            let (mut client, hello) = subscribed(&server, &path).await;
            assert_eq!(hello["channels"][UPDATES]["gap"], false);
            for n in 5..=60 {
                let message = next_json(&mut client).await;
                assert_eq!((&message["n"], &message["_position"]["offset"]), (&json!(n), &json!(n)), "{hello}");
            }
        }));
        tokio::join!(publishing, resuming);
        let books = ledger(&server).await;
        assert!(books[UPDATES]["recovered"].as_u64().unwrap() >= 20 * 26, "{books:#}");
        // A client that asks for nothing of this gets the very bytes.
        let mut plain = server.ws("/ws/inventory").await;
        publish(&server, UPDATES, "{ \"n\" : 1 }").await;
        assert_eq!(next_message(&mut plain).await, Some(Message::text("{ \"n\" : 1 }")));
    }
}

async fn next_seen(server: &Fanfare, client: &mut WebSocket, n: u64) -> String {
    publish(server, UPDATES, &numbered(n)).await;
    since(&next_json(client).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_resumes_and_a_restarted_redis_is_a_gap() {
    let mut redis = Redis::start().await;
    let nodes =
        [Fanfare::start(Settings::new().redis(&redis)).await, Fanfare::start(Settings::new().redis(&redis)).await];
    let (mut client, _) = subscribed(&nodes[0], "/ws?positions=true").await;
    let channel = "system:notifications";
    publish(&nodes[1], channel, "{\"n\":1}").await;
    let seen = since(&next_json(&mut client).await);
    drop(client);
    for n in 2..=500 {
        publish(&nodes[n % 2], channel, &format!("{{\"n\":{n}}}")).await;
    }
    // The other node has had no subscriber: it reads what was missed from Redis.
    let (mut client, hello) = subscribed(&nodes[1], &format!("/ws?since={seen}")).await;
    assert_eq!(hello["channels"][channel]["recovered"], 499, "{hello}");
    for n in 2..=500 {
        assert_eq!(next_json(&mut client).await["n"], n);
    }
    redis.restart().await;
    // Told to those who stay, and to those who come back.
    loop {
        let message = next_json(&mut client).await;
        match message["message_type"].as_str() {
            Some("gap") => break,
            Some("stale" | "live") => {}
            _ => panic!("{message}"),
        }
    }
    let (mut client, hello) = subscribed(&nodes[1], &format!("/ws?since={seen}")).await;
    assert_eq!(hello["channels"][channel]["gap"], true);
    let gap = next_json(&mut client).await;
    assert_eq!((&gap["message_type"], &gap["channel"]), (&json!("gap"), &json!(channel)));
    publish(&nodes[0], channel, "{\"n\":501}").await;
    assert_eq!(next_json(&mut client).await["n"], 501);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_publishers_are_numbered_by_the_node_that_hears_them() {
    let redis = Redis::start().await;
    let nodes =
        [Fanfare::start(Settings::new().redis(&redis)).await, Fanfare::start(Settings::new().redis(&redis)).await];
    let (mut client, _) = subscribed(&nodes[0], "/ws?positions=true").await;
    let mut plain = Plain::connect(&redis).await;
    let say = |n: u32| vec![format!("{{\"n\":{n}}}").into_bytes()];
    plain.publish_all("system:notifications", &say(1)).await;
    let message = next_json(&mut client).await;
    assert_eq!((&message["_position"]["offset"], &message["_position"]["node_local"]), (&json!(1), &json!(true)));
    drop(client);
    plain.publish_all("system:notifications", &say(2)).await;
    publish(&nodes[1], "system:notifications", "{\"n\":3}").await;
    plain.publish_all("system:notifications", &say(4)).await;
    let (mut client, hello) = subscribed(&nodes[0], &format!("/ws?since={}", since(&message))).await;
    assert_eq!(hello["channels"]["system:notifications"]["gap"], false);
    for n in 2..=4 {
        assert_eq!(next_json(&mut client).await["n"], n, "both kinds, in the order in which they came");
    }
    // Only this node can tell what came after it.
    let (_, hello) = subscribed(&nodes[1], &format!("/ws?since={}", since(&message))).await;
    assert_eq!(hello["channels"]["system:notifications"]["gap"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_that_is_too_short_is_a_gap_with_the_rows_as_they_are() {
    let server = Fanfare::start(Settings::new().env("FANFARE__STREAM__HISTORY__MESSAGES", "5")).await;
    let post = async |sku: &str| {
        let body = json!({ "sku": sku, "name": sku, "stock_quantity": 50, "category": "Toys" });
        let answer = http().post(format!("{}/api/v1/inventory", server.url())).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 201);
    };
    let (mut client, _) = subscribed(&server, "/ws/inventory?positions=true").await;
    post("FIRST").await;
    let seen = since(&next_json(&mut client).await);
    for n in 0..20 {
        post(&format!("SKU-{n}")).await;
        next_json(&mut client).await;
    }
    let (mut back, hello) = subscribed(&server, &format!("/ws/inventory?since={seen}&category=Toys")).await;
    assert_eq!(hello["channels"][UPDATES]["gap"], true, "{hello}");
    let told: Vec<Value> = vec![next_json(&mut back).await, next_json(&mut back).await];
    assert!(told.iter().all(|message| message["message_type"] == "gap"), "for each channel: {told:?}");
    let snapshot = next_json(&mut back).await;
    assert_eq!((&snapshot["message_type"], &snapshot["last"]), (&json!("snapshot"), &json!(true)));
    assert_eq!(snapshot["rows"].as_array().unwrap().len(), 21);
    post("NEXT").await;
    assert_eq!(next_json(&mut back).await["sku"], "NEXT");
    let refused = server.ws_url("/ws?snapshot=true").into_client_request().unwrap();
    let refused = tokio_tungstenite::connect_async(refused).await.unwrap_err().to_string();
    assert!(refused.contains("400"), "{refused}");
}

/// Stock of every item by what a client was told: rows first, then every change.
async fn replay(client: &mut WebSocket, writes: u64, base: u64) -> (BTreeMap<String, u64>, u64) {
    let mut stock = BTreeMap::new();
    let mut last_offset = None;
    let mut applied = 0;
    loop {
        let message = next_json(client).await;
        match message["message_type"].as_str().unwrap() {
            "subscribed" | "included" => {}
            "snapshot" => {
                for row in message["rows"].as_array().unwrap() {
                    stock.insert(row["sku"].as_str().unwrap().to_owned(), row["stock_quantity"].as_u64().unwrap());
                }
            }
            "inventory_update" => {
                let (sku, now) = (message["sku"].as_str().unwrap(), message["stock_quantity"].as_u64().unwrap());
                let before = stock.insert(sku.to_owned(), now).unwrap();
                assert_eq!(now, before + 1, "each change once, none left out: {message}");
                let offset = message["_position"]["offset"].as_u64().unwrap();
                assert!(last_offset.is_none_or(|last| offset > last));
                last_offset = Some(offset);
                applied += 1;
            }
            other => panic!("{other}: {message}"),
        }
        if stock.values().sum::<u64>() == base + writes {
            return (stock, applied);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_and_what_follows_it_are_the_rows_at_any_load() {
    const ITEMS: usize = 5;
    const WRITES: u64 = 200;
    let redis = Redis::start().await;
    let postgres = Postgres::database().await;
    for settings in [Settings::new(), Settings::new().redis(&redis).database(&postgres.url)] {
        let server = Fanfare::start(settings).await;
        let url = format!("{}/api/v1/inventory", server.url());
        let mut ids = Vec::new();
        for n in 0..ITEMS {
            let body = json!({ "sku": format!("SKU-{n}"), "name": "x", "stock_quantity": 100, "min_stock_level": 1 });
            let answer: Value = http().post(&url).json(&body).send().await.unwrap().json().await.unwrap();
            ids.push(answer["id"].as_i64().unwrap());
        }
        let http = http();
        let writing = join_all((0..4).map(|writer| {
            let (http, url, ids) = (http.clone(), url.clone(), ids.clone());
            async move {
                for n in 0..WRITES / 4 {
                    let id = ids[(n as usize * 7 + writer) % ITEMS];
                    let answer = http.post(format!("{url}/{id}/adjust")).json(&json!({ "delta": 1 })).send().await;
                    assert_eq!(answer.unwrap().status(), 200);
                }
            }
        }));
        let path = server.ws_url("/ws/inventory?snapshot=true");
        let watching = join_all((0..12).map(|n| {
            let path = path.clone();
            async move {
                tokio::time::sleep(std::time::Duration::from_millis(n * 40)).await;
                let mut client = ws(&path).await;
                replay(&mut client, WRITES, 100 * ITEMS as u64).await
            }
        }));
        let (_, seen) = tokio::join!(writing, watching);
        let rows = get(&server, "/api/v1/inventory?limit=100").await;
        for (stock, _) in &seen {
            for item in rows["items"].as_array().unwrap() {
                assert_eq!(stock[item["sku"].as_str().unwrap()], item["stock_quantity"].as_u64().unwrap());
            }
        }
        assert!(seen.iter().any(|(_, applied)| *applied > 0 && *applied < WRITES), "some began in the middle");
        ledger(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_resumes_where_its_close_says() {
    let server = Fanfare::start(
        Settings::new().env("FANFARE__STREAM__OUTBOX_BYTES", "200000").env("FANFARE__STREAM__SHARDS", "1"),
    )
    .await;
    let mut slow = Raw::open(&server, "/ws?positions=true").await;
    let padding = "x".repeat(50_000);
    let mut published = 0;
    while ledger(&server).await["system:notifications"]["dropped"]["slow"].is_null() {
        published += 1;
        publish(&server, "system:notifications", &format!("{{\"n\":{published},\"padding\":\"{padding}\"}}")).await;
        assert!(published < 2_000);
    }
    let mut received = 0;
    let reason = loop {
        let frame = slow.frame().await.expect("a close frame first");
        if frame.opcode == 8 {
            break String::from_utf8(frame.payload[2..].to_vec()).unwrap();
        }
        let message: Value = serde_json::from_slice(&frame.payload).unwrap();
        if message["message_type"] != "subscribed" {
            received += 1;
            assert_eq!(message["n"], received);
        }
    };
    let (_, since) = reason.split_once("since=").unwrap_or_else(|| panic!("{reason}"));
    let (mut back, hello) = subscribed(&server, &format!("/ws?since={since}")).await;
    assert_eq!(hello["channels"]["system:notifications"]["gap"], false, "{hello}");
    for n in received + 1..=published {
        assert_eq!(next_json(&mut back).await["n"], n, "nothing lost, nothing twice");
    }
    let books = ledger(&server).await;
    assert_eq!(books["system:notifications"]["pending"], 0, "{books:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_published_once_under_its_key() {
    let redis = Redis::start().await;
    for settings in [Settings::new(), Settings::new().redis(&redis)] {
        let server = Fanfare::start(settings).await;
        let mut client = server.ws("/ws").await;
        let post = async |key: &str, n: u32| {
            let body = json!({ "channel": "system:notifications", "data": { "n": n }, "idempotency_key": key });
            let answer = http().post(format!("{}/api/publish", server.url())).json(&body).send().await.unwrap();
            answer.json::<Value>().await.unwrap()
        };
        let first = post("a", 1).await;
        assert_eq!(post("a", 2).await, first, "answered again, not published again");
        assert_ne!(post("b", 3).await, first);
        assert_eq!(next_json(&mut client).await["n"], 1);
        assert_eq!(next_json(&mut client).await["n"], 3);
        let refused = post("", 1).await;
        assert_eq!(refused["errors"][0]["field"], "idempotency_key", "{refused}");
    }
}

//! Fewer messages, and nothing hidden: conflation by time, the latest of each key for slow clients, the books and what
//! became of one message.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::stream_recovery::{get, ledger};
use crate::stream_ws::{Raw, publish};
use crate::support::{Fanfare, Redis, Settings, WebSocket, eventually, next_json};

const UPDATES: &str = "price:updates";

fn price(sku: &str, new_price: i64) -> String {
    json!({ "message_type": "price_update", "sku": sku, "currency": "JPY", "new_price": new_price }).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_a_second_of_each_key_say_what_they_stand_for() {
    let server = Fanfare::start(Settings::new()).await;
    let mut paced = server.ws("/ws/price?max_hz=2").await;
    let hello = next_json(&mut paced).await;
    let mut all = server.ws("/ws/price").await;
    let begun = Instant::now();
    for n in 0..200 {
        publish(&server, UPDATES, &price(["A", "B"][n % 2], 1000 + (n as i64 * 37) % 101)).await;
    }
    publish(&server, "price:alerts", "{\"message_type\":\"price_alert\",\"sku\":\"A\"}").await;
    for n in 0..200 {
        assert_eq!(next_json(&mut all).await["sku"], ["A", "B"][n % 2]);
    }
    // A client that comes now gets its own folds: what came before is not for it.
    let mut late = server.ws("/ws/price?max_hz=2").await;
    next_json(&mut late).await;
    publish(&server, UPDATES, &price("A", 5)).await;
    let (mut counts, mut messages, mut alerts, mut least) = ([0, 0], [0, 0], 0, i64::MAX);
    while counts[0] + counts[1] < 201 {
        let message = next_json(&mut paced).await;
        if message["message_type"] == "price_alert" {
            alerts += 1;
            assert!(message["_fold"].is_null(), "never folded");
            continue;
        }
        let (fold, key) = (&message["_fold"], usize::from(message["sku"] == "B"));
        counts[key] += fold["count"].as_u64().unwrap();
        messages[key] += 1;
        assert_eq!(fold["last"]["new_price"], message["new_price"]);
        assert_eq!(fold["last_offset"], message["_position"]["offset"]);
        assert!(fold["first_offset"].as_u64() <= fold["last_offset"].as_u64());
        assert!(fold["min"]["new_price"].as_i64() <= message["new_price"].as_i64());
        assert!(fold["max"]["new_price"].as_i64() >= message["new_price"].as_i64());
        least = least.min(fold["min"]["new_price"].as_i64().unwrap());
    }
    // The moments are half a second apart.
    let most = begun.elapsed().as_millis() / 500 + 1;
    assert!(messages.iter().all(|count| *count <= most), "{messages:?} in {:?}", begun.elapsed());
    assert_eq!((counts, alerts, least), ([101, 100], 1, 5));
    let message = next_json(&mut late).await;
    assert_eq!((&message["new_price"], &message["_fold"]["count"]), (&json!(5), &json!(1)));
    let books = ledger(&server).await;
    assert_eq!(books[UPDATES]["conflated"], 201 - messages.iter().sum::<u128>() as u64);
    assert_eq!(books[UPDATES]["pending"], 0);
    // And each message's fate can be asked for.
    let client = hello["client"].as_str().unwrap();
    let fate = get(&server, &format!("/api/v1/explain?channel={UPDATES}&offset=2&client={client}")).await;
    assert_eq!(fate["fate"], "conflated", "{fate}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_may_have_the_latest_of_each_key() {
    let settings = Settings::new()
        .env("FANFARE__STREAM__WHEN_FULL__PRICE", "keep-latest")
        .env("FANFARE__STREAM__OUTBOX_BYTES", "200000")
        .env("FANFARE__STREAM__SHARDS", "1");
    let server = Fanfare::start(settings).await;
    let mut slow = Raw::open(&server, "/ws/price?positions=true").await;
    let mut published = 0;
    let padding = "x".repeat(20_000);
    let mut last = Value::Null;
    while ledger(&server).await[UPDATES]["conflated"].as_u64().unwrap_or(0) < 100 {
        published += 1;
        let sku = ["A", "B", "C"][published % 3];
        last = json!({ "sku": sku, "currency": "JPY", "new_price": published, "padding": padding });
        publish(&server, UPDATES, &last.to_string()).await;
        assert!(published < 3_000);
    }
    publish(&server, "price:alerts", "{\"message_type\":\"price_alert\"}").await;
    let (mut stands_for, mut last_offset, mut folded) = (0, 0, 0);
    loop {
        let frame = slow.frame().await.expect("the connection holds");
        let message: Value = serde_json::from_slice(&frame.payload).unwrap();
        match message["message_type"].as_str() {
            Some("subscribed") => continue,
            Some("price_alert") => break,
            _ => {}
        }
        let offset = message["_position"]["offset"].as_u64().unwrap();
        assert!(offset > last_offset, "in order");
        last_offset = offset;
        stands_for += message["_fold"]["count"].as_u64().unwrap_or(1);
        folded += u64::from(!message["_fold"].is_null());
        last["seen"] = message["new_price"].clone();
    }
    assert_eq!(stands_for, published as u64, "each message is there, or one says that it stands for it");
    assert!((1..=3).contains(&folded), "one a key: {folded}");
    assert_eq!(last["seen"], last["new_price"], "and the state is the latest");
    let books = ledger(&server).await;
    assert_eq!((&books[UPDATES]["pending"], &books[UPDATES]["dropped"]), (&json!(0), &json!({})));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_became_of_a_message_can_be_asked() {
    let server = Fanfare::start(Settings::new().env("FANFARE__STREAM__SHARDS", "2")).await;
    publish(&server, UPDATES, &price("A", 1)).await;
    let mut client = server.ws("/ws/price?positions=true&sku=A").await;
    let name = next_json(&mut client).await["client"].as_str().unwrap().to_owned();
    publish(&server, UPDATES, &price("A", 2)).await;
    publish(&server, UPDATES, &price("B", 3)).await;
    assert_eq!(next_json(&mut client).await["new_price"], 2);
    let name = &name;
    let fate = async |channel: &str, offset: u32| {
        let path = format!("/api/v1/explain?channel={channel}&offset={offset}&client={name}");
        get(&server, &path).await["fate"].as_str().unwrap().to_owned()
    };
    assert_eq!(fate(UPDATES, 1).await, "before");
    eventually("the turn is over", || async { (fate(UPDATES, 2).await == "delivered").then_some(()) }).await;
    assert_eq!(fate(UPDATES, 3).await, "filtered");
    assert_eq!(fate(UPDATES, 4).await, "not published");
    assert_eq!(fate("inventory:updates", 1).await, "unknown channel");
    drop(client);
    let mut other = server.ws("/ws/price").await;
    eventually("the client has left", || async {
        (get(&server, "/system-info").await["connections"] == 1).then_some(())
    })
    .await;
    publish(&server, UPDATES, &price("A", 4)).await;
    next_json(&mut other).await;
    assert_eq!(fate(UPDATES, 2).await, "delivered");
    assert_eq!(fate(UPDATES, 4).await, "dropped");
    let answer = get(&server, &format!("/api/v1/explain?channel={UPDATES}&offset=1&client=nobody-1")).await;
    assert_eq!(answer["fate"], "unknown client");
    let answer = get(&server, "/api/v1/explain?channel=a%20b&offset=1&client=x").await;
    assert_eq!(answer["errors"][0]["field"], "channel");
}

/// What a client counts that comes to `server`, until it has heard of `least` messages.
async fn count_folded(client: &mut WebSocket, least: u64) -> u64 {
    let mut count = 0;
    while count < least {
        let message = next_json(client).await;
        assert_ne!(message["message_type"], "gap", "{message}");
        if message["message_type"] == "price_update" {
            count += message["_fold"]["count"].as_u64().expect("what it stands for");
        }
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paced_client_resumes_before_what_was_held_for_it() {
    let redis = Redis::start().await;
    let mut old = Fanfare::start(Settings::new().redis(&redis)).await;
    let new = Fanfare::start(Settings::new().redis(&redis)).await;
    let mut client = old.ws("/ws/price?max_hz=0.1").await;
    next_json(&mut client).await;
    // Nothing of this is due before the server ends.
    for n in 0..6 {
        publish(&old, UPDATES, &price(["A", "B"][n % 2], 100)).await;
    }
    publish(&old, "price:alerts", "{\"message_type\":\"price_alert\",\"sku\":\"A\"}").await;
    assert_eq!(next_json(&mut client).await["message_type"], "price_alert");
    let ending = tokio::spawn(async move { old.terminate().await });
    let mut heard = 0;
    let since = loop {
        let message = next_json(&mut client).await;
        match message["message_type"].as_str() {
            Some("reconnect") => break message["since"].as_str().unwrap().to_owned(),
            Some("price_update") => heard += message["_fold"]["count"].as_u64().unwrap(),
            _ => panic!("{message}"),
        }
    };
    let mut client = new.ws(&format!("/ws/price?max_hz=0.1&since={since}")).await;
    let subscribed = next_json(&mut client).await;
    assert_eq!(subscribed["channels"]["price:alerts"]["recovered"], 0, "that one has been heard: {subscribed}");
    heard += count_folded(&mut client, 6 - heard).await;
    assert_eq!(heard, 6, "everything, and once");
    assert!(ending.await.unwrap().success());
}

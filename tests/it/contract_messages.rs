//! Real frames of every feed fit their schemas, and what does not fit is not published.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fanfare::contract::{self, Check, ContractOptions, Strictness};
use fanfare::feeds;
use jsonschema::Validator;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::contract_kit::fits;
use crate::matching_kit::{call, job, post, run_batch, start, user};
use crate::progress_kit::run;
use crate::support::{Settings, WebSocket, next_json};

const KEY: &str = "FANFARE__CONTRACT__MESSAGES";
/// Less than any frame is waited for, so that it is told which one is missing.
const WITHIN: std::time::Duration = std::time::Duration::from_secs(15);

/// Each schema, closed: a field that it does not name does not pass.
fn closed() -> BTreeMap<&'static str, Validator> {
    let names = contract::CHANNELS.iter().flat_map(|channel| channel.messages).chain(contract::CONTROL);
    names
        .map(|name| {
            let mut schema = contract::message_schema(name);
            schema["unevaluatedProperties"] = Value::Bool(false);
            (*name, jsonschema::draft202012::new(&schema).unwrap())
        })
        .collect()
}

/// Reads frames until all of `expected` have been seen; each fits what it says it is.
async fn hear(socket: &mut WebSocket, schemas: &BTreeMap<&str, Validator>, expected: &[&str]) {
    let mut missing: BTreeSet<&str> = expected.iter().copied().collect();
    while !missing.is_empty() {
        let frame = tokio::time::timeout(WITHIN, next_json(socket)).await;
        let frame = frame.unwrap_or_else(|_| panic!("{missing:?} of {expected:?} have not come"));
        let name = frame["message_type"].as_str().or(frame["type"].as_str()).unwrap_or_else(|| panic!("{frame}"));
        let schema = schemas.get(name).unwrap_or_else(|| panic!("{name} has no schema: {frame}"));
        fits(schema, &frame, name);
        missing.remove(name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_frame_of_every_feed_fits_its_schema() {
    let server = start(Settings::new().env(KEY, "strict").env("FANFARE__PROGRESS__FAILING_ERRORS", "1")).await;
    let schemas = closed();
    post(&server, "/api/v1/inventory", json!({"sku": "OLD-1", "name": "Old", "stock_quantity": 50})).await;
    post(&server, "/api/v1/prices", json!({"inventory_id": 1, "selling_price": 100})).await;
    let mut sockets = BTreeMap::new();
    for (path, feed) in feeds::ALL {
        let snapshot = if ["inventory", "price"].contains(&feed.name) { "&snapshot=true" } else { "" };
        sockets.insert(feed.name, server.ws(&format!("{path}?positions=true&presence=true{snapshot}")).await);
    }

    post(&server, "/api/v1/inventory/1/adjust", json!({"delta": -48})).await;
    call(&server, "PATCH", "/api/v1/prices/1", json!({"selling_price": 300})).await;
    call(&server, "PATCH", "/api/v1/prices/1", json!({"selling_price": "301.5", "requires_approval": true})).await;
    call(&server, "POST", "/api/v1/prices/1/reject", Value::Null).await;
    call(&server, "DELETE", "/api/v1/prices/1", Value::Null).await;
    let mut event = run("e1", "ann", 1, 0, Some("NameError: x"));
    event["metadata"] = json!({"any": ["thing"]});
    event["unknown"] = json!(1);
    post(&server, "/api/v1/events?class=3-B", json!([event])).await;
    post(&server, "/api/v2/jobs", job(1)).await;
    post(&server, "/api/v2/users", user(1)).await;
    run_batch(&server, "daily_matching").await;
    let notice =
        json!({"channel": "system:notifications", "data": {"message_type": "system_notification", "message": "hello"}});
    post(&server, "/api/publish", notice).await;

    for (name, expected) in [
        ("general", &["system_notification", "presence"][..]),
        ("inventory", &["subscribed", "snapshot", "inventory_update", "stock_alert", "presence"]),
        ("price", &["subscribed", "snapshot", "price_update", "price_alert"]),
        ("progress", &["subscribed", "progress_event", "progress_signal"]),
        ("match", &["subscribed", "match_notification", "batch_progress"]),
    ] {
        hear(sockets.get_mut(name).unwrap(), &schemas, expected).await;
    }
    let mut folded = server.ws("/ws/inventory?max_hz=5").await;
    post(&server, "/api/v1/inventory/1/adjust", json!({"delta": 1})).await;
    post(&server, "/api/v1/inventory/1/adjust", json!({"delta": 1})).await;
    hear(&mut folded, &schemas, &["inventory_update"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_its_schema_is_refused_with_a_pointer() {
    let server = start(Settings::new().env(KEY, "known")).await;
    let good = json!({"message_type": "inventory_update", "action": "updated", "item_id": 1, "sku": "TEA-1", "name": "Tea",
        "stock_quantity": 3, "available_quantity": 3, "is_low_stock": false, "timestamp": "2026-11-21T06:47:42.073Z"});
    let publish = async |channel: &str, data: &Value| {
        call(&server, "POST", "/api/publish", json!({"channel": channel, "data": data})).await
    };
    let broken = |field: &str, value: Value| {
        let mut message = good.clone();
        match value {
            Value::Null => drop(message.as_object_mut().unwrap().remove(field)),
            value => message[field] = value,
        }
        message
    };
    assert_eq!(publish("inventory:updates", &good).await.0, 200);
    for (message, pointer) in [
        (broken("stock_quantity", json!("3")), "/data/stock_quantity"),
        (broken("action", json!("lost")), "/data/action"),
        (broken("sku", Value::Null), "/data/sku"),
        (broken("timestamp", json!("noon")), "/data/timestamp"),
    ] {
        let (status, problem) = publish("inventory:updates", &message).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!(pointer)), "{problem}");
    }
    // Types that the channel does not know, and channels of nobody's feed, are free.
    for (channel, message) in [
        ("inventory:updates", json!({"message_type": "of_a_back_end"})),
        ("inventory:updates", json!([1, 2])),
        ("some:channel", broken("sku", Value::Null)),
    ] {
        assert_eq!(publish(channel, &message).await.0, 200, "{channel} {message}");
    }
}

#[test]
fn how_strict_it_is_can_be_set() {
    let check = |messages| Check::new(&ContractOptions { messages }).unwrap();
    let (partial, foreign) = (br#"{"message_type":"stock_alert"}"#, br#"{"message_type":"x"}"#);
    let pointers = |strictness, data: &[u8]| {
        let misfits = check(strictness).check("stock:alerts", data).err().unwrap_or_default();
        misfits.into_iter().map(|misfit| misfit.pointer).collect::<Vec<_>>()
    };
    assert!(pointers(Strictness::Off, partial).is_empty());
    assert!(pointers(Strictness::Known, partial).contains(&"/alert_level".to_owned()));
    assert!(pointers(Strictness::Known, foreign).is_empty());
    assert_eq!(pointers(Strictness::Strict, foreign), ["/message_type"]);
    assert_eq!(pointers(Strictness::Strict, b"7"), ["/message_type"]);
}

/// Unoptimized, with room for a busy machine; docs/PERFORMANCE.md has the real figures.
#[test]
fn a_check_costs_little_and_a_free_channel_nothing() {
    let check = Check::new(&ContractOptions::default()).unwrap();
    let message = contract::message_schema("price_update")["examples"][0].to_string();
    let time = |channel: &str| {
        let started = Instant::now();
        (0..1000).for_each(|_| check.check(channel, message.as_bytes()).unwrap());
        started.elapsed() / 1000
    };
    let (known, free) = (time("price:updates"), time("some:channel"));
    println!("a check takes {known:?}, of a free channel {free:?}");
    assert!(known < Duration::from_millis(5) && free < Duration::from_micros(50), "{known:?} {free:?}");
}

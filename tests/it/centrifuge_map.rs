//! Maps of the Centrifuge protocol: pages while others write, what was missed, keys that end, nodes and restarts.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::centrifuge_kit::{Client, Kind, Raw, api, server};
use crate::support::{Fanfare, Redis, Settings};

const MAPS: &str = r#"
[[namespaces]]
name = "board"
subscription_type = "map"
allow_subscribe_for_client = true
allow_tags_filter = true
map = { mode = "persistent", stream_size = 200, allow_publish_for_subscriber = true, allow_remove_for_subscriber = true }

[[namespaces]]
name = "cursors"
subscription_type = "map"
allow_subscribe_for_client = true
map = { mode = "ephemeral", key_ttl_ms = 1000, client_key = "user_id", allow_publish_for_client = true }

[[namespaces]]
name = "seats"
subscription_type = "map"
allow_subscribe_for_client = true
map = { mode = "recoverable", key_ttl_ms = 1500, max_keys = 3 }

[[namespaces]]
name = "room"
allow_subscribe_for_client = true
map_clients_presence_channel_prefix = "clients:"
map_users_presence_channel_prefix = "users:"

[[namespaces]]
name = "clients"
subscription_type = "map_clients"
allow_subscribe_for_client = true

[[namespaces]]
name = "users"
subscription_type = "map_users"
allow_subscribe_for_client = true
"#;

async fn write(fanfare: &Fanfare, channel: &str, key: &str, data: Value) -> Value {
    let told = api(fanfare, "map_publish", json!({"channel": channel, "key": key, "data": data})).await;
    assert!(told["offset"].as_u64().unwrap() > 0, "{told}");
    told
}

/// The whole state, by the server API.
async fn state(fanfare: &Fanfare, channel: &str) -> BTreeMap<String, Value> {
    let (mut all, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let page = api(fanfare, "map_read_state", json!({"channel": channel, "cursor": cursor})).await;
        for one in page["publications"].as_array().unwrap() {
            all.insert(one["key"].as_str().unwrap().to_owned(), one["data"].clone());
        }
        cursor = page["cursor"].as_str().unwrap().to_owned();
        if cursor.is_empty() {
            return all;
        }
    }
}

fn apply(map: &mut BTreeMap<String, Value>, publications: &Value) {
    for one in publications.as_array().into_iter().flatten() {
        let key = one["key"].as_str().unwrap().to_owned();
        if one["removed"] == true { _ = map.remove(&key) } else { _ = map.insert(key, one["data"].clone()) }
    }
}

/// Pages of the state while keys come, change and go on another node; then what is live.
async fn pages(reader: &Fanfare, writer: &Fanfare) {
    for n in 0..250 {
        write(writer, "board:a", &format!("k{n:03}"), json!({"n": n})).await;
    }
    let mut client = Raw::connected(reader).await;
    let wrong = client.subscribe(json!({"channel": "board:a"})).await;
    assert_eq!(wrong["error"]["code"], 103, "it is no stream");
    let (mut map, mut cursor, mut frozen) = (BTreeMap::new(), String::new(), None);
    let live = loop {
        let request = json!({"channel": "board:a", "type": 1, "phase": 2, "limit": 100, "cursor": cursor});
        let page = client.subscribe(request).await;
        apply(&mut map, &page["state"]);
        if page["phase"].is_null() {
            break page;
        }
        assert_eq!(page["state"].as_array().unwrap().len(), 100, "{page}");
        let position = (page["epoch"].clone(), page["offset"].clone());
        assert_eq!(*frozen.get_or_insert(position.clone()), position, "of the first page");
        cursor = page["cursor"].as_str().unwrap().to_owned();
        // Before and behind the cursor.
        write(writer, "board:a", "k000", json!({"after": cursor})).await;
        write(writer, "board:a", &format!("k099-{}", cursor.len()), json!("new")).await;
        write(writer, "board:a", "k240", json!({"after": cursor})).await;
        api(writer, "map_remove", json!({"channel": "board:a", "key": "k050"})).await;
    };
    assert_eq!((&live["type"], &live["recoverable"]), (&json!(1), &json!(true)));
    apply(&mut map, &live["publications"]);
    assert_eq!(map, state(writer, "board:a").await);
    assert!(!map.contains_key("k050"));
    // Live, without a hole behind the reply.
    write(writer, "board:a", "k001", json!("changed")).await;
    api(writer, "map_remove", json!({"channel": "board:a", "key": "k002"})).await;
    let next = live["offset"].as_u64().unwrap() + 1;
    let heard = client.hear().await;
    let expected = json!({"data": "changed", "offset": next, "key": "k001"});
    assert_eq!(heard["push"]["pub"], expected);
    let heard = client.hear().await;
    assert_eq!(heard["push"]["pub"], json!({"data": null, "offset": next + 1, "key": "k002", "removed": true}));
    let stats = api(writer, "map_stats", json!({"channel": "board:a"})).await;
    assert_eq!(stats["num_keys"], state(reader, "board:a").await.len());

    // What was missed: by pages, live with the last one.
    for n in 0..150 {
        write(writer, "board:a", "k001", json!(n)).await;
    }
    let mut other = Raw::connected(reader).await;
    let request = |offset: u64| json!({"channel": "board:a", "type": 1, "phase": 1, "recover": true, "limit": 100, "epoch": live["epoch"], "offset": offset});
    let page = other.subscribe(request(next + 1)).await;
    assert_eq!((&page["phase"], &page["offset"]), (&json!(1), &json!(next + 101)), "{page}");
    let page = other.subscribe(request(next + 101)).await;
    assert_eq!((&page["phase"], &page["recovered"]), (&Value::Null, &json!(true)), "{page}");
    assert_eq!(page["publications"].as_array().unwrap().len(), 50);
    assert_eq!(page["offset"], next + 151);
    // Too long ago, and another numbering.
    let mut late = Raw::connected(reader).await;
    assert_eq!(late.subscribe(request(1)).await["error"]["code"], 112);
    let mut wrong = request(next + 101);
    wrong["epoch"] = json!("othernum");
    assert_eq!(late.subscribe(wrong).await["error"]["code"], 112);
}

#[tokio::test]
async fn pages_and_changes_make_the_map_within_the_process() {
    let fanfare = server(Settings::new(), MAPS).await;
    pages(&fanfare, &fanfare).await;
}

#[tokio::test]
async fn pages_and_changes_make_the_map_between_nodes() {
    let redis = Redis::start().await;
    let reader = server(Settings::new().redis(&redis), MAPS).await;
    let writer = server(Settings::new().redis(&redis), MAPS).await;
    pages(&reader, &writer).await;
}

/// Keys end, also those whose node has died; a change can be bound to conditions.
#[tokio::test]
async fn keys_end_and_that_is_told() {
    let redis = Redis::start().await;
    let reader = server(Settings::new().redis(&redis), MAPS).await;
    let mut writer = server(Settings::new().redis(&redis), MAPS).await;
    let mut client = Raw::connected(&reader).await;
    let empty = client.subscribe(json!({"channel": "seats:a", "type": 1, "phase": 2})).await;
    assert_eq!((&empty["state"], &empty["recoverable"]), (&Value::Null, &json!(true)), "{empty}");
    write(&writer, "seats:a", "1", json!("ann")).await;
    writer.kill9();
    assert_eq!(client.hear().await["push"]["pub"]["data"], "ann");
    let gone = client.hear().await;
    assert_eq!((&gone["push"]["pub"]["key"], &gone["push"]["pub"]["removed"]), (&json!("1"), &json!(true)), "{gone}");
    assert_eq!(state(&reader, "seats:a").await, BTreeMap::new());

    let put = |key: &str, more: Value| {
        let mut body = json!({"channel": "seats:b", "key": key, "data": {}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let why = |told: &Value| told["suppress_reason"].as_str().unwrap_or("").to_owned();
    for (key, more, expected) in [
        ("1", json!({"key_mode": "if_exists"}), "key_not_found"),
        ("1", json!({"key_mode": "if_new", "version": 5}), ""),
        ("1", json!({"key_mode": "if_new"}), "key_exists"),
        ("1", json!({"version": 5}), "version"),
        ("1", json!({"version": 6}), ""),
        ("2", json!({"idempotency_key": "x"}), ""),
        ("2", json!({"idempotency_key": "x"}), "idempotency"),
        ("3", json!({}), ""),
    ] {
        let told = api(&reader, "map_publish", put(key, more.clone())).await;
        assert_eq!(why(&told), expected, "{more} {told}");
        assert_eq!(told["suppressed"] == true, !expected.is_empty());
    }
    assert_eq!(api(&reader, "map_publish", put("4", json!({}))).await["error"]["code"], 106, "no more than three");
    let told = api(&reader, "map_remove", json!({"channel": "seats:b", "key": "9"})).await;
    assert_eq!(why(&told), "key_not_found");
    assert_eq!(api(&reader, "map_clear", json!({"channel": "seats:b"})).await, json!({}));
    assert_eq!(state(&reader, "seats:b").await, BTreeMap::new());
    let past = api(&reader, "map_read_stream", json!({"channel": "seats:b", "limit": -1})).await;
    let past = past["publications"].as_array().unwrap();
    assert_eq!(past.len(), 7, "four written, three removed: {past:?}");
    assert_eq!(past[6], json!({"key": "3", "offset": 7, "removed": true}));
    assert_eq!(api(&reader, "map_stats", json!({"channel": "room:a"})).await["error"]["code"], 108);
    let plain = json!({"channels": ["seats:b"], "data": 1});
    assert_eq!(api(&reader, "broadcast", plain).await["responses"][0]["error"]["code"], 107, "it has no key");
}

/// The official client: what it is told, what it writes, and what it has after the server was killed.
#[tokio::test]
async fn the_official_client_keeps_a_map() {
    let redis = Redis::start().await;
    let mut fanfare = server(Settings::new().redis(&redis), MAPS).await;
    let other = server(Settings::new().redis(&redis), MAPS).await;
    for n in 0..230 {
        write(&other, "board:js", &format!("k{n:03}"), json!({"n": n})).await;
    }
    let mut clients = Vec::new();
    for kind in [Kind::Js, Kind::JsProtobuf, Kind::JsHttpStream, Kind::JsSse] {
        let mut client = Client::connected(kind, &fanfare, "ann").await;
        let call = json!({"call": "subscribe_map", "channel": "board:js", "options": {"mapPageSize": 100}});
        client.call(call).await.unwrap();
        let sync = client.event("sync").await;
        let entries = sync["entries"].as_array().unwrap();
        assert_eq!(entries.len(), 230, "{kind:?}");
        assert!(entries.iter().any(|one| one["key"] == "k229" && one["data"] == json!({"n": 229})));
        clients.push(client);
    }
    let call = json!({"call": "map_publish", "channel": "board:js", "key": "mine", "data": {"text": "日本"}});
    clients[1].call(call).await.unwrap();
    clients[2].call(json!({"call": "map_remove", "channel": "board:js", "key": "k000"})).await.unwrap();
    for client in &mut clients {
        let told = client.event("update").await;
        assert_eq!((&told["key"], &told["data"]["text"]), (&json!("mine"), &json!("日本")), "{told}");
        assert_eq!(told["info"]["user"], "ann");
        let told = client.event("update").await;
        assert_eq!((&told["key"], &told["removed"]), (&json!("k000"), &json!(true)), "{told}");
    }
    fanfare.kill9();
    write(&other, "board:js", "k001", json!("while it was away")).await;
    fanfare.restart().await;
    for client in &mut clients {
        client.event("subscribed").await;
        let told = client.event("update").await;
        assert_eq!((&told["key"], &told["data"]), (&json!("k001"), &json!("while it was away")));
    }
    // More than the stream keeps: from scratch.
    fanfare.kill9();
    for n in 0..250 {
        write(&other, "board:js", "k002", json!(n)).await;
    }
    fanfare.restart().await;
    for client in &mut clients {
        let sync = client.event("sync").await;
        let entries = sync["entries"].as_array().unwrap();
        assert_eq!(entries.len(), 230);
        assert!(entries.iter().any(|one| one["key"] == "k002" && one["data"] == 249));
    }
}

#[tokio::test]
async fn an_ephemeral_map_has_no_numbers_and_each_writes_its_own_key() {
    let fanfare = server(Settings::new(), MAPS).await;
    let mut client = Client::connected(Kind::Js, &fanfare, "ann").await;
    client.call(json!({"call": "subscribe_map", "channel": "cursors:a"})).await.unwrap();
    assert_eq!(client.event("subscribed").await["recoverable"], json!(false));
    assert_eq!(client.event("sync").await["entries"], json!([]));
    let mut other = Client::connected(Kind::JsProtobuf, &fanfare, "bob").await;
    let call = json!({"call": "map_publish", "channel": "cursors:a", "key": "ann", "data": {"x": 1}});
    other.call(call).await.unwrap();
    let told = client.event("update").await;
    assert_eq!((&told["key"], &told["offset"]), (&json!("bob"), &Value::Null), "{told}");
    let remove = json!({"call": "map_remove", "channel": "cursors:a", "key": "bob"});
    assert_eq!(other.call(remove).await, Err(json!(103)));
    let told = client.event("update").await;
    assert_eq!((&told["key"], &told["removed"]), (&json!("bob"), &json!(true)), "its time is over: {told}");
}

#[tokio::test]
async fn maps_tell_who_is_on_a_channel() {
    let redis = Redis::start().await;
    let fanfare = server(Settings::new().redis(&redis), MAPS).await;
    let other = server(Settings::new().redis(&redis), MAPS).await;
    let mut watcher = Client::connected(Kind::Js, &fanfare, "zoe").await;
    for (channel, kind) in [("clients:room:a", 2), ("users:room:a", 3)] {
        let options = json!({"mapPresenceType": kind});
        watcher.call(json!({"call": "subscribe_map", "channel": channel, "options": options})).await.unwrap();
        assert_eq!(watcher.event("sync").await["entries"], json!([]));
    }
    let mut ann = Client::connected(Kind::JsProtobuf, &other, "ann").await;
    ann.subscribe("room:a", json!({})).await;
    let mut told = [watcher.event("update").await, watcher.event("update").await];
    told.sort_by_key(|one| one["channel"].to_string());
    assert_eq!(told[0]["info"]["user"], "ann", "{told:?}");
    assert_eq!((&told[0]["key"], &told[1]["key"]), (&told[0]["info"]["client"], &json!("ann")));
    drop(ann);
    let gone = watcher.event("update").await;
    assert_eq!((&gone["key"], &gone["removed"]), (&told[0]["key"], &json!(true)), "{gone}");
    assert_eq!(
        state(&fanfare, "users:room:a").await.into_keys().collect::<Vec<_>>(),
        ["ann"],
        "until its time is over"
    );
    assert_eq!(state(&fanfare, "clients:room:a").await, BTreeMap::new());
}

/// Patches to what the key was before: smaller than the whole, and the same in the end, whoever joins while others write.
#[tokio::test]
async fn changes_come_as_patches_to_the_same_key() {
    let redis = Redis::start().await;
    let namespace = r#"
[[namespaces]]
name = "notes"
subscription_type = "map"
allow_subscribe_for_client = true
allow_tags_filter = true
allowed_delta_types = ["fossil"]
map = { mode = "persistent", stream_size = 500 }
"#;
    let reader = server(Settings::new().redis(&redis), namespace).await;
    let writer = server(Settings::new().redis(&redis), namespace).await;
    let text = |n: usize| json!({"text": format!("{}{n}{}", "日本語 ".repeat(60), "and so on ".repeat(60)), "n": n});
    for key in 0..120 {
        write(&writer, "notes:a", &format!("k{key}"), text(key)).await;
    }
    let mut raw = Raw::connected(&reader).await;
    let request = json!({"channel": "notes:a", "type": 1, "phase": 2, "delta": "fossil", "limit": 200});
    let live = raw.subscribe(request.clone()).await;
    assert_eq!(live["delta"], true);
    let first = &live["state"][0];
    let whole: Value = serde_json::from_str(first["data"].as_str().unwrap()).unwrap();
    assert_eq!(format!("k{}", whole["n"]), first["key"].as_str().unwrap());
    for (key, n, patched) in
        [("k1", 200, false), ("k2", 200, false), ("k1", 201, true), ("new", 1, false), ("new", 2, true)]
    {
        write(&writer, "notes:a", key, text(n)).await;
        let told = raw.hear().await["push"]["pub"].take();
        assert_eq!((&told["key"], told["delta"] == true), (&json!(key), patched), "{n}");
        let length = told["data"].as_str().unwrap().len();
        assert!(if patched { length < 60 } else { length > 1_000 }, "{told}");
    }
    api(&writer, "map_remove", json!({"channel": "notes:a", "key": "new"})).await;
    let told = raw.hear().await["push"]["pub"].take();
    assert_eq!((&told["removed"], &told["delta"], &told["data"]), (&json!(true), &Value::Null, &Value::Null), "{told}");
    write(&writer, "notes:a", "new", text(3)).await;
    assert_eq!(raw.hear().await["push"]["pub"]["delta"], Value::Null, "there is nothing before it");
    raw.ask(json!({"unsubscribe": {"channel": "notes:a"}})).await;
    let mut filtered = request;
    filtered["tf"] = json!({"key": "a", "cmp": "nex"});
    assert_eq!(raw.subscribe(filtered).await["delta"], Value::Null, "not with a filter");

    let (node, url) = (writer.url(), format!("{}/api/map_publish", writer.url()));
    let writing = tokio::spawn(async move {
        let http = reqwest::Client::new();
        for n in 1_000..1_600 {
            let body = json!({"channel": "notes:a", "key": format!("k{}", n % 7), "data": text(n)});
            let sent = http.post(&url).header("x-api-key", crate::centrifuge_kit::API_KEY).json(&body).send().await;
            assert_eq!(sent.unwrap().status(), 200, "{node}");
        }
    });
    let mut clients = Vec::new();
    for kind in [Kind::Js, Kind::JsProtobuf, Kind::JsHttpStream, Kind::Js] {
        let mut client = Client::connected(kind, &reader, "ann").await;
        let options = json!({"delta": "fossil", "mapPageSize": 100});
        client.call(json!({"call": "subscribe_map", "channel": "notes:a", "options": options})).await.unwrap();
        let sync = client.event("sync").await["entries"].take();
        let mut map = BTreeMap::new();
        apply(&mut map, &sync);
        clients.push((client, map));
    }
    writing.await.unwrap();
    write(&writer, "notes:a", "end", json!("of it")).await;
    let expected = state(&reader, "notes:a").await;
    for (client, map) in &mut clients {
        while !map.contains_key("end") {
            let told = client.event("update").await;
            apply(map, &json!([told]));
        }
        assert_eq!(*map, expected);
    }
}

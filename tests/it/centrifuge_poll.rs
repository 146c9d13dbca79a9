//! Shared poll: a real back end, official clients, signatures, nodes, and back ends that fail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::centrifuge_kit::{Client, Kind, Raw, api, now_s, server};
use crate::stream_ws::metric;
use crate::support::{Fanfare, PATIENCE, Redis, Settings, eventually};

const POLL_SECRET: &str = "what signs lists of keys in the tests";

/// A service that is polled.
struct Backend {
    url: String,
    desk: Arc<Mutex<Desk>>,
    asked: mpsc::Receiver<Value>,
}

#[derive(Default)]
struct Desk {
    items: BTreeMap<String, Value>,
    epoch: String,
    /// What it does instead of answering.
    mood: &'static str,
    listener: Option<mpsc::Sender<Value>>,
}

fn hmac(key: &str, text: &[u8]) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key.as_bytes());
    hex(aws_lc_rs::hmac::sign(&key, text).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn answer(State(desk): State<Arc<Mutex<Desk>>>, headers: HeaderMap, body: Bytes) -> Response {
    let at = headers["x-fanfare-timestamp"].to_str().unwrap();
    let signed = hmac(POLL_SECRET, &[at.as_bytes(), b".", &body].concat());
    assert_eq!(headers["x-fanfare-signature"].to_str().unwrap(), format!("sha256={signed}"));
    let asked: Value = serde_json::from_slice(&body).unwrap();
    let (mood, answer) = {
        let desk = desk.lock().unwrap();
        let keys = asked["items"].as_array().unwrap().iter().map(|item| item["key"].as_str().unwrap());
        let items: Vec<&Value> = keys.filter_map(|key| desk.items.get(key)).collect();
        let answer = json!({"result": {"items": items, "epoch": desk.epoch}});
        desk.listener.as_ref().unwrap().try_send(asked).unwrap();
        (desk.mood, answer)
    };
    match mood {
        "busy" => json!({"error": {"code": 1000, "message": "busy"}}).to_string().into_response(),
        "broken" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "elsewhere" => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/")]).into_response(),
        "garbled" => "<html>".into_response(),
        "endless" => vec![b' '; 17 << 20].into_response(),
        "silent" => std::future::pending().await,
        _ => answer.to_string().into_response(),
    }
}

impl Backend {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/poll", listener.local_addr().unwrap());
        let (sender, asked) = mpsc::channel(100_000);
        let desk = Arc::new(Mutex::new(Desk { listener: Some(sender), ..Desk::default() }));
        let router = Router::new().fallback(answer).with_state(desk.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, desk, asked }
    }

    /// From now on this is what it says of a key.
    fn say(&self, key: &str, mut item: Value) {
        item["key"] = key.into();
        self.desk.lock().unwrap().items.insert(key.to_owned(), item);
    }

    fn mood(&self, mood: &'static str) {
        self.desk.lock().unwrap().mood = mood;
    }

    /// The next question: the keys, and the versions where it is told any.
    async fn asked(&mut self) -> Vec<(String, Option<u64>)> {
        let asked = timeout(PATIENCE, self.asked.recv()).await.unwrap().unwrap();
        let item = |item: &Value| (item["key"].as_str().unwrap().to_owned(), item["version"].as_u64());
        let mut items: Vec<_> = asked["items"].as_array().unwrap().iter().map(item).collect();
        items.sort();
        items
    }

    /// Until it is asked for these, and nothing else.
    async fn asked_for(&mut self, wanted: &[(&str, Option<u64>)]) {
        let wanted: Vec<_> = wanted.iter().map(|(key, version)| ((*key).to_owned(), *version)).collect();
        while self.asked().await != wanted {}
    }

    /// Settings under which it is polled.
    fn settings(&self) -> String {
        let Self { url, .. } = self;
        format!(
            r#"
[centrifuge]
allow_anonymous = true

[centrifuge.shared_poll]
hmac_secret_key = "{POLL_SECRET}"
allow_private = true

[[namespaces]]
name = "votes"
subscription_type = "shared_poll"
allow_subscribe_for_client = true
allow_subscribe_for_anonymous = true
presence = true
allow_presence_for_subscriber = true
shared_poll = {{ endpoint = "{url}", refresh_interval_ms = 100 }}

[[namespaces]]
name = "scores"
subscription_type = "shared_poll"
allow_subscribe_for_client = true
shared_poll = {{ endpoint = "{url}", mode = "versioned", refresh_interval_ms = 100, publish_enabled = true, max_keys_per_connection = 3, channel_shutdown_delay_ms = 0 }}

[[namespaces]]
name = "rare"
subscription_type = "shared_poll"
allow_subscribe_for_client = true
shared_poll = {{ endpoint = "{url}", mode = "versioned", refresh_interval_ms = 3600000, refresh_batch_size = 2, keep_latest_data = true, timeout_ms = 500 }}
"#
        )
    }
}

/// As back ends make it.
fn signature(channel: &str, user: &str, keys: &[&str], ends_s: u64) -> String {
    use aws_lc_rs::digest::{SHA256, digest};
    let issued = now_s();
    let hash = hex(digest(&SHA256, keys.join("\0").as_bytes()).as_ref());
    let signed = [&issued.to_string(), &ends_s.to_string(), user, channel, &hash].join("\0");
    format!("{issued}:{ends_s}:{}", hmac(POLL_SECRET, signed.as_bytes()))
}

fn batch(channel: &str, keys: &[(&str, u64)], ends_s: u64) -> Value {
    let names: Vec<&str> = keys.iter().map(|(key, _)| *key).collect();
    let items: Vec<Value> = keys.iter().map(|(key, version)| json!({"key": key, "version": version})).collect();
    json!({"signature": signature(channel, "ann", &names, ends_s), "items": items})
}

fn track(channel: &str, batches: &[Value]) -> Value {
    json!({"sub_refresh": {"channel": channel, "type": 1, "track": batches}})
}

async fn tracking(kind: Kind, fanfare: &Fanfare, channel: &str, keys: &[&str], ttl: u64) -> Client {
    let mut client = Client::connected(kind, fanfare, "ann").await;
    let call = json!({"call": "subscribe_poll", "channel": channel, "secret": POLL_SECRET, "user": "ann", "ttl": ttl});
    client.call(call).await.unwrap();
    client.event("subscribed").await;
    client.call(json!({"call": "track", "channel": channel, "keys": keys})).await.unwrap();
    client
}

/// The official client in every way that it has, with a back end that only says what is.
#[tokio::test]
async fn the_official_client_is_told_what_changes_of_its_keys() {
    let mut backend = Backend::start().await;
    let mut fanfare = server(Settings::new(), &backend.settings()).await;
    backend.say("a", json!({"data": {"votes": 1}}));
    backend.say("b", json!({"data": "日本\n"}));
    let mut clients = Vec::new();
    for kind in [Kind::Js, Kind::JsProtobuf, Kind::JsHttpStream, Kind::JsHttpStreamProtobuf, Kind::JsSse] {
        let mut client = tracking(kind, &fanfare, "votes:x", &["a", "b"], 600).await;
        let mut told = [client.event("update").await, client.event("update").await];
        told.sort_by_key(|one| one["key"].to_string());
        assert_eq!((&told[0]["data"], &told[1]["data"]), (&json!({"votes": 1}), &json!("日本\n")), "{kind:?}");
        clients.push(client);
    }
    // One question for all of them.
    backend.asked_for(&[("a", None), ("b", None)]).await;
    backend.say("a", json!({"data": {"votes": 2}}));
    for client in &mut clients {
        let told = client.event("update").await;
        assert_eq!((&told["key"], &told["data"]), (&json!("a"), &json!({"votes": 2})), "only what has changed");
    }
    for client in &mut clients {
        let left = client.call(json!({"call": "untrack", "channel": "votes:x", "keys": ["b"]})).await.unwrap();
        assert_eq!(left, json!(["a"]));
    }
    backend.asked_for(&[("a", None)]).await;
    // Another server, and so other versions: each has all that is new once.
    fanfare.kill9();
    backend.say("a", json!({"data": {"votes": 3}}));
    fanfare.restart().await;
    for client in &mut clients {
        client.event("subscribed").await;
        let told = client.event("update").await;
        assert_eq!((&told["key"], &told["data"]), (&json!("a"), &json!({"votes": 3})));
    }
    backend.say("a", json!({"removed": true}));
    for client in &mut clients {
        let told = client.event("update").await;
        assert_eq!((&told["key"], &told["removed"]), (&json!("a"), &json!(true)));
        client.call(json!({"call": "unsubscribe", "channel": "votes:x"})).await.unwrap();
        client.event("unsubscribed").await;
    }
    assert!(metric(&fanfare, r#"shared_poll_items_total{result="removed"}"#).await >= 1.0);
    assert!(metric(&fanfare, "shared_poll_deliveries_total").await >= 10.0);
}

/// A back end that says versions: who comes back is told only what it has not, and signatures are renewed or end.
#[tokio::test]
async fn versions_spare_who_comes_back_and_signatures_end() {
    let mut backend = Backend::start().await;
    let mut fanfare = server(Settings::new(), &backend.settings()).await;
    for (key, version) in [("a", 5), ("b", 7)] {
        backend.say(key, json!({"data": {"key": key}, "version": version}));
    }
    let mut client = tracking(Kind::Js, &fanfare, "scores:x", &["a", "b"], 600).await;
    let mut told = [client.event("update").await, client.event("update").await];
    told.sort_by_key(|one| one["key"].to_string());
    assert_eq!((&told[0]["version"], &told[1]["version"]), (&json!(5), &json!(7)));
    backend.asked_for(&[("a", Some(5)), ("b", Some(7))]).await;
    fanfare.kill9();
    backend.say("b", json!({"data": {"key": "newer"}, "version": 8}));
    fanfare.restart().await;
    client.event("subscribed").await;
    assert_eq!(client.next("update").await["data"]["key"], "newer");
    backend.asked_for(&[("a", Some(5)), ("b", Some(8))]).await;

    // A signature for two seconds: the client asks for the next in time, and what it gets no more is told as removed.
    let mut brief = Client::connected(Kind::JsProtobuf, &fanfare, "ann").await;
    let call = json!({
        "call": "subscribe_poll", "channel": "scores:y", "secret": POLL_SECRET, "user": "ann", "ttl": 2, "revoked": ["b"],
    });
    brief.call(call).await.unwrap();
    brief.event("subscribed").await;
    brief.call(json!({"call": "track", "channel": "scores:y", "keys": ["a", "b"]})).await.unwrap();
    assert_eq!(brief.next("signature wanted").await["keys"], json!(["a", "b"]));
    brief.next("update").await;
    brief.next("update").await;
    assert_eq!(brief.next("signature wanted").await["keys"], json!(["a", "b"]));
    let told = brief.next("update").await;
    assert_eq!((&told["key"], &told["removed"]), (&json!("b"), &json!(true)));
    backend.asked_for(&[("a", Some(5))]).await;
    // What the client does not renew, the server forgets.
    let mut raw = Raw::connected(&fanfare).await;
    raw.subscribe(json!({"channel": "rare:z", "type": 4})).await;
    let ends_s = now_s() + 600;
    let reply =
        raw.ask(track("rare:z", &[batch("rare:z", &[("a", 0)], ends_s), batch("rare:z", &[("b", 0)], 0)])).await;
    let ttl = reply["sub_refresh"]["ttl"].as_u64().unwrap();
    assert!(reply["sub_refresh"]["expires"] == true && (595..=600).contains(&ttl), "the first to end: {reply}");
}

/// Who may not is refused with the documented code, and nothing is tracked.
#[tokio::test]
async fn only_what_is_signed_is_tracked() {
    let mut backend = Backend::start().await;
    let fanfare = server(Settings::new(), &backend.settings()).await;
    let mut client = Raw::connected(&fanfare).await;
    let soon = now_s() + 600;
    let code = |reply: &Value| reply["error"]["code"].as_u64().unwrap_or_else(|| panic!("{reply}"));
    let one = |keys: &[(&str, u64)]| track("scores:x", &[batch("scores:x", keys, soon)]);
    assert_eq!(code(&client.ask(one(&[("a", 0)])).await), 103, "not on the channel");
    for (request, expected) in [
        (json!({"channel": "scores:x"}), 103),
        (json!({"channel": "scores:x", "type": 1, "phase": 2}), 103),
        (json!({"channel": "chat:x", "type": 4}), 103),
        (json!({"channel": "$scores:x", "type": 4}), 103),
        (json!({"channel": "scores:x", "type": 4, "tf": {"key": "a", "cmp": "ex"}}), 107),
    ] {
        assert_eq!(code(&client.subscribe(request.clone()).await), expected, "{request}");
    }
    let subscribed = client.subscribe(json!({"channel": "scores:x", "type": 4})).await;
    assert_eq!(subscribed, json!({"type": 4}), "no epoch yet");
    client.subscribe(json!({"channel": "chat:x"})).await;
    let versionless = client.subscribe(json!({"channel": "votes:x", "type": 4})).await;
    assert_eq!(versionless["epoch"].as_str().unwrap().len(), 8);
    let present = client.ask(json!({"presence_stats": {"channel": "votes:x"}})).await;
    assert_eq!(present["presence_stats"]["num_clients"], 1, "{present}");

    let good = batch("scores:x", &[("a", 0)], soon);
    let other_keys = json!({"signature": good["signature"], "items": [{"key": "b"}]});
    let of_nobody = json!({"signature": signature("scores:x", "", &["a"], soon), "items": [{"key": "a"}]});
    let unsigned = json!({"items": [{"key": "a"}]});
    let many = [("a", 0), ("b", 0), ("c", 0), ("d", 0)];
    let nul = [("a\0b", 0)];
    let long = "k".repeat(256);
    for (command, expected) in [
        (track("scores:x", &[other_keys]), 103),
        (track("scores:x", &[of_nobody]), 103),
        (track("scores:x", &[unsigned]), 103),
        (track("scores:x", &[batch("scores:y", &[("a", 0)], soon)]), 103),
        (track("scores:x", &[good.clone(), batch("scores:x", &[("b", 0)], now_s() - 6)]), 109),
        (track("scores:x", &[]), 107),
        (track("scores:x", &[json!({"signature": good["signature"]})]), 107),
        (one(&nul), 107),
        (one(&[(&*long, 0)]), 107),
        (one(&many), 106),
        (json!({"sub_refresh": {"channel": "scores:x", "type": 3}}), 107),
        (track("chat:x", &[batch("chat:x", &[("a", 0)], soon)]), 108),
        (json!({"publish": {"channel": "scores:x", "data": {}}}), 103),
        (json!({"publish": {"channel": "scores:x", "data": {}, "key": "a", "type": 1}}), 103),
        (json!({"history": {"channel": "scores:x", "limit": 1}}), 108),
        (json!({"presence": {"channel": "scores:x"}}), 108),
    ] {
        assert_eq!(code(&client.ask(command.clone()).await), expected, "{command}");
    }
    assert!(backend.asked.try_recv().is_err(), "all of them or none");
    // A connection's keys are counted over its channels.
    client.subscribe(json!({"channel": "scores:y", "type": 4})).await;
    let keys = [("a", 0), ("b", 0)];
    assert_eq!(client.ask(track("scores:y", &[batch("scores:y", &keys, soon)])).await["error"], Value::Null);
    assert_eq!(code(&client.ask(one(&keys)).await), 106);
    client.ask(json!({"unsubscribe": {"channel": "scores:y"}})).await;
    let late = now_s() - 4;
    let reply = client.ask(track("scores:x", &[batch("scores:x", &keys, late)])).await;
    assert_eq!(reply["sub_refresh"], json!({"expires": true}), "no longer than clocks differ");
    // Nobody in particular has a signature for nobody.
    let mut nobody = Raw { socket: fanfare.ws("/connection/websocket").await, id: 0 };
    nobody.ask(json!({"connect": {}})).await;
    nobody.subscribe(json!({"channel": "votes:x", "type": 4})).await;
    assert_eq!(code(&nobody.ask(track("votes:x", &[batch("votes:x", &keys, soon)])).await), 103);
    let items: Vec<_> = keys.iter().map(|(key, _)| json!({"key": key})).collect();
    let signed = json!({"signature": signature("votes:x", "", &["a", "b"], 0), "items": items});
    assert_eq!(nobody.ask(track("votes:x", &[signed])).await["sub_refresh"], json!({}), "without end");
}

/// What is published of a key is told at once, on every node, and in no other order than its versions.
#[tokio::test]
async fn what_is_published_reaches_all_nodes() {
    let redis = Redis::start().await;
    let mut backend = Backend::start().await;
    let first = server(Settings::new().redis(&redis), &backend.settings()).await;
    let second = server(Settings::new().redis(&redis), &backend.settings()).await;
    let mut clients = Vec::new();
    for node in [&first, &second] {
        let mut client = tracking(Kind::Js, node, "scores:x", &["a"], 600).await;
        client.event("signature wanted").await;
        clients.push(client);
    }
    let publish = |version: u64, epoch: &str| {
        let body =
            json!({"channel": "scores:x", "key": "a", "data": {"n": version}, "version": version, "epoch": epoch});
        api(&first, "shared_poll_publish", body)
    };
    // Both are known to the back end, and so tracked.
    backend.asked_for(&[("a", Some(0))]).await;
    eventually("both nodes ask", || async {
        let of = async |node: &Fanfare| metric(node, r#"shared_poll_requests_total{outcome="ok"}"#).await;
        (of(&first).await > 0.0 && of(&second).await > 0.0).then_some(())
    })
    .await;
    for version in [3, 2, 3, 4] {
        assert_eq!(publish(version, "").await, json!({}));
    }
    for client in &mut clients {
        assert_eq!(client.next("update").await["version"], 3);
        assert_eq!(client.next("update").await["data"], json!({"n": 4}));
    }
    // The publisher begins anew: so does everybody.
    assert_eq!(publish(1, "second life").await, json!({}));
    backend.desk.lock().unwrap().epoch = "second life".to_owned();
    backend.say("a", json!({"data": {"n": "anew"}, "version": 1}));
    for client in &mut clients {
        assert_eq!(client.next("subscribing").await["code"], 2500);
        client.event("subscribed").await;
    }
    // Those versions end at 4, so the next life's are told from 5 on to whoever did not know of lives before.
    backend.say("a", json!({"data": {"n": "anew"}, "version": 5}));
    for client in &mut clients {
        assert_eq!(client.event("update").await["data"]["n"], "anew");
    }
    // From then on a new life is seen.
    {
        let mut desk = backend.desk.lock().unwrap();
        desk.epoch = "third life".to_owned();
        desk.items.insert("a".to_owned(), json!({"key": "a", "data": {"n": "third"}, "version": 1}));
    }
    for client in &mut clients {
        assert_eq!(client.event("subscribing").await["code"], 2500);
        let told = client.event("update").await;
        assert_eq!((&told["data"]["n"], &told["version"]), (&json!("third"), &json!(1)));
    }
    let call = |channel: &str, version: u64, key: &str| {
        let body = json!({"channel": channel, "key": key, "data": 1, "version": version});
        let first = &first;
        async move { api(first, "shared_poll_publish", body).await["error"]["code"].clone() }
    };
    assert_eq!(call("votes:x", 1, "a").await, 108, "it has no versions");
    assert_eq!(call("chat:x", 1, "a").await, 108, "it is not polled");
    assert_eq!(call("scores:x", 0, "a").await, 107);
    assert_eq!(call("scores:x", 1, "").await, 107);
    let plain = json!({"channels": ["scores:x"], "data": 1});
    assert_eq!(api(&first, "broadcast", plain).await["responses"][0]["error"]["code"], 107, "it has no key");
    // What the raw publish puts there is for nobody.
    let raw = json!({"channel": "scores:x", "data": {"n": "raw"}});
    assert_ne!(api(&second, "publish", raw).await["offset"], Value::Null);
    assert_eq!(publish(2, "third life").await, json!({}));
    for client in &mut clients {
        assert_eq!(client.next("update").await["data"], json!({"n": 2}));
    }
}

/// A back end that fails in every way is asked again at the next round, and what it has said stays.
#[tokio::test]
async fn a_back_end_may_fail() {
    let mut backend = Backend::start().await;
    let fanfare = server(Settings::new(), &backend.settings()).await;
    backend.say("a", json!({"data": 1}));
    let mut client = tracking(Kind::Js, &fanfare, "votes:x", &["a"], 0).await;
    assert_eq!(client.event("update").await["data"], 1);
    for (mood, outcome) in [
        ("busy", "refused"),
        ("broken", "refused"),
        ("elsewhere", "refused"),
        ("garbled", "not_understood"),
        ("endless", "too_large"),
        ("silent", "timeout"),
    ] {
        let line = format!(r#"shared_poll_requests_total{{outcome="{outcome}"}}"#);
        let before = metric(&fanfare, &line).await;
        backend.mood(mood);
        eventually(mood, || async { (metric(&fanfare, &line).await > before).then_some(()) }).await;
    }
    backend.say("a", json!({"data": 2}));
    backend.mood("");
    assert_eq!(client.next("update").await["data"], 2);
    // At once and in batches, whenever the next round is; and from what is kept for whoever comes later.
    for key in ["a", "b", "c"] {
        backend.say(key, json!({"data": key, "version": 4}));
    }
    let mut many = tracking(Kind::Js, &fanfare, "rare:x", &["a", "b", "c"], 0).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(many.event("update").await["data"].as_str().unwrap().to_owned());
    }
    told.sort();
    assert_eq!(told, ["a", "b", "c"]);
    backend.asked_for(&[("a", Some(0)), ("b", Some(0))]).await;
    backend.asked_for(&[("c", Some(0))]).await;
    backend.mood("silent");
    let mut raw = Raw::connected(&fanfare).await;
    raw.subscribe(json!({"channel": "rare:x", "type": 4})).await;
    let reply = raw.ask(track("rare:x", &[batch("rare:x", &[("a", 4), ("b", 3), ("c", 0)], 0)])).await;
    let items = json!([{"data": "b", "key": "b", "version": 4}, {"data": "c", "key": "c", "version": 4}]);
    assert_eq!(reply["sub_refresh"], json!({"items": items}), "what it has not");
}

/// What cannot work is refused before a port is bound, and secrets are not printed.
#[tokio::test]
async fn settings_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fanfare.toml");
    let check = async |secret: &str, more: &str, poll: &str| {
        let text = format!(
            "[centrifuge.shared_poll]\nhmac_secret_key = \"{secret}\"\n{more}\n[[namespaces]]\nname = \"votes\"\n\
             subscription_type = \"shared_poll\"\nshared_poll = {{ {poll} }}\n"
        );
        std::fs::write(&file, text).unwrap();
        let (status, said) =
            Fanfare::run(&Settings::new(), &["check-config", "--config", file.to_str().unwrap()]).await;
        assert!(!said.contains("s3cret"), "{said}");
        (status.success(), said)
    };
    let public = "endpoint = \"https://shop.example/poll\"";
    assert!(check("s3cret", "", public).await.0);
    for (secret, more, poll, why) in [
        ("", "", public.to_owned(), "hmac_secret_key is not set"),
        ("s3cret", "concurrency_limit = 0", public.to_owned(), "concurrency_limit is at least 1"),
        ("s3cret", "", String::new(), "is not an http or https URL"),
        ("s3cret", "", "endpoint = \"http://127.0.0.1:1/\"".to_owned(), "points into a private network"),
        ("s3cret", "", format!("{public}, refresh_interval_ms = 1"), "refresh_interval_ms is at least 10"),
        ("s3cret", "", format!("{public}, refresh_batch_size = 0"), "refresh_batch_size"),
        ("s3cret", "", format!("{public}, publish_enabled = true"), "mode = \"versioned\""),
        ("s3cret", "", format!("{public}, proxy_name = \"x\""), "proxy_name"),
    ] {
        let (good, said) = check(secret, more, &poll).await;
        assert!(!good && said.contains(why), "{why}: {said}");
    }
}

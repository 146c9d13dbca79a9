//! The server API and the namespaces in every particular: over nodes, and beside what the clients see.

use serde_json::{Value, json};

use crate::centrifuge_kit::{API_KEY, Client, Kind, now_s, server, token};
use crate::support::{Fanfare, Redis, Settings, eventually};

/// Whether messages are held to their schemas.
const SCHEMAS: &str = "FANFARE__CONTRACT__MESSAGES";

async fn api(fanfare: &Fanfare, method: &str, body: Value) -> Value {
    let request = reqwest::Client::new().post(format!("{}/api/{method}", fanfare.url())).header("x-api-key", API_KEY);
    let answer = request.json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{method} {body}");
    answer.json().await.unwrap()
}

#[tokio::test]
async fn every_node_knows_of_the_others_and_of_their_channels() {
    let redis = Redis::start().await;
    let near = server(Settings::new().redis(&redis), "").await;
    let mut far = server(Settings::new().redis(&redis), "").await;
    let mut ann = Client::connected(Kind::Js, &near, "ann").await;
    let mut bob = Client::connected(Kind::Js, &far, "bob").await;
    ann.subscribe("chat:room", json!({})).await;
    bob.subscribe("chat:room", json!({})).await;
    bob.subscribe("chat:far", json!({})).await;
    let expected = json!({"chat:far": {"num_clients": 1}, "chat:room": {"num_clients": 2}});
    for node in [&near, &far] {
        eventually("all channels", async || {
            let told = api(node, "channels", json!({"pattern": "chat:*"})).await;
            (told["result"]["channels"] == expected).then_some(())
        })
        .await;
        let info = eventually("both nodes", async || {
            let info = api(node, "info", json!({})).await;
            let nodes = info["result"]["nodes"].as_array().unwrap().clone();
            (nodes.len() == 2 && nodes.iter().all(|node| node["num_clients"] == 1)).then_some(nodes)
        })
        .await;
        assert_ne!(info[0]["uid"], info[1]["uid"]);
    }
    far.terminate().await;
    eventually("one node", async || {
        let info = api(&near, "info", json!({})).await;
        (info["result"]["nodes"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
    let told = api(&near, "channels", json!({"pattern": "chat:r*"})).await;
    assert_eq!(told["result"]["channels"], json!({"chat:room": {"num_clients": 1}}));
}

#[tokio::test]
async fn a_publication_is_kept_once_or_not_at_all_as_it_is_said() {
    let redis = Redis::start().await;
    for settings in [Settings::new(), Settings::new().redis(&redis)] {
        let fanfare = server(settings.env(SCHEMAS, "known"), "").await;
        let mut client = Client::connected(Kind::Js, &fanfare, "ann").await;
        client.subscribe("chat:room", json!({"recoverable": true})).await;
        let publish = async |more: Value| {
            let mut body = json!({"channel": "chat:room"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            api(&fanfare, "publish", body).await["result"]["offset"].clone()
        };
        assert_eq!(publish(json!({"b64data": "eyJuIjoxfQ==", "version": 2, "version_epoch": "a"})).await, 1);
        assert_eq!(publish(json!({"data": {"n": 0}, "version": 2, "version_epoch": "a"})).await, 1, "not newer");
        assert_eq!(publish(json!({"data": {"n": 2}, "version": 10, "version_epoch": "a"})).await, 2);
        assert_eq!(publish(json!({"data": {"n": 3}, "version": 1, "version_epoch": "b"})).await, 3);
        publish(json!({"data": {"n": 4}, "skip_history": true})).await;
        assert_eq!(publish(json!({"data": {"n": 5}, "delta": true})).await, 4);
        for (n, offset) in [(1, json!(1)), (2, json!(2)), (3, json!(3)), (4, Value::Null), (5, json!(4))] {
            let heard = client.event("publication").await;
            assert_eq!((&heard["data"]["n"], &heard["offset"]), (&json!(n), &offset), "{heard}");
        }
        let body = json!({"channels": ["chat:room", "chat:other"], "data": {"n": 6.50}, "idempotency_key": "k"});
        let first = api(&fanfare, "broadcast", body.clone()).await;
        assert_eq!(api(&fanfare, "broadcast", body).await, first, "once a channel");
        let past = api(&fanfare, "history", json!({"channel": "chat:room", "limit": -1})).await;
        let numbers: Vec<&Value> =
            past["result"]["publications"].as_array().unwrap().iter().map(|one| &one["data"]["n"]).collect();
        assert_eq!(numbers, [&json!(1), &json!(2), &json!(3), &json!(5), &json!(6.5)]);
        for wrong in [
            json!({"channel": "chat:room"}),
            json!({"channel": "chat:room", "b64data": "*"}),
            json!({"channel": "chat:room", "b64data": "AAE="}),
            json!({"channel": "chat:room", "data": 1, "skip_history": true, "version": 3}),
            json!({"channel": "price:updates", "data": {"message_type": "price_update"}}),
        ] {
            let request = reqwest::Client::new().post(format!("{}/api/publish", fanfare.url()));
            let answer = request.header("x-api-key", API_KEY).json(&wrong).send().await.unwrap();
            assert_eq!(answer.status(), 422, "{wrong}");
            let mut wrong = wrong;
            wrong["channels"] = json!([wrong["channel"]]);
            let answer = api(&fanfare, "broadcast", wrong.clone()).await;
            let (whole, each) = (&answer["error"]["code"], &answer["result"]["responses"][0]["error"]["code"]);
            assert!(*whole == 107 || *each == 107, "{wrong}: {answer}");
        }
    }
}

#[tokio::test]
async fn an_order_reaches_one_session_and_brings_what_it_says() {
    let fanfare = server(Settings::new(), "").await;
    let claims = || json!({"sub": "ann", "exp": now_s() + 600});
    let mut one_way = fanfare.ws("/connection/uni_websocket").await;
    let mut other = fanfare.ws("/connection/uni_websocket").await;
    let mut sessions = Vec::new();
    for socket in [&mut one_way, &mut other] {
        use futures_util::SinkExt;
        socket.send(json!({"token": token(claims())}).to_string().into()).await.unwrap();
        let connect = crate::support::next_json(socket).await;
        assert!(connect["connect"]["node"].is_string(), "{connect}");
        sessions.push(connect["connect"]["session"].as_str().unwrap().to_owned());
    }
    let order = json!({"user": "ann", "channel": "chat:room", "session": sessions[1], "b64info": "eyJhIjoxfQ==",
        "b64data": "eyJiIjoyfQ==", "override": {"force_recovery": {"value": true}}});
    assert_eq!(api(&fanfare, "subscribe", order).await, json!({"result": {}}));
    let push = crate::support::next_json(&mut other).await;
    assert_eq!((&push["subscribe"]["data"], &push["subscribe"]["recoverable"]), (&json!({"b": 2}), &json!(true)));
    let present = api(&fanfare, "presence", json!({"channel": "chat:room"})).await;
    let present: Vec<Value> = present["result"]["presence"].as_object().unwrap().values().cloned().collect();
    assert_eq!((present.len(), &present[0]["chan_info"]), (1, &json!({"a": 1})), "{present:?}");
    for wrong in [json!({"override": {"presence": 1}}), json!({"b64info": "*"}), json!({"channel": "unknown:x"})] {
        let mut order = json!({"user": "ann", "channel": "chat:room"});
        order.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        assert!(api(&fanfare, "subscribe", order).await["error"]["code"].is_u64(), "{wrong}");
    }
}

const MORE: &str = r#"
[[namespaces]]
name = "brief"
history_size = 10
history_ttl_s = 1
allow_recovery = true
allow_subscribe_for_client = true
allow_history_for_client = true
channel_regex = "^[a-z]+$"
delta_publish = true

[[namespaces]]
name = "state"
history_size = 10
history_ttl_s = 300
force_recovery = true
force_recovery_mode = "cache"
auto_cache_recover = true
allow_subscribe_for_client = true
"#;

#[tokio::test]
async fn a_namespace_keeps_what_it_says_and_no_longer() {
    let redis = Redis::start().await;
    for settings in [Settings::new(), Settings::new().redis(&redis)] {
        let fanfare = server(settings, MORE).await;
        let mut client = Client::connected(Kind::Js, &fanfare, "ann").await;
        let at = api(&fanfare, "publish", json!({"channel": "brief:room", "data": 1})).await;
        let epoch = at["result"]["epoch"].clone();
        let history = async || api(&fanfare, "history", json!({"channel": "brief:room", "limit": 10})).await;
        eventually("it is forgotten", async || {
            let past = history().await;
            assert_eq!(past["result"]["offset"], 1);
            (past["result"]["publications"] == json!([])).then_some(())
        })
        .await;
        let since = json!({"since": {"offset": 0, "epoch": epoch}, "recoverable": true});
        let subscribed = client.subscribe("brief:room", since).await;
        assert_eq!((&subscribed["wasRecovering"], &subscribed["recovered"]), (&json!(true), &json!(false)));
        for (channel, code) in [("brief:Room1", 107), ("brief:room", 0)] {
            let answer = api(&fanfare, "history", json!({"channel": channel, "limit": 1})).await;
            assert_eq!(answer["error"]["code"].as_u64().unwrap_or(0), code, "{channel}");
        }
        api(&fanfare, "publish", json!({"channel": "state:x", "data": {"n": 1}})).await;
        api(&fanfare, "publish", json!({"channel": "state:x", "data": {"n": 2}})).await;
        client.subscribe("state:x", json!({})).await;
        assert_eq!(client.event("publication").await["data"]["n"], 2, "the newest, without having asked");
    }
}

#[tokio::test]
async fn clients_publish_on_feeds_what_the_schema_says() {
    let fanfare = server(Settings::new().env(SCHEMAS, "known"), "").await;
    let mut client = Client::start(Kind::Js, &fanfare.ws_url("/connection/websocket")).await;
    let manager = token(json!({"sub": "ann", "role": "manager", "exp": now_s() + 600}));
    client.call(json!({"call": "connect", "token": manager})).await.unwrap();
    client.event("connected").await;
    let broken = json!({"message_type": "price_update", "sku": 7});
    assert_eq!(client.publish("price:updates", broken).await, Err(json!(107)));
    client.publish("price:updates", json!({"anything": "else"})).await.unwrap();
}

#[tokio::test]
async fn another_claim_may_name_the_user() {
    let settings = Settings::new().env("FANFARE__AUTH__USER_ID_CLAIM", "uid");
    let fanfare = server(settings, "").await;
    let mut client = Client::start(Kind::Python, &fanfare.ws_url("/connection/websocket")).await;
    let claims = json!({"uid": "ann", "sub": "somebody else", "exp": now_s() + 600});
    client.call(json!({"call": "connect", "token": token(claims)})).await.unwrap();
    client.event("connected").await;
    client.subscribe("chat:room", json!({})).await;
    let present = api(&fanfare, "presence", json!({"channel": "chat:room"})).await;
    let present: Vec<Value> = present["result"]["presence"].as_object().unwrap().values().cloned().collect();
    assert_eq!(present[0]["user"], "ann");
}

#[tokio::test]
async fn an_option_that_is_not_known_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (lines, named) in [
        ("history_meta_ttl = \"1h\"", "history_meta_ttl"),
        ("history_ttl = \"1h\"", "history_ttl"),
        ("subscribe_proxy_enabled = true", "subscribe_proxy_enabled"),
        ("subscription_type = 4", "subscription_type"),
        ("channel_regex = \"(\"", "channel_regex"),
        ("auto_cache_recover = true", "auto_cache_recover"),
    ] {
        let file = folder.path().join("settings.toml");
        std::fs::write(&file, format!("[[namespaces]]\nname = \"chat\"\n{lines}\n")).unwrap();
        let program = std::process::Command::new(env!("CARGO_BIN_EXE_fanfare"))
            .args(["check-config", "--config", file.to_str().unwrap()])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&program.stderr);
        assert!(!program.status.success() && told.contains(named), "{lines}: {told}");
    }
}

//! Official clients, JavaScript and Python, JSON and Protobuf, against the real server.

use serde_json::json;

use crate::centrifuge_kit::{API_KEY, Client, Kind, now_s, server, token};
use crate::support::{Redis, Settings};

async fn publish(fanfare: &crate::support::Fanfare, body: serde_json::Value) {
    let url = format!("{}/api/publish", fanfare.url());
    let answer = reqwest::Client::new().post(url).header("x-api-key", API_KEY).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}

#[tokio::test]
async fn every_client_talks_and_hears() {
    let fanfare = server(Settings::new(), "").await;
    for kind in Kind::ALL {
        let mut client = Client::connected(kind, &fanfare, "ann").await;
        let subscribed = client.subscribe("chat:room", json!({})).await;
        assert_eq!(subscribed["wasRecovering"], false, "{kind:?}");
        client.publish("chat:room", json!({"text": "こんにちは", "kind": format!("{kind:?}")})).await.unwrap();
        let heard = client.event("publication").await;
        assert_eq!(heard["data"]["text"], "こんにちは", "{kind:?}: {heard}");
        assert_eq!(heard["info"]["user"], "ann");
        assert!(heard["offset"].as_u64().unwrap() > 0);

        let present = client.call(json!({"call": "presence", "channel": "chat:room"})).await.unwrap();
        let present: Vec<_> = present.as_object().unwrap().values().collect();
        assert_eq!(present.len(), 1, "{present:?}");
        assert_eq!(present[0]["user"], "ann");
        let stats = client.call(json!({"call": "presence_stats", "channel": "chat:room"})).await.unwrap();
        assert_eq!(stats, json!({"numClients": 1, "numUsers": 1}));
        let history =
            client.call(json!({"call": "history", "channel": "chat:room", "options": {"limit": 1, "reverse": true}}));
        let history = history.await.unwrap();
        assert_eq!(history["publications"][0]["data"]["kind"], format!("{kind:?}"));

        assert_eq!(client.call(json!({"call": "rpc", "method": "nothing"})).await, Err(json!(104)));
        client.call(json!({"call": "unsubscribe", "channel": "chat:room"})).await.unwrap();
        client.event("unsubscribed").await;
        client.subscribe("chat:room", json!({})).await;
        client.call(json!({"call": "disconnect"})).await.unwrap();
        assert_eq!(client.event("disconnected").await["code"], 0);
    }
}

#[tokio::test]
async fn feeds_are_channels_with_the_positions_of_plain_clients() {
    let fanfare = server(Settings::new(), "").await;
    let mut client = Client::connected(Kind::Js, &fanfare, "ann").await;
    let subscribed = client.subscribe("price:updates", json!({"recoverable": true})).await;
    assert_eq!(subscribed["recoverable"], true);
    client.subscribe("price:sku.A-1", json!({})).await;
    publish(&fanfare, json!({"channel": "price:updates", "data": {"sku": "B-2", "n": 1}})).await;
    publish(&fanfare, json!({"channel": "price:updates", "data": {"sku": "A-1", "n": 2}, "tags": {"category": "x"}}))
        .await;
    let mut heard = Vec::new();
    for _ in 0..3 {
        let one = client.next("publication").await;
        heard.push((
            one["channel"].as_str().unwrap().to_owned(),
            one["offset"].as_u64().unwrap(),
            one["data"]["n"].as_u64().unwrap(),
        ));
    }
    heard.sort();
    let expected = [("price:sku.A-1", 2, 2), ("price:updates", 1, 1), ("price:updates", 2, 2)];
    assert_eq!(heard, expected.map(|(channel, offset, n)| (channel.to_owned(), offset, n)));
    for (channel, code) in [
        ("unknown:x", 102),
        ("private:x", 103),
        ("system:control", 102),
        ("presence:price:updates", 102),
        ("$chat:x", 103),
    ] {
        let mut other = Client::connected(Kind::Js, &fanfare, "ann").await;
        other.call(json!({"call": "subscribe", "channel": channel})).await.unwrap();
        assert_eq!(other.event("unsubscribed").await["code"], code, "{channel}");
    }
}

#[tokio::test]
async fn a_restart_with_redis_loses_nothing() {
    let redis = Redis::start().await;
    let mut fanfare = server(Settings::new().redis(&redis), "").await;
    let other = server(Settings::new().redis(&redis), "").await;
    let mut clients = Vec::new();
    for kind in Kind::ALL {
        let mut client = Client::connected(kind, &fanfare, "ann").await;
        client.subscribe("price:updates", json!({"recoverable": true})).await;
        clients.push(client);
    }
    publish(&fanfare, json!({"channel": "price:updates", "data": {"n": 1}})).await;
    for client in &mut clients {
        assert_eq!(client.event("publication").await["data"]["n"], 1);
    }
    fanfare.kill9();
    for n in 2..=4 {
        publish(&other, json!({"channel": "price:updates", "data": {"n": n}})).await;
    }
    fanfare.restart().await;
    for client in &mut clients {
        let subscribed = client.event("subscribed").await;
        assert_eq!((&subscribed["wasRecovering"], &subscribed["recovered"]), (&json!(true), &json!(true)));
        for n in 2..=4 {
            assert_eq!(client.event("publication").await["data"]["n"], n);
        }
    }
    publish(&other, json!({"channel": "price:updates", "data": {"n": 5}})).await;
    for client in &mut clients {
        assert_eq!(client.event("publication").await["data"]["n"], 5);
    }
}

#[tokio::test]
async fn joins_and_leaves_are_told() {
    let fanfare = server(Settings::new(), "").await;
    for kind in [Kind::Js, Kind::PythonProtobuf] {
        let channel = format!("chat:{kind:?}");
        let mut first = Client::connected(kind, &fanfare, "ann").await;
        let options = if matches!(kind, Kind::Js) { json!({"joinLeave": true}) } else { json!({"join_leave": true}) };
        first.subscribe(&channel, options).await;
        assert_eq!(first.event("join").await["info"]["user"], "ann", "one's own, too");
        let mut second = Client::connected(Kind::Js, &fanfare, "bob").await;
        second.subscribe(&channel, json!({})).await;
        assert_eq!(first.event("join").await["info"]["user"], "bob");
        drop(second);
        assert_eq!(first.event("leave").await["info"]["user"], "bob");
    }
}

#[tokio::test]
async fn patches_bring_the_same_as_the_whole() {
    let fanfare = server(Settings::new(), "").await;
    for kind in Kind::ALL {
        let channel = format!("chat:delta{kind:?}");
        let mut patched = Client::connected(kind, &fanfare, "ann").await;
        patched.subscribe(&channel, json!({"delta": "fossil", "recoverable": true})).await;
        let mut whole = Client::connected(kind, &fanfare, "bob").await;
        whole.subscribe(&channel, json!({})).await;
        for n in 0..6 {
            let fields: serde_json::Map<_, _> =
                (0..40).map(|i| (format!("field日{i}"), json!(i * (n % 2 + 1)))).collect();
            publish(&fanfare, json!({"channel": channel, "data": {"n": n, "fields": fields, "end": n * n}})).await;
            let (a, b) = (patched.event("publication").await, whole.event("publication").await);
            assert_eq!((&a["data"], &a["offset"]), (&b["data"], &b["offset"]), "{kind:?}");
            assert_eq!(a["data"]["n"], n);
        }
    }
}

#[tokio::test]
async fn only_what_passes_the_filter_comes() {
    let fanfare = server(Settings::new(), "").await;
    let mut client = Client::connected(Kind::Js, &fanfare, "ann").await;
    let filter = json!({"op": "or", "nodes": [
        {"key": "level", "cmp": "gte", "val": "10"}, {"key": "kind", "cmp": "sw", "val": "al"}]});
    client.subscribe("chat:room", json!({"tagsFilter": filter})).await;
    for (n, tags) in
        [(1, json!({"level": "9"})), (2, json!({"level": "10"})), (3, json!({"kind": "alert"})), (4, json!({}))]
    {
        publish(&fanfare, json!({"channel": "chat:room", "data": {"n": n}, "tags": tags})).await;
    }
    assert_eq!(client.next("publication").await["data"]["n"], 2);
    assert_eq!(client.next("publication").await["data"]["n"], 3);
}

#[tokio::test]
async fn tokens_end_and_are_renewed() {
    let fanfare = server(Settings::new(), "[centrifuge]\nexpired_after_ms = 1500\n").await;
    let mut client = Client::start(Kind::Js, &fanfare.ws_url("/connection/websocket")).await;
    // The library asks for a new token when the old one ends.
    let soon = || token(json!({"sub": "ann", "exp": now_s() + 2}));
    let later = token(json!({"sub": "ann", "exp": now_s() + 600}));
    client.call(json!({"call": "token", "token": later})).await.unwrap();
    client.call(json!({"call": "connect", "token": soon(), "refresh": true})).await.unwrap();
    client.next("connecting").await;
    client.next("connected").await;
    client.next("token wanted").await;
    client.subscribe("chat:room", json!({})).await;

    let mut lazy = Client::start(Kind::Js, &fanfare.ws_url("/connection/websocket")).await;
    lazy.call(json!({"call": "connect", "token": soon()})).await.unwrap();
    lazy.event("connected").await;
    assert_eq!(lazy.event("disconnected").await["reason"], "unauthorized", "it has no way to get a new token");

    // A subscription token of its own, and its end.
    let token_of =
        |exp: u64| token(json!({"sub": "ann", "channel": "private:x", "exp": exp, "info": {"role": "guest"}}));
    client.call(json!({"call": "token", "token": token_of(now_s() + 2)})).await.unwrap();
    client.call(json!({"call": "token", "token": token_of(now_s() + 600)})).await.unwrap();
    client.call(json!({"call": "subscribe", "channel": "private:x", "refresh": true})).await.unwrap();
    client.event("token wanted").await;
    client.event("subscribed").await;
    client.next("token wanted").await;
    publish(&fanfare, json!({"channel": "private:x", "data": {"n": 1}})).await;
    assert_eq!(client.next("publication").await["data"]["n"], 1, "still there");
}

#[tokio::test]
async fn every_client_renews_its_tokens() {
    let fanfare = server(Settings::new(), "[centrifuge]\nexpired_after_ms = 3000\n").await;
    let renews = async |kind: Kind| {
        let channel = format!("private:{kind:?}");
        let mut client = Client::start(kind, &fanfare.ws_url("/connection/websocket")).await;
        let of_connection = |life_s: u64| token(json!({"sub": "ann", "exp": now_s() + life_s}));
        client.call(json!({"call": "token", "token": of_connection(600)})).await.unwrap();
        client.call(json!({"call": "connect", "token": of_connection(2), "refresh": true})).await.unwrap();
        client.event("connected").await;
        client.event("token wanted").await;
        let of_channel = |life_s: u64| token(json!({"sub": "ann", "channel": channel, "exp": now_s() + life_s}));
        for life_s in [2, 600] {
            client.call(json!({"call": "token", "token": of_channel(life_s)})).await.unwrap();
        }
        client.call(json!({"call": "subscribe", "channel": channel, "refresh": true})).await.unwrap();
        client.event("token wanted").await;
        client.event("subscribed").await;
        client.next("token wanted").await;
        // Longer than either of the first tokens would have held, with the time that is given to renew it.
        let until = now_s() + 6;
        let mut n = 0;
        while now_s() < until {
            n += 1;
            publish(&fanfare, json!({"channel": channel, "data": {"n": n}})).await;
            assert_eq!(client.next("publication").await["data"]["n"], n, "{kind:?}");
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    futures_util::future::join_all(Kind::ALL.map(renews)).await;
}

#[tokio::test]
async fn every_client_is_told_why_it_ends() {
    let fanfare = server(Settings::new(), "").await;
    let order = async |method: &str, body: serde_json::Value| {
        let request = reqwest::Client::new().post(format!("{}/api/{method}", fanfare.url()));
        let answer = request.header("x-api-key", API_KEY).json(&body).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), r#"{"result":{}}"#, "{method}");
    };
    for kind in Kind::ALL {
        let mut client = Client::connected(kind, &fanfare, "ann").await;
        client.subscribe("chat:room", json!({})).await;
        order("unsubscribe", json!({"user": "ann", "channel": "chat:room"})).await;
        let end = client.event("unsubscribed").await;
        assert_eq!((&end["code"], &end["reason"]), (&json!(2000), &json!("server unsubscribe")), "{kind:?}");
        // Those that are to come back do, by themselves. After 3005 and 3014 they want a new token first.
        for code in [3001, 3006, 3008, 3009, 3010, 3011, 3012, 3013, 4000] {
            let disconnect = json!({"user": "ann", "disconnect": {"code": code, "reason": "so it is"}});
            order("disconnect", disconnect).await;
            let end = client.event("connecting").await;
            assert_eq!((&end["code"], &end["reason"]), (&json!(code), &json!("so it is")), "{kind:?}");
            client.event("connected").await;
        }
        order("disconnect", json!({"user": "ann"})).await;
        let end = client.event("disconnected").await;
        assert_eq!((&end["code"], &end["reason"]), (&json!(3503), &json!("force disconnect")), "{kind:?}");
        for code in [3500, 3501, 3502, 3504, 3505, 3506, 3507, 3508, 3509, 4500] {
            let mut client = Client::connected(kind, &fanfare, "bob").await;
            order("disconnect", json!({"user": "bob", "disconnect": {"code": code, "reason": "for good"}})).await;
            assert_eq!(client.event("disconnected").await["code"], code, "{kind:?}");
        }
    }
}

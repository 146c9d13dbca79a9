//! What breaks the protocol ends the connection with its code; what a command lacks is answered with its number.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::centrifuge_kit::{now_s, server, token};
use crate::support::{Fanfare, PATIENCE, Settings, WebSocket};

async fn connected(fanfare: &Fanfare, claims: Value) -> WebSocket {
    let mut socket = fanfare.ws("/connection/websocket").await;
    say(&mut socket, json!({"id": 1, "connect": {"token": token(claims)}})).await;
    let reply = hear(&mut socket).await;
    assert!(reply["connect"]["client"].is_string(), "{reply}");
    socket
}

fn ann() -> Value {
    json!({"sub": "ann", "exp": now_s() + 600})
}

async fn say(socket: &mut WebSocket, command: Value) {
    socket.send(Message::text(command.to_string())).await.unwrap();
}

/// The next message that is no ping.
async fn hear(socket: &mut WebSocket) -> Value {
    loop {
        let heard = hear_any(socket).await;
        if heard != json!({}) {
            return heard;
        }
    }
}

async fn hear_any(socket: &mut WebSocket) -> Value {
    match timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap() {
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The code and reason of the close frame, whatever comes before it.
async fn closed(socket: &mut WebSocket) -> (u16, String) {
    loop {
        match timeout(PATIENCE, socket.next()).await.unwrap() {
            Some(Ok(Message::Close(Some(frame)))) => return (frame.code.into(), frame.reason.to_string()),
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_connection() {
    let fanfare = server(Settings::new(), "").await;
    let bad = (3501, "bad request".to_owned());
    for first in ["", "nonsense", "[]", r#"{"id":1,"subscribe":{"channel":"x"}}"#, "{}", r#"{"id":1,"connect":{}}"#] {
        let mut socket = fanfare.ws("/connection/websocket").await;
        socket.send(Message::text(first)).await.unwrap();
        assert_eq!(closed(&mut socket).await, bad, "{first}");
    }
    let mut socket = fanfare.ws("/connection/websocket").await;
    say(&mut socket, json!({"id": 1, "connect": {"token": "a.b.c"}})).await;
    assert_eq!(closed(&mut socket).await, (3500, "invalid token".to_owned()));
    for (command, code) in [
        (json!({"id": 2, "connect": {}}), 3501),
        (json!({"id": 2}), 3501),
        (json!({}), 3501),
        (json!({"send": {"data": {}}}), 3508),
    ] {
        let mut socket = connected(&fanfare, ann()).await;
        say(&mut socket, command.clone()).await;
        assert_eq!(closed(&mut socket).await.0, code, "{command}");
    }
    let mut socket = connected(&fanfare, ann()).await;
    socket.send(Message::text(format!(r#"{{"id":2,"rpc":{{"data":"{}"}}}}"#, "x".repeat(70_000)))).await.unwrap();
    assert_eq!(closed(&mut socket).await.0, 1009);
    let mut socket = connected(&fanfare, ann()).await;
    let other = token(json!({"sub": "bob", "channel": "private:x"}));
    say(&mut socket, json!({"id": 2, "subscribe": {"channel": "private:x", "token": other}})).await;
    assert_eq!(closed(&mut socket).await.0, 3500, "another's token");
}

#[tokio::test]
async fn what_a_command_lacks_is_answered() {
    let fanfare = server(Settings::new(), "[centrifuge]\nmax_channels = 2\n").await;
    let mut socket = fanfare.ws("/connection/websocket").await;
    say(&mut socket, json!({"id": 1, "connect": {"token": token(json!({"sub": "ann", "exp": now_s() - 60}))}})).await;
    assert_eq!(hear(&mut socket).await, json!({"id": 1, "error": {"code": 109, "message": "token expired"}}));
    say(&mut socket, json!({"id": 2, "connect": {}})).await;
    assert_eq!(closed(&mut socket).await.0, 3501);

    let mut socket = connected(&fanfare, ann()).await;
    let long = "x".repeat(256);
    for (id, (command, code)) in [
        (json!({"subscribe": {"channel": "unknown:x"}}), 102),
        (json!({"subscribe": {"channel": "private:x"}}), 103),
        (json!({"subscribe": {"channel": long}}), 107),
        (json!({"subscribe": {"channel": "chat:room", "tf": {"op": "xor"}}}), 107),
        (json!({"subscribe": {"channel": "private:x", "token": "no.token.this"}}), 103),
        (json!({"subscribe": {"channel": "chat:a", "recover": true, "epoch": "other", "flag": 2}}), 112),
        (json!({"publish": {"channel": "chat:room", "data": {}}}), 103),
        (json!({"publish": {"channel": "chat:room"}}), 107),
        (json!({"presence": {"channel": "private:x"}}), 108),
        (json!({"presence": {"channel": "chat:room"}}), 103),
        (json!({"history": {"channel": "news"}}), 108),
        (json!({"history": {"channel": "chat:room"}}), 103),
        (json!({"rpc": {"method": "x"}}), 104),
        (json!({"ping": {}}), 108),
    ]
    .into_iter()
    .enumerate()
    {
        let mut sent = command.clone();
        sent["id"] = json!(id + 2);
        say(&mut socket, sent).await;
        let reply = hear(&mut socket).await;
        assert_eq!((&reply["id"], &reply["error"]["code"]), (&json!(id + 2), &json!(code)), "{command}");
    }
    for (channel, answer) in [("chat:b", 0), ("chat:b", 105), ("chat:c", 0), ("chat:d", 106)] {
        say(&mut socket, json!({"id": 50, "subscribe": {"channel": channel}})).await;
        let reply = hear(&mut socket).await;
        assert_eq!(reply["error"]["code"].as_u64().unwrap_or(0), answer, "{channel}: {reply}");
    }
    say(
        &mut socket,
        json!({"id": 60, "history": {"channel": "chat:b", "since": {"offset": 0}, "limit": 1, "reverse": true}}),
    )
    .await;
    assert_eq!(hear(&mut socket).await["error"]["code"], 107);
}

#[tokio::test]
async fn time_ends_what_is_silent_or_over() {
    let more = "[centrifuge]\nstale_after_ms = 500\nexpired_after_ms = 200\nmax_commands_per_s = 20\n";
    let settings =
        Settings::new().env("FANFARE__STREAM__PING_INTERVAL_S", "2").env("FANFARE__STREAM__PONG_TIMEOUT_S", "1");
    let fanfare = server(settings, more).await;
    let mut stale = fanfare.ws("/connection/websocket").await;
    assert_eq!(closed(&mut stale).await.0, 3502);
    let mut silent = connected(&fanfare, ann()).await;
    assert_eq!(hear_any(&mut silent).await, json!({}), "a ping");
    assert_eq!(closed(&mut silent).await, (3012, "no pong".to_owned()));
    let mut over = connected(&fanfare, json!({"sub": "ann", "exp": now_s() + 1})).await;
    loop {
        match timeout(PATIENCE, over.next()).await.unwrap().unwrap().unwrap() {
            Message::Text(_) => say(&mut over, json!({})).await,
            Message::Close(Some(frame)) => break assert_eq!(u16::from(frame.code), 3005),
            other => panic!("{other:?}"),
        }
    }
    let mut hasty = connected(&fanfare, ann()).await;
    let many: Vec<String> = (2..100).map(|id| json!({"id": id, "rpc": {}}).to_string()).collect();
    hasty.send(Message::text(many.join("\n"))).await.unwrap();
    assert_eq!(closed(&mut hasty).await.0, 3013);
}

#[tokio::test]
async fn a_shutdown_is_told_and_the_one_way_hears_all() {
    let mut fanfare = server(Settings::new(), "").await;
    let claims = json!({"sub": "ann", "exp": now_s() + 600, "channels": ["private:x"]});
    let mut one_way = fanfare.ws("/connection/uni_websocket").await;
    say(&mut one_way, json!({"token": token(claims.clone())})).await;
    let first = hear(&mut one_way).await;
    assert!(first["connect"]["subs"]["private:x"].is_object(), "{first}");
    // It need not answer pings, and may: that ends nothing.
    say(&mut one_way, json!({})).await;
    let mut both = fanfare.ws("/connection/websocket").await;
    say(&mut both, json!({"id": 1, "connect": {"token": token(claims)}})).await;
    assert!(hear(&mut both).await["connect"]["subs"]["private:x"].is_object());
    let body = json!({"channel": "private:x", "data": {"n": 1}});
    let request = reqwest::Client::new().post(format!("{}/api/publish", fanfare.url()));
    let answer = request.header("x-api-key", crate::centrifuge_kit::API_KEY).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let publication = json!({"channel": "private:x", "pub": {"data": {"n": 1}, "offset": 1}});
    assert_eq!(hear(&mut one_way).await, publication);
    assert_eq!(hear(&mut both).await, json!({"push": publication}));
    let ended = tokio::spawn(async move { fanfare.terminate().await });
    assert_eq!(closed(&mut both).await, (3001, "shutdown".to_owned()));
    assert_eq!(closed(&mut one_way).await.0, 3001);
    assert!(ended.await.unwrap().success());
}

/// What a back end orders.
async fn order(fanfare: &Fanfare, method: &str, body: Value) {
    let request = reqwest::Client::new().post(format!("{}/api/{method}", fanfare.url()));
    let answer = request.header("x-api-key", crate::centrifuge_kit::API_KEY).json(&body).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["error"], Value::Null, "{method} {body}");
}

async fn subscribe(socket: &mut WebSocket, channel: &str) {
    say(socket, json!({"id": 7, "subscribe": {"channel": channel, "recoverable": true}})).await;
    let reply = hear(socket).await;
    assert!(reply["subscribe"].is_object(), "{reply}");
}

#[tokio::test]
async fn what_is_ordered_or_too_much_has_its_code() {
    let more = "[centrifuge]\nmax_connections_per_user = 2\nmax_channels = 2\n";
    let fanfare = server(Settings::new(), more).await;
    let mut one = connected(&fanfare, ann()).await;
    let mut two = connected(&fanfare, ann()).await;
    let mut third = fanfare.ws("/connection/websocket").await;
    say(&mut third, json!({"id": 1, "connect": {"token": token(ann())}})).await;
    assert_eq!(closed(&mut third).await, (3504, "connection limit".to_owned()));

    subscribe(&mut one, "chat:a").await;
    order(&fanfare, "unsubscribe", json!({"user": "ann", "channel": "chat:a"})).await;
    let unsubscribe = json!({"code": 2000, "reason": "server unsubscribe"});
    assert_eq!(hear(&mut one).await, json!({"push": {"channel": "chat:a", "unsubscribe": unsubscribe}}));
    order(&fanfare, "disconnect", json!({"user": "ann"})).await;
    assert_eq!(closed(&mut one).await, (3503, "force disconnect".to_owned()));
    assert_eq!(closed(&mut two).await.0, 3503);

    let many = json!({"sub": "bob", "exp": now_s() + 600, "channels": ["private:a", "private:b", "private:c"]});
    let mut greedy = fanfare.ws("/connection/websocket").await;
    say(&mut greedy, json!({"id": 1, "connect": {"token": token(many)}})).await;
    assert_eq!(closed(&mut greedy).await, (3505, "channel limit".to_owned()));

    // One way there are no errors: what is not permitted ends the connection.
    let claims = json!({"sub": "bob", "exp": now_s() + 600, "channels": ["private:a"]});
    let mut one_way = fanfare.ws("/connection/uni_websocket").await;
    let filter = json!({"key": "k", "cmp": "ex"});
    say(&mut one_way, json!({"token": token(claims), "subs": {"private:a": {"tf": filter}}})).await;
    assert_eq!(closed(&mut one_way).await, (3507, "permission denied".to_owned()));

    let claims = json!({"sub": "eve", "exp": now_s() + 600, "jti": "eves"});
    let mut revoked = connected(&fanfare, claims.clone()).await;
    let log_out = reqwest::Client::new().post(format!("{}/api/v1/auth/logout", fanfare.url()));
    let answer = log_out.bearer_auth(token(claims)).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    assert_eq!(closed(&mut revoked).await.0, 3500);
}

#[tokio::test]
async fn what_ends_by_time_has_its_code() {
    let fanfare = server(Settings::new(), "[centrifuge]\nexpired_after_ms = 200\n").await;
    let mut client = connected(&fanfare, ann()).await;
    let own = token(json!({"sub": "ann", "channel": "private:x", "exp": now_s() + 2}));
    say(&mut client, json!({"id": 2, "subscribe": {"channel": "private:x", "token": own}})).await;
    let reply = hear(&mut client).await;
    assert_eq!((&reply["subscribe"]["expires"], reply["subscribe"]["ttl"].is_u64()), (&json!(true), true), "{reply}");
    let unsubscribe = json!({"code": 2501, "reason": "subscription expired"});
    assert_eq!(hear(&mut client).await, json!({"push": {"channel": "private:x", "unsubscribe": unsubscribe}}));

    order(&fanfare, "subscribe", json!({"user": "ann", "channel": "private:y", "expire_at": now_s() + 1})).await;
    assert!(hear(&mut client).await["push"]["subscribe"].is_object());
    assert_eq!(closed(&mut client).await, (3006, "subscription expired".to_owned()));

    let mut client = connected(&fanfare, ann()).await;
    let over = token(json!({"sub": "ann", "channel": "private:x", "exp": now_s() + 60, "expire_at": now_s() - 60}));
    say(&mut client, json!({"id": 2, "subscribe": {"channel": "private:x", "token": over}})).await;
    assert_eq!(hear(&mut client).await["error"]["code"], 110);
    // A refresh with other channels, another user, or nothing new.
    for (claims, code) in [
        (json!({"sub": "ann", "exp": now_s() + 600, "channels": ["private:z"]}), 3010),
        (json!({"sub": "bob", "exp": now_s() + 600}), 3500),
        (json!({"sub": "ann", "exp": now_s() - 600}), 3005),
    ] {
        let mut client = connected(&fanfare, ann()).await;
        say(&mut client, json!({"id": 2, "refresh": {"token": token(claims)}})).await;
        assert_eq!(closed(&mut client).await.0, code);
    }
}

#[tokio::test]
async fn a_gap_is_told_to_who_can_come_back_and_ends_the_others() {
    let redis = crate::support::Redis::start().await;
    let fanfare = server(Settings::new().redis(&redis), "").await;
    let mut own = connected(&fanfare, ann()).await;
    subscribe(&mut own, "chat:room").await;
    let claims = json!({"sub": "bob", "exp": now_s() + 600, "channels": ["chat:room"]});
    let mut put = connected(&fanfare, claims).await;
    // The channel's numbering is lost, and with it what may have been missed.
    redis.command(&["DEL", "fanfare:{chat:room}:meta", "fanfare:{chat:room}:log"]).await;
    let unsubscribe = json!({"code": 2500, "reason": "insufficient state"});
    loop {
        let heard = hear(&mut own).await;
        if heard["push"]["unsubscribe"].is_object() {
            break assert_eq!(heard, json!({"push": {"channel": "chat:room", "unsubscribe": unsubscribe}}));
        }
    }
    // It cannot come back by itself, and is told one thing.
    let ended = loop {
        match timeout(PATIENCE, put.next()).await.unwrap() {
            Some(Ok(Message::Text(text))) => assert!(!text.contains("unsubscribe"), "{text}"),
            Some(Ok(Message::Close(Some(frame)))) => break (u16::from(frame.code), frame.reason.to_string()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ended, (3010, "insufficient state".to_owned()));
    subscribe(&mut own, "chat:room").await;
}

#[tokio::test]
async fn who_does_not_read_is_closed_as_slow() {
    let fanfare = server(Settings::new().env("FANFARE__STREAM__OUTBOX_BYTES", "65536"), "").await;
    let mut slow = connected(&fanfare, ann()).await;
    subscribe(&mut slow, "chat:room").await;
    // Until the sockets' own buffers and the outbox are full, and no more: the last word has to find its way out.
    let data = "x".repeat(60_000);
    let dropped = async || {
        let ledger = reqwest::Client::new().get(format!("{}/api/v1/ledger", fanfare.url()));
        let ledger = ledger.header("x-api-key", crate::centrifuge_kit::API_KEY).send().await.unwrap();
        ledger.json::<Value>().await.unwrap()["channels"]["chat:room"]["dropped"]["slow"].as_u64()
    };
    while dropped().await.is_none() {
        order(&fanfare, "publish", json!({"channel": "chat:room", "data": data})).await;
    }
    assert_eq!(closed(&mut slow).await.0, 3008);
}

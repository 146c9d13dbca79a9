//! Every channel, and what nobody must get there: over the Centrifuge protocol, and as a feed.

use std::collections::BTreeSet;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::auth_matrix::{SECRET, claims, sign, worthless};
use crate::support::{Fanfare, PATIENCE, Settings, WebSocket};

/// A key that may listen on one channel, and nothing else.
const SCOPED: &str = "key-for-one-channel-0123456789abcdef";
const MANAGER: &str = "manager-key-of-the-channels-0123456789abcdef";

/// Who may subscribe to a channel without a token for it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum For {
    /// Whoever may hear the feed.
    Feed,
    /// Whoever is known by name.
    Known,
    /// Nobody: a token for the channel is asked for.
    Token,
    /// Ann, who is named in it.
    Ann,
    /// Nobody at all: the server's own, or none that exists.
    Nobody,
}

const CHANNELS: &[(&str, For)] = &[
    ("inventory:updates", For::Feed),
    ("stock:alerts", For::Feed),
    ("price:updates", For::Feed),
    ("price:alerts", For::Feed),
    ("progress:events", For::Feed),
    ("match:notifications", For::Feed),
    ("batch:progress", For::Feed),
    ("system:notifications", For::Feed),
    ("price:sku.A-1", For::Feed),
    ("chat:room", For::Known),
    ("news", For::Known),
    ("chat:room#ann,eve", For::Ann),
    ("board:x", For::Known),
    ("votes:x", For::Known),
    ("polled:x", For::Token),
    ("$board:x", For::Token),
    ("$votes:x", For::Token),
    ("private:x", For::Token),
    ("$chat:x", For::Token),
    ("system:control", For::Nobody),
    ("presence:chat:room", For::Nobody),
    ("unknown:x", For::Nobody),
    ("price:nothing.A-1", For::Nobody),
];

const NAMESPACES: &str = r#"
[channel]
allow_subscribe_for_client = true

[[namespaces]]
name = "chat"
history_size = 10
history_ttl_s = 300
presence = true
allow_subscribe_for_client = true
allow_user_limited_channels = true

[[namespaces]]
name = "private"

[[namespaces]]
name = "board"
subscription_type = "map"
allow_subscribe_for_client = true

[[namespaces]]
name = "votes"
subscription_type = "shared_poll"
allow_subscribe_for_client = true
shared_poll = { endpoint = "https://shop.example/poll" }

[[namespaces]]
name = "polled"
subscription_type = "shared_poll"
shared_poll = { endpoint = "https://shop.example/poll" }
"#;

/// What a client says that wants to be on the channel, or to publish there.
fn of_its_kind(channel: &str, mut more: Value) -> Value {
    let (kind, phase) = match channel.trim_start_matches('$').split(':').next() {
        Some("board") => (1, 2),
        Some("votes" | "polled") => (4, 0),
        _ => (0, 0),
    };
    more["channel"] = channel.into();
    (more["type"], more["phase"]) = (kind.into(), phase.into());
    more
}

async fn server() -> Fanfare {
    let (_, path) = tempfile::Builder::new().suffix(".toml").tempfile().unwrap().keep().unwrap();
    std::fs::write(&path, NAMESPACES).unwrap();
    let settings = Settings::new()
        .env("SECRET_KEY", SECRET)
        .env("FANFARE__CENTRIFUGE__SHARED_POLL__HMAC_SECRET_KEY", SECRET)
        .env("ALLOWED_ORIGINS", "https://shop.example")
        .env("FANFARE__AUTH__AUDIENCE", "shop")
        .env("FANFARE__AUTH__ISSUER", "id")
        .env("FANFARE__AUTH__API_KEYS", format!("[subscribe:private:x]:{SCOPED},manager:{MANAGER}"))
        .env("FANFARE__RATE__PER_ADDRESS", "0");
    Fanfare::start(settings.arg("--config").arg(path.to_str().unwrap())).await
}

async fn say(socket: &mut WebSocket, command: Value) {
    socket.send(Message::text(command.to_string())).await.unwrap();
}

/// The next reply, or the code of the end.
async fn hear(socket: &mut WebSocket) -> Result<Value, u16> {
    loop {
        match timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap() {
            Message::Text(text) if text.as_str() == "{}" => {}
            Message::Text(text) => return Ok(serde_json::from_str(&text).unwrap()),
            Message::Close(Some(frame)) => return Err(frame.code.into()),
            other => panic!("{other:?}"),
        }
    }
}

async fn connected(fanfare: &Fanfare, token: &str) -> Result<WebSocket, u16> {
    let mut socket = fanfare.ws("/connection/websocket").await;
    say(&mut socket, json!({"id": 1, "connect": {"token": token}})).await;
    let reply = hear(&mut socket).await?;
    match reply["error"]["code"].as_u64() {
        Some(code) => Err(code as u16),
        None => Ok(socket),
    }
}

/// 0, or the number of what is wrong.
async fn ask(socket: &mut WebSocket, command: Value) -> u16 {
    let mut sent = command;
    sent["id"] = json!(7);
    say(socket, sent).await;
    match hear(socket).await {
        Ok(reply) => reply["error"]["code"].as_u64().unwrap_or(0) as u16,
        Err(code) => code,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_connects_with_what_is_worthless() {
    let fanfare = server().await;
    let revoked = sign(SECRET, &claims("admin", json!({"jti": "revoked"})));
    let http = reqwest::Client::new();
    let log_out = http.post(format!("{}/api/v1/auth/logout", fanfare.url())).bearer_auth(&revoked).send();
    assert_eq!(log_out.await.unwrap().status(), 204);
    let mut bad = worthless();
    bad.push(("revoked", revoked));
    for (name, token) in bad {
        let expected = if name == "expired" { 109 } else { 3500 };
        match connected(&fanfare, &token).await {
            Err(code) => assert_eq!(code, expected, "{name}"),
            // It lets in whoever holds it, with no rights at all: not even those of its role.
            Ok(mut nobody) => {
                assert_eq!(name, "no subject");
                for command in ["subscribe", "publish", "history", "presence"] {
                    let asked = json!({command: {"channel": "inventory:updates", "data": {}}});
                    assert_eq!(ask(&mut nobody, asked).await, 103, "{command}");
                }
            }
        }
    }
    assert_eq!(connected(&fanfare, "").await.err(), Some(3501), "nothing at all");
    // The other ways in.
    for path in ["http_stream", "sse", "uni_sse", "uni_http_stream"] {
        let post = http.post(format!("{}/connection/{path}", fanfare.url()));
        let first = json!({"id": 1, "connect": {"token": "a.b.c"}, "token": "a.b.c"});
        let answer = timeout(PATIENCE, post.body(first.to_string()).send()).await.unwrap().unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let body = timeout(PATIENCE, answer.text()).await.unwrap().unwrap();
        assert!(body.contains(r#""disconnect":{"code":3500,"reason":"invalid token"}"#), "{path}: {body}");
        let foreign =
            http.post(format!("{}/connection/{path}", fanfare.url())).header("origin", "https://evil.example");
        assert_eq!(foreign.body("{}").send().await.unwrap().status(), 403, "{path}");
    }
    let foreign = http.post(format!("{}/emulation", fanfare.url())).header("origin", "https://evil.example");
    assert_eq!(foreign.body("{}").send().await.unwrap().status(), 403);
    let guessed = json!({"session": uuid::Uuid::new_v4().to_string(), "node": "", "data": "{}"});
    let guess = http.post(format!("{}/emulation", fanfare.url())).body(guessed.to_string()).send().await.unwrap();
    assert_eq!(guess.status(), 404, "a session that is not there");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_channel_asks_who_it_is() {
    let fanfare = server().await;
    let token_of = |subject: &str, extra: Value| {
        let mut all = claims("user", extra);
        all["sub"] = subject.into();
        sign(SECRET, &all)
    };
    let now = fanfare::clock::Clock::system().now().timestamp();
    for &(channel, who) in CHANNELS {
        for subject in ["ann", "bob"] {
            let mut socket = connected(&fanfare, &token_of(subject, json!({}))).await.unwrap();
            let expected = match who {
                For::Feed | For::Known => 0,
                For::Ann if subject == "ann" => 0,
                For::Ann | For::Token => 103,
                For::Nobody => 102,
            };
            let got = ask(&mut socket, json!({"subscribe": of_its_kind(channel, json!({}))})).await;
            assert_eq!(got, expected, "{channel} by {subject}");
            if who == For::Nobody {
                continue;
            }
            // What is not for clients stays so once one listens.
            if who != For::Token {
                let publish = json!({"publish": of_its_kind(channel, json!({"data": {}, "key": "a"}))});
                let publish = ask(&mut socket, publish).await;
                assert_eq!(publish, 103, "{channel} published on by {subject}");
            }
        }
        // A key for one channel opens that one.
        let mut scoped = connected(&fanfare, SCOPED).await.unwrap();
        let got = ask(&mut scoped, json!({"subscribe": of_its_kind(channel, json!({}))})).await;
        let expected = match who {
            _ if channel == "private:x" => 0,
            For::Nobody => 102,
            // Known by name, if by a strange one.
            For::Known => 0,
            _ => 103,
        };
        assert_eq!(got, expected, "{channel} with a key for another");
        if who == For::Nobody {
            continue;
        }
        // A token for the channel: somebody else's, of another channel, forged, over, and the right one.
        for (name, subject, of, secret, end, expected) in [
            ("another user's", "bob", channel, SECRET, 600, 3500),
            ("another channel's", "ann", "private:other", SECRET, 600, 3500),
            ("forged", "ann", channel, "another secret, also long enough 012345", 600, 103),
            ("over", "ann", channel, SECRET, -60, 109),
            ("right", "ann", channel, SECRET, 600, 0),
        ] {
            let mut all = claims("user", json!({"channel": of, "exp": now + end}));
            all["sub"] = subject.into();
            let token = sign(secret, &all);
            let mut socket = connected(&fanfare, &token_of("ann", json!({}))).await.unwrap();
            let got = ask(&mut socket, json!({"subscribe": of_its_kind(channel, json!({"token": token}))})).await;
            assert_eq!(got, expected, "{channel} with a token that is {name}");
        }
        let mut none = claims("user", json!({"channel": channel}));
        none["sub"] = "ann".into();
        let signed = sign(SECRET, &none);
        let payload = signed.split('.').nth(1).unwrap();
        let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.");
        let mut socket = connected(&fanfare, &token_of("ann", json!({}))).await.unwrap();
        let got = ask(&mut socket, json!({"subscribe": of_its_kind(channel, json!({"token": unsigned}))})).await;
        assert_eq!(got, 103, "{channel} with a token that nobody signed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_a_user_is_for_that_user() {
    let fanfare = server().await;
    let notify = async |user: &str| {
        let request =
            reqwest::Client::new().post(format!("{}/api/publish", fanfare.url())).header("x-api-key", MANAGER);
        let body = json!({"channel": "match:notifications", "data": {"user_id": user, "title": "x"}});
        assert_eq!(request.json(&body).send().await.unwrap().status(), 200);
    };
    let mut ann = connected(&fanfare, &sign(SECRET, &claims("user", json!({})))).await.unwrap();
    let mut manager = connected(&fanfare, &sign(SECRET, &claims("manager", json!({})))).await.unwrap();
    for socket in [&mut ann, &mut manager] {
        let subscribe = json!({"subscribe": {"channel": "match:notifications", "recoverable": true}});
        assert_eq!(ask(socket, subscribe).await, 0);
    }
    for user in ["bob", "ann"] {
        notify(user).await;
    }
    let of = |push: Value| push["push"]["pub"]["data"]["user_id"].as_str().unwrap().to_owned();
    assert_eq!(of(hear(&mut ann).await.unwrap()), "ann", "bob's is not for her");
    assert_eq!(of(hear(&mut manager).await.unwrap()), "bob");
    for command in [
        json!({"history": {"channel": "match:notifications", "limit": 10}}),
        json!({"presence": {"channel": "match:notifications"}}),
    ] {
        assert_eq!(ask(&mut ann, command.clone()).await, 103, "{command}");
    }
    // Neither by connecting with it, nor from the past.
    let mut again = fanfare.ws("/connection/websocket").await;
    let wanted = json!({"match:notifications": {"recover": true, "offset": 0}});
    let token = sign(SECRET, &claims("user", json!({})));
    say(&mut again, json!({"id": 1, "connect": {"token": token, "subs": wanted}})).await;
    let reply = hear(&mut again).await.unwrap();
    let publications = reply["connect"]["subs"]["match:notifications"]["publications"].as_array().cloned();
    let users: Vec<_> = publications.unwrap_or_default().iter().map(|one| one["data"]["user_id"].clone()).collect();
    assert_eq!(users, ["ann"]);
}

#[test]
fn every_channel_of_a_feed_is_in_the_matrix() {
    let exist: BTreeSet<&str> = fanfare::feeds::ALL.iter().flat_map(|(_, feed)| feed.channels).copied().collect();
    let named: BTreeSet<&str> = CHANNELS.iter().map(|(channel, _)| *channel).collect();
    assert_eq!(exist.difference(&named).collect::<Vec<_>>(), Vec::<&&str>::new());
}

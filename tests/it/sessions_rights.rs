//! Who may stay: expiry, revocation on another node, refresh, a token as first message, and what belongs to one user.

use std::time::{Duration, Instant};

use fanfare::clock::Clock;
use futures_util::{SinkExt, StreamExt};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Fanfare, PATIENCE, Postgres, Redis, Settings, WebSocket, eventually, http, next_json};

const SECRET: &str = "a secret for tests, long enough: 0123456789";
const BACK_END: &str = "key-of-a-back-end-that-may-publish-0123";

fn settings() -> Settings {
    Settings::new()
        .env("SECRET_KEY", SECRET)
        .env("FANFARE__AUTH__API_KEYS", BACK_END)
        .env("FANFARE__RATE__PER_ADDRESS", "0")
        .env("FANFARE__RATE__LOG_IN_PER_ADDRESS", "1000")
}

fn token(subject: &str, role: &str, seconds: i64, id: &str) -> String {
    let now = Clock::system().now().timestamp();
    let claims = json!({"sub": subject, "role": role, "iat": now - 1, "exp": now + seconds, "jti": id});
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

/// The code of the close frame that ends the connection; what comes before it is let pass.
async fn close_code(socket: &mut WebSocket) -> u16 {
    let code = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(Some(frame)))) => return u16::from(frame.code),
                Some(Ok(_)) => {}
                end => panic!("the connection ended without a close frame: {end:?}"),
            }
        }
    };
    timeout(PATIENCE, code).await.expect("a close frame in time")
}

async fn say(socket: &mut WebSocket, message: Value) {
    socket.send(Message::text(message.to_string())).await.unwrap();
}

async fn publish(server: &Fanfare, channel: &str, data: Value) {
    let request = http().post(format!("{}/api/publish", server.url())).header("x-api-key", BACK_END);
    let answer = request.json(&json!({"channel": channel, "data": data})).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_ends_with_its_token_unless_it_is_refreshed() {
    let server = Fanfare::start(settings()).await;
    let path = |seconds, id: &str| format!("/ws/inventory?token={}", token("ann", "user", seconds, id));
    let began = Instant::now();
    let (mut ends, mut stays) = (server.ws(&path(3, "a")).await, server.ws(&path(3, "b")).await);
    // What does not refresh says why, and changes nothing.
    let other = token("bob", "admin", 600, "c");
    for (token, reason) in [
        (other.as_str(), "other_subject"),
        ("nonsense.of.mine", "bad_token"),
        (&token("ann", "user", -5, "d"), "expired"),
    ] {
        say(&mut stays, json!({"type": "refresh", "token": token})).await;
        let answer = next_json(&mut stays).await;
        assert_eq!((&answer["ok"], &answer["reason"]), (&json!(false), &json!(reason)));
    }
    say(&mut stays, json!({"type": "refresh", "token": token("ann", "user", 600, "e")})).await;
    let answer = next_json(&mut stays).await;
    assert_eq!((&answer["type"], &answer["ok"]), (&json!("refresh"), &json!(true)));
    assert_eq!(close_code(&mut ends).await, 3005);
    let took = began.elapsed();
    assert!(took > Duration::from_millis(1500) && took < Duration::from_millis(4500), "{took:?}");
    publish(&server, "inventory:updates", json!({"sku": "A"})).await;
    assert_eq!(next_json(&mut stays).await["sku"], "A", "the refreshed one goes on");
    // Known by a key: nothing ends, and who refreshes all the same is told so.
    let mut by_key = server.ws(&format!("/ws?token={BACK_END}")).await;
    say(&mut by_key, json!({"type": "refresh", "token": "x"})).await;
    assert_eq!(next_json(&mut by_key).await, json!({"type": "refresh", "ok": true, "ends_at_ms": null}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_back_on_one_node_ends_connections_on_another_within_a_second() {
    let (redis, database) = (Redis::start().await, Postgres::database().await);
    let settings = settings().redis(&redis).database(&database.url);
    let added = Fanfare::run(&settings, &["user", "add", "cleo", "--generate"]).await;
    assert!(added.0.success(), "{}", added.1);
    let password = added.1.lines().find_map(|line| line.strip_prefix("password  ")).unwrap().to_owned();
    let (one, two) = (Fanfare::start(settings.clone()).await, Fanfare::start(settings.clone()).await);
    let post = async |path: &str, token: &str, body: Value| {
        let request = http().post(format!("{}/api/v1/auth/{path}", one.url())).bearer_auth(token).json(&body);
        request.send().await.unwrap()
    };
    let admin = token("root", "admin", 600, "admin");
    let given: Value = post("login", "", json!({"name": "cleo", "password": password})).await.json().await.unwrap();
    let of_cleo = given["access_token"].as_str().unwrap().to_owned();
    let (of_ann, again) = (token("ann", "user", 600, "first"), token("ann", "user", 600, "second"));
    let mut stays = two.ws(&format!("/ws/price?token={}", token("dora", "user", 600, "d"))).await;
    let mut sockets = Vec::new();
    for token in [&of_ann, &again, &of_cleo] {
        sockets.push([
            one.ws(&format!("/ws/price?token={token}")).await,
            two.ws(&format!("/ws/price?token={token}")).await,
        ]);
    }
    let mut sockets = sockets.into_iter();
    let mut ended = async |what: &str, since: Instant| {
        for mut socket in sockets.next().unwrap() {
            assert_eq!(close_code(&mut socket).await, 3503, "{what}");
        }
        assert!(since.elapsed() < Duration::from_millis(1500), "{what} took {:?}", since.elapsed());
    };

    let began = Instant::now();
    assert_eq!(post("logout", &of_ann, json!({})).await.status(), 204);
    ended("log-out", began).await;
    let began = Instant::now();
    let answer = post("revoke", &admin, json!({"subject": "ann"})).await;
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    ended("revocation of a subject", began).await;
    let disabled = Fanfare::run(&settings, &["user", "disable", "cleo"]).await;
    let began = Instant::now();
    assert!(disabled.0.success(), "{}", disabled.1);
    ended("a disabled account", began).await;

    publish(&one, "price:updates", json!({"sku": "B"})).await;
    assert_eq!(next_json(&mut stays).await["sku"], "B", "whom it does not concern stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_a_restart_has_taken_away_opens_nothing_any_more() {
    let mut server = Fanfare::start(settings()).await;
    let path = format!("/ws?token={BACK_END}");
    let mut socket = server.ws(&path).await;
    server.terminate().await;
    assert_eq!(close_code(&mut socket).await, 1012);
    let without =
        Fanfare::start(settings().env("FANFARE__AUTH__API_KEYS", "another-key-of-a-back-end-0123456789ab")).await;
    let refused = tokio_tungstenite::connect_async(without.ws_url(&path)).await.unwrap_err();
    assert!(
        matches!(&refused, tokio_tungstenite::tungstenite::Error::Http(answer) if answer.status() == 401),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_may_come_as_the_first_message() {
    let server = Fanfare::start(settings().env("FANFARE__LIMITS__FIRST_MESSAGE_MS", "700")).await;
    let path = "/ws/inventory?auth=message&positions=true";
    let mut socket = server.ws(path).await;
    socket.send(Message::Ping(vec![1].into())).await.unwrap();
    say(&mut socket, json!({"type": "auth", "token": token("ann", "user", 600, "a")})).await;
    say(&mut socket, json!({"type": "ping"})).await;
    let answer = next_json(&mut socket).await;
    assert_eq!((&answer["type"], &answer["ok"]), (&json!("auth"), &json!(true)), "{answer}");
    assert!(answer["client"].is_string() && answer["ends_at_ms"].is_i64());
    let next = [next_json(&mut socket).await, next_json(&mut socket).await];
    assert!(next.iter().any(|message| message["message_type"] == "subscribed"), "{next:?}");
    assert!(next.iter().any(|message| message["type"] == "pong"), "what came behind the token is read: {next:?}");
    publish(&server, "inventory:updates", json!({"sku": "A"})).await;
    assert_eq!(next_json(&mut socket).await["sku"], "A");

    let refused = async |message: Option<Message>| {
        let mut socket = server.ws(path).await;
        if let Some(message) = message {
            socket.send(message).await.unwrap();
        }
        close_code(&mut socket).await
    };
    let auth = |token: String| Some(Message::text(json!({"type": "auth", "token": token}).to_string()));
    assert_eq!(refused(None).await, 3502, "nothing in time");
    assert_eq!(refused(auth("a.b.c".into())).await, 3500);
    assert_eq!(refused(auth(token("ann", "user", -5, "b"))).await, 3005);
    assert_eq!(refused(Some(Message::text(r#"{"type":"ping"}"#))).await, 3501);
    assert_eq!(refused(Some(Message::binary(vec![1]))).await, 3501);
    assert_eq!(refused(Some(Message::text("x".repeat(40_000)))).await, 1009);
    // A place is taken by nobody of them.
    let probe = || async { (open_connections(&server).await == 1.0).then_some(()) };
    eventually("only the one that is known counts", probe).await;
    // Without the wish for it, a handshake without credentials is refused as ever.
    assert!(tokio_tungstenite::connect_async(server.ws_url("/ws/inventory")).await.is_err());
}

async fn open_connections(server: &Fanfare) -> f64 {
    let figures = crate::stream_ws::metrics(server).await;
    crate::stream_ws::total(&figures, "websocket_connections")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_talks_too_much_is_closed() {
    let server = Fanfare::start(Settings::new().env("FANFARE__LIMITS__MESSAGES_PER_SECOND", "20")).await;
    let mut socket = server.ws("/ws").await;
    for _ in 0..41 {
        say(&mut socket, json!({"type": "ping"})).await;
    }
    assert_eq!(close_code(&mut socket).await, 3013);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_hears_another_users_matches() {
    let server = Fanfare::start(settings()).await;
    let of = |subject: &str, role: &str| token(subject, role, 600, &format!("{subject}-{role}"));
    let (ann, boss) = (of("ann", "user"), of("boss", "manager"));
    let open = async |token: &str, query: &str| server.ws(&format!("/ws/match?token={token}{query}")).await;
    let mut own = [open(&ann, "").await, open(&ann, "&user_id=ann").await, open(&ann, "&positions=true").await];
    let mut all = [open(&boss, "").await, open(BACK_END, "").await];
    let mut of_bob = open(&boss, "&user_id=bob").await;
    // What asks for another's is refused by every way of asking.
    for query in ["&user_id=bob", "&user_id=ann,bob", "&user_id=Ann", "&presence=true", "&user_id=ann&user_id=bob"] {
        let refused = tokio_tungstenite::connect_async(server.ws_url(&format!("/ws/match?token={ann}{query}"))).await;
        let error = refused.expect_err(query);
        assert!(
            matches!(&error, tokio_tungstenite::tungstenite::Error::Http(answer) if answer.status() == 403),
            "{query}: {error}"
        );
    }
    let seen = |message: &Value| message["n"].as_i64();
    let notices = [
        json!({"message_type": "match_notification", "user_id": "bob", "n": 1}),
        json!({"message_type": "match_notification", "user_id": ["ann", "bob"], "n": 2}),
        json!({"message_type": "match_notification", "user_id": null, "n": 3}),
        json!({"message_type": "match_notification", "n": 4}),
        json!({"message_type": "match_notification", "user_id": "ann", "n": 5}),
    ];
    for notice in &notices {
        publish(&server, "match:notifications", notice.clone()).await;
    }
    publish(&server, "batch:progress", json!({"message_type": "batch_progress", "batch_id": 1, "n": 6})).await;
    publish(&server, "match:notifications", json!({"user_id": "ann", "n": 7})).await;
    publish(&server, "match:notifications", json!({"user_id": "bob", "n": 8})).await;
    for (client, expected) in own.iter_mut().zip([&[5, 6, 7][..], &[5, 7], &[5, 6, 7]]) {
        let mut heard = Vec::new();
        while heard.len() < expected.len() {
            heard.extend(seen(&next_json(client).await));
        }
        assert_eq!(heard, expected);
    }
    for client in &mut all {
        for n in 1..=8 {
            assert_eq!(seen(&next_json(client).await), Some(n));
        }
    }
    assert_eq!([seen(&next_json(&mut of_bob).await), seen(&next_json(&mut of_bob).await)], [Some(1), Some(8)]);
    // Neither by resuming from before all of it.
    let mut first = open(&boss, "&positions=true").await;
    let hello = next_json(&mut first).await;
    let begin: Vec<String> = hello["since"]
        .as_str()
        .unwrap()
        .split(',')
        .map(|position| format!("{}:0", position.rsplit_once(':').unwrap().0))
        .collect();
    let mut again = open(&ann, &format!("&since={}", begin.join(","))).await;
    assert_eq!(next_json(&mut again).await["message_type"], "subscribed");
    let heard =
        [seen(&next_json(&mut again).await), seen(&next_json(&mut again).await), seen(&next_json(&mut again).await)];
    assert_eq!(heard, [Some(5), Some(7), Some(6)]);
    // A manager who refreshes with a user's token keeps nothing of the manager's.
    say(&mut first, json!({"type": "refresh", "token": of("boss", "user")})).await;
    assert_eq!(next_json(&mut first).await["reason"], "forbidden");
    for client in own.iter_mut().chain([&mut again]) {
        say(client, json!({"type": "ping"})).await;
        assert_eq!(next_json(client).await["type"], "pong", "nothing else has come");
    }
}

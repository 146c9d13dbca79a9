//! What clients of the live feeds get: everything, once, in order, in their dialect, and nothing they did not ask for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::stream_kit::Plain;
use crate::stream_ws::{metric, metrics, publish, publish_tagged, total, wait_for_metric};
use crate::support::{Fanfare, Redis, Settings, WebSocket, next_json, next_message, next_text};

const FEEDS: [(&str, &str, &[&str]); 5] = [
    ("/ws", "general", &["system:notifications"]),
    ("/ws/inventory", "inventory", &["inventory:updates", "stock:alerts"]),
    ("/ws/price", "price", &["price:updates", "price:alerts"]),
    ("/ws/progress", "progress", &["progress:events"]),
    ("/ws/match", "match", &["match:notifications", "batch:progress"]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_get_every_message_to_the_byte_from_one_encoding() {
    const CLIENTS: usize = 1000;
    const MESSAGES: usize = 20;
    let server = Fanfare::start(Settings::new()).await;
    let mut clients = Vec::new();
    while clients.len() < CLIENTS {
        clients.extend(join_all((0..50).map(|_| server.ws("/ws/inventory"))).await);
    }
    assert_eq!(metric(&server, r#"websocket_connections{feed="inventory"}"#).await, CLIENTS as f64);
    let message =
        |n: usize| format!("{{ \"message_type\":\"inventory_update\",\t\"n\":{n},\"name\":\"caf\\u00e9 日本\" }}");
    for n in 0..MESSAGES {
        publish(&server, "inventory:updates", &message(n)).await;
    }
    for client in &mut clients {
        for n in 0..MESSAGES {
            assert_eq!(next_text(client).await, message(n));
        }
    }
    let after = metrics(&server).await;
    assert_eq!(after[r#"publication_encodings_total{dialect="json"}"#], MESSAGES as f64, "once each");
    assert_eq!(
        total(&after, "publication_encodings_total"),
        MESSAGES as f64,
        "and in no dialect that nobody asked for"
    );
    assert_eq!(after["publications_total"], MESSAGES as f64);
    wait_for_metric(&server, "deliveries_total", (CLIENTS * MESSAGES) as f64).await;
    drop(clients);
    wait_for_metric(&server, r#"websocket_connections{feed="inventory"}"#, 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_channel_reaches_its_own_endpoint_alone() {
    let server = Fanfare::start(Settings::new()).await;
    let mut clients = Vec::new();
    for (path, feed, _) in FEEDS {
        clients.push(server.ws(path).await);
        assert_eq!(metric(&server, &format!(r#"websocket_connections{{feed="{feed}"}}"#)).await, 1.0);
    }
    for (_, _, channels) in FEEDS {
        for channel in channels {
            publish(&server, channel, &json!({ "from": channel }).to_string()).await;
        }
    }
    for (client, (path, _, channels)) in clients.iter_mut().zip(FEEDS) {
        // In the order of publishing across a feed's channels too, as one publisher waited for each answer.
        for channel in channels {
            assert_eq!(next_json(client).await, json!({ "from": channel }), "on {path}");
        }
        publish(&server, channels[0], "\"end\"").await;
        assert_eq!(next_text(client).await, "\"end\"", "nothing else on {path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messagepack_on_request_says_the_same() {
    let server = Fanfare::start(Settings::new()).await;
    let mut json = server.ws("/ws/price").await;
    let mut by_query = server.ws("/ws/price?format=msgpack").await;
    let mut request = server.ws_url("/ws/price").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "fanfare.json.v9, fanfare.msgpack".parse().unwrap());
    let (mut by_protocol, answer) = tokio_tungstenite::connect_async(request).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "fanfare.msgpack");
    let texts = [
        r#"{"message_type":"price_update","old_price":"1980","n":-7,"f":0.1,"list":[1,{"deep":null}],"ok":true,"名":"値"}"#,
        r#"[]"#,
        r#"18446744073709551615"#,
        r#""text""#,
    ];
    for (text, count) in texts.iter().zip(1..) {
        publish(&server, "price:updates", text).await;
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(next_text(&mut json).await, *text);
        for client in [&mut by_query, &mut by_protocol] {
            let packed = binary(client).await;
            assert_eq!(rmp_serde::from_slice::<Value>(&packed).unwrap(), expected);
        }
        for dialect in ["json", "msgpack"] {
            let name = format!(r#"publication_encodings_total{{dialect="{dialect}"}}"#);
            assert_eq!(metric(&server, &name).await, f64::from(count), "{dialect}");
        }
    }
}

/// JSON that MessagePack has no words for must not become something else on the way, nor vanish.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_messagepack_cannot_say_arrives_as_its_text() {
    let server = Fanfare::start(Settings::new()).await;
    let mut json = server.ws("/ws").await;
    let mut msgpack = server.ws("/ws?format=msgpack").await;
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    for text in [r#"{"half":"\ud800"}"#, r#"{"huge":1e999}"#, &deep] {
        publish(&server, "system:notifications", text).await;
        assert_eq!(next_text(&mut json).await, text);
        let packed = binary(&mut msgpack).await;
        assert_eq!(rmp_serde::from_slice::<String>(&packed).unwrap(), text);
    }
}

async fn binary(client: &mut WebSocket) -> Vec<u8> {
    match next_message(client).await {
        Some(Message::Binary(bytes)) => bytes.to_vec(),
        other => panic!("expected a binary message, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_let_through_what_was_asked_for() {
    let server = Fanfare::start(Settings::new()).await;
    let both = || vec![(json!({ "sku": "A-1" }), ""), (json!({ "sku": "B-2" }), "")];
    let vague = || vec![(json!({ "data": { "sku": "A-1" } }), ""), (json!({}), ""), (json!([]), "")];
    let tagged = || vec![(json!({ "sku": "A-1" }), "toys"), (json!({ "sku": "B-2" }), "家電"), (json!({}), "Toys")];
    let people =
        || vec![(json!({ "userId": "ann" }), ""), (json!({ "userId": 7, "emailAddress": "bob@x.example" }), "")];
    let batches = || vec![(json!({ "batch_id": 7 }), ""), (json!({ "batch_id": "seven" }), "")];
    // Path, the channel, what is published under which category, and which of those (by index) arrive.
    type Case = (&'static str, &'static str, Vec<(Value, &'static str)>, &'static [usize]);
    let cases: [Case; 14] = [
        ("/ws/inventory?sku=a-1", "inventory:updates", both(), &[0]),
        ("/ws/inventory?sku=b-2,%20A-1", "stock:alerts", both(), &[0, 1]),
        ("/ws/inventory?sku=B-2&sku=C-3", "stock:alerts", both(), &[1]),
        ("/ws/inventory?sku=A-1", "inventory:updates", vague(), &[]),
        ("/ws/inventory?category=Toys", "inventory:updates", tagged(), &[2]),
        ("/ws/inventory?category=%E5%AE%B6%E9%9B%BB&sku=b-2", "inventory:updates", tagged(), &[1]),
        ("/ws/inventory?category=%E5%AE%B6%E9%9B%BB&sku=a-1", "inventory:updates", tagged(), &[]),
        ("/ws/price?sku=a-1", "price:alerts", both(), &[0]),
        ("/ws/price?category=toys,Toys", "price:updates", tagged(), &[0, 2]),
        ("/ws/match?batch_id=7", "batch:progress", batches(), &[0]),
        ("/ws/match?batch_id=seven&format=json", "batch:progress", batches(), &[1]),
        ("/ws/progress?student=ann", "progress:events", people(), &[0]),
        ("/ws/progress?student=bob@x.example", "progress:events", people(), &[1]),
        ("/ws/progress?student=7,ann", "progress:events", people(), &[0, 1]),
    ];
    for (path, channel, published, arrive) in cases {
        let (mut filtered, mut all) = (server.ws(path).await, server.ws(path.split('?').next().unwrap()).await);
        let before = metric(&server, "deliveries_filtered_total").await;
        for (data, category) in &published {
            let tags = if category.is_empty() { json!({}) } else { json!({ "category": category }) };
            publish_tagged(&server, channel, &data.to_string(), tags).await;
        }
        for (data, _) in &published {
            assert_eq!(next_json(&mut all).await, *data, "{path}: whoever has no filter gets everything");
        }
        for index in arrive {
            assert_eq!(next_json(&mut filtered).await, published[*index].0, "{path}");
        }
        let held_back = published.len() - arrive.len();
        wait_for_metric(&server, "deliveries_filtered_total", before + held_back as f64).await;
        // The close is behind everything else that was sent.
        filtered.close(None).await.unwrap();
        assert!(matches!(next_message(&mut filtered).await, None | Some(Message::Close(_))), "{path}: nothing more");
        drop((filtered, all));
        wait_for_metric(&server, &format!("websocket_connections{{feed=\"{}\"}}", feed_of(path)), 0.0).await;
    }
}

fn feed_of(path: &str) -> &'static str {
    let path = path.split('?').next().unwrap();
    FEEDS.iter().find(|feed| feed.0 == path).unwrap().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_a_running_stream_misses_nothing_in_memory() {
    who_joins_a_running_stream_misses_nothing(Settings::new(), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_a_running_stream_misses_nothing_on_redis() {
    let redis = Redis::start().await;
    who_joins_a_running_stream_misses_nothing(Settings::new().redis(&redis), Some(redis)).await;
}

/// From its first message on a client gets a run without a hole, and that run begins no later than with what was
/// published when the client knew that it was connected.
async fn who_joins_a_running_stream_misses_nothing(settings: Settings, redis: Option<Redis>) {
    const LAST: u64 = 2_000;
    let server = Arc::new(Fanfare::start(settings).await);
    let begun = Arc::new(AtomicU64::new(0));
    let publisher = {
        let (server, begun) = (server.clone(), begun.clone());
        tokio::spawn(async move {
            let mut plain = match &redis {
                Some(redis) => Some(Plain::connect(redis).await),
                None => None,
            };
            for n in 1..=LAST {
                begun.store(n, Ordering::SeqCst);
                // On Redis every second message comes from a publisher that is not Fanfare.
                match &mut plain {
                    Some(plain) if n % 2 == 0 => {
                        plain.publish_all("inventory:updates", &[n.to_string().into_bytes()]).await;
                    }
                    _ => publish(&server, "inventory:updates", &n.to_string()).await,
                }
            }
            redis
        })
    };
    let mut clients = Vec::new();
    while begun.load(Ordering::SeqCst) < LAST {
        let mut client = server.ws("/ws/inventory").await;
        let begun_before = begun.load(Ordering::SeqCst);
        clients.push(tokio::spawn(async move {
            let first: u64 = next_text(&mut client).await.parse().unwrap();
            assert!(first <= begun_before + 1, "{first} came first, {begun_before} was under way at the handshake");
            for n in first + 1..=LAST {
                assert_eq!(next_text(&mut client).await, n.to_string());
            }
        }));
        if clients.len() >= 200 {
            break;
        }
    }
    let _redis = publisher.await.unwrap();
    // The last ones may have come when nothing was left to be said.
    publish(&server, "inventory:updates", &(LAST + 1).to_string()).await;
    assert!(clients.len() > 5, "some joined while it ran: {}", clients.len());
    for client in clients {
        client.await.unwrap();
    }
}

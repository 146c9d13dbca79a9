//! permessage-deflate: who offers it gets the same messages, smaller, from one compression; nobody else notices.

use fanfare::wire::{Deflate, inflate};
use serde_json::{Value, json};

use crate::stream_ws::{Raw, handshake, masked, metrics, publish};
use crate::support::{Fanfare, Settings, next_text};

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";

async fn open(server: &Fanfare, path: &str) -> Raw {
    let mut raw = Raw::connect(server).await;
    let answer = raw.ask(&handshake(server, path, &[OFFER])).await;
    assert_eq!(answer.status, 101);
    assert_eq!(
        answer.headers["sec-websocket-extensions"],
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    );
    raw
}

fn long(n: usize) -> String {
    json!({ "message_type": "inventory_update", "sku": "A", "n": n, "name": "long enough ".repeat(80) }).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_compression_serves_all_who_negotiated_it() {
    let server = Fanfare::start(Settings::new()).await;
    let mut packed = Vec::new();
    for _ in 0..20 {
        packed.push(open(&server, "/ws/inventory").await);
    }
    let mut plain = server.ws("/ws/inventory").await;
    let mut filtered = open(&server, "/ws/inventory?sku=A&positions=true").await;
    let mut bytes = 0;
    assert_eq!(filtered.packed().await.0["message_type"], "subscribed");
    for n in 0..10 {
        publish(&server, "inventory:updates", &long(n)).await;
        publish(&server, "inventory:updates", r#"{"short":1}"#).await;
        for client in &mut packed {
            let (message, size) = client.packed().await;
            assert_eq!(message.to_string(), serde_json::from_str::<Value>(&long(n)).unwrap().to_string());
            bytes = size.expect("compressed");
            assert_eq!(client.packed().await, (json!({"short": 1}), None), "short ones are sent as they are");
        }
        let (message, size) = filtered.packed().await;
        assert!(message["_position"]["offset"].is_u64() && size.is_some());
        assert_eq!(next_text(&mut plain).await, long(n), "to the byte");
        next_text(&mut plain).await;
    }
    assert!(bytes * 5 < long(0).len(), "{bytes} of {}", long(0).len());
    let figures = metrics(&server).await;
    // Plain, compressed, compressed with positions.
    assert_eq!(figures[r#"publication_encodings_total{dialect="json"}"#], 60.0, "once a form");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_compresses_is_read_within_bounds() {
    let server = Fanfare::start(Settings::new()).await;
    let pack = |data: &[u8]| Deflate { min_bytes: 1, level: 9 }.pack(data).unwrap();
    let ping = json!({"type": "ping", "pad": "x".repeat(500)}).to_string();
    let mut client = open(&server, "/ws").await;
    client.send(&masked(0xC1, &pack(ping.as_bytes()))).await;
    assert_eq!(client.packed().await.0["type"], "pong");
    let bomb = pack(&vec![b' '; 32 << 20]);
    assert!(bomb.len() < 65_536, "within the bound while it is small");
    client.send(&masked(0xC1, &bomb)).await;
    assert_eq!(client.closed().await, 1009);
    for (frame, code) in [
        (masked(0xC1, &[0xff; 40]), 1002),
        (masked(0xC1, &pack(&[0xff; 300])), 1007),
        (masked(0xC9, b"p"), 1002),
        (masked(0xA1, b"p"), 1002),
    ] {
        let mut client = open(&server, "/ws").await;
        client.send(&frame).await;
        assert_eq!(client.closed().await, code);
    }
    // Not negotiated: as ever.
    let mut plain = Raw::open(&server, "/ws").await;
    plain.send(&masked(0xC1, &pack(ping.as_bytes()))).await;
    assert_eq!(plain.closed().await, 1002);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_can_be_turned_off_and_is_not_answered_to_strange_offers() {
    let off = Fanfare::start(Settings::new().env("FANFARE__STREAM__DEFLATE__ENABLED", "false")).await;
    let on = Fanfare::start(Settings::new()).await;
    let strange = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9";
    for (server, offer) in [(&off, OFFER), (&on, strange), (&on, "Sec-WebSocket-Extensions: x-other")] {
        let mut raw = Raw::connect(server).await;
        let answer = raw.ask(&handshake(server, "/ws", &[offer])).await;
        assert_eq!((answer.status, answer.headers.get("sec-websocket-extensions")), (101, None), "{offer}");
        publish(server, "system:notifications", &long(1)).await;
        assert_eq!(raw.text().await, long(1));
    }
}

impl Raw {
    /// The next message as JSON, and how many bytes it was if it was compressed.
    async fn packed(&mut self) -> (Value, Option<usize>) {
        let (first, payload) = self.whole().await.expect("a message, not the end");
        if first & 0x40 == 0 {
            return (serde_json::from_slice(&payload).unwrap(), None);
        }
        (serde_json::from_slice(&inflate(&payload, 1 << 20).unwrap()).unwrap(), Some(payload.len()))
    }
}

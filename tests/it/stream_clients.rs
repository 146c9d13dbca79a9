//! Clients that are slow, gone, broken or not welcome: each gets its due, and the others do not notice.

use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpSocket;
use tokio::time::Instant;

use crate::stream_ws::{
    BINARY, CLOSE, PING, PONG, Raw, handshake, masked, metric, metrics, publish, total, wait_for_metric,
};
use crate::support::{Fanfare, Settings, eventually, next_text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_is_closed_and_costs_the_others_nothing() {
    const OUTBOX_BYTES: usize = 256 << 10;
    let settings = Settings::new()
        .env("FANFARE__STREAM__MAX_MESSAGE_BYTES", "4096")
        .env("FANFARE__STREAM__OUTBOX_BYTES", OUTBOX_BYTES.to_string());
    let server = Fanfare::start(settings).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut slow = Raw::connect_from(&server, socket).await;
    slow.upgrade(&server, "/ws").await;
    let mut other = server.ws("/ws").await;
    let padding = "x".repeat(20_000);
    let message = |n: usize| format!(r#"{{"n":{n},"padding":"{padding}"}}"#);
    let closed = r#"websocket_connections_closed_total{reason="slow"}"#;
    let mut published = 0;
    while metric(&server, closed).await == 0.0 {
        publish(&server, "system:notifications", &message(published)).await;
        assert_eq!(next_text(&mut other).await, message(published), "the other one is on time");
        published += 1;
        assert!(published < 2_000, "the kernel does not take that much");
        assert!(metric(&server, "websocket_pending_bytes").await <= OUTBOX_BYTES as f64);
    }
    // It wakes up: whole messages in order, then the reason.
    let mut received = 0;
    loop {
        let frame = slow.frame().await.expect("a close frame before the end");
        if frame.opcode == CLOSE {
            assert_eq!(frame.payload[..2], 3008u16.to_be_bytes());
            let reason = String::from_utf8(frame.payload[2..].to_vec()).unwrap();
            let since = reason.strip_prefix("slow; since=").unwrap_or_else(|| panic!("{reason}"));
            assert!(since.ends_with(&format!(":{received}")), "where it resumes: {since} after {received}");
            break;
        }
        assert_eq!(frame.payload, message(received).into_bytes());
        received += 1;
    }
    assert!(received < published);
    wait_for_metric(&server, r#"websocket_connections{feed="general"}"#, 1.0).await;
    let after = metrics(&server).await;
    assert_eq!(after["websocket_pending_bytes"], 0.0, "what waited for it is given back");
    assert_eq!(after["deliveries_total"], (published + received) as f64);
    assert_eq!(after[r#"deliveries_dropped_total{reason="slow"}"#], (published - received) as f64);
    assert_eq!(total(&after, "deliveries_dropped_total"), (published - received) as f64);
    publish(&server, "system:notifications", "1").await;
    assert_eq!(next_text(&mut other).await, "1");
}

/// What waited for a client that vanished is counted as dropped, and forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_vanishes_leaves_nothing_behind() {
    let server = Fanfare::start(Settings::new()).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = Raw::connect_from(&server, socket).await;
    client.upgrade(&server, "/ws").await;
    let message = format!(r#""{}""#, "y".repeat(50_000));
    let mut published = 0;
    while metric(&server, "websocket_pending_bytes").await < 300_000.0 {
        publish(&server, "system:notifications", &message).await;
        published += 1;
    }
    drop(client);
    wait_for_metric(&server, r#"websocket_connections{feed="general"}"#, 0.0).await;
    let after = metrics(&server).await;
    assert_eq!(after["websocket_pending_bytes"], 0.0);
    let dropped = total(&after, "deliveries_dropped_total");
    assert!(dropped >= 6.0, "{dropped} waited");
    assert_eq!(after["deliveries_total"] + dropped, f64::from(published));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_answer_pings_is_closed_in_time() {
    let settings =
        Settings::new().env("FANFARE__STREAM__PING_INTERVAL_S", "2").env("FANFARE__STREAM__PONG_TIMEOUT_S", "1");
    let server = Fanfare::start(settings).await;
    let mut well = server.ws("/ws").await;
    let reading = tokio::spawn(async move { next_text(&mut well).await });
    let mut gone = Raw::open(&server, "/ws").await;
    // One that answers by hand, and says nothing else.
    let mut answering = Raw::open(&server, "/ws").await;
    let answers = tokio::spawn(async move {
        let mut pings = 0;
        loop {
            let frame = answering.frame().await.expect("not closed");
            match frame.opcode {
                PING => pings += 1,
                _ => return (pings, frame.payload),
            }
            answering.send(&masked(0x8A, &frame.payload)).await;
        }
    });
    let begin = Instant::now();
    assert_eq!(gone.frame().await.unwrap().opcode, PING);
    assert!(begin.elapsed() < Duration::from_millis(3_900), "the first ping after {:?}", begin.elapsed());
    assert_eq!(gone.closed().await, 3012);
    // A tick is a second long, and the test's machine may be busy.
    assert!(begin.elapsed() < Duration::from_secs(7), "closed after {:?}", begin.elapsed());
    assert_eq!(metric(&server, r#"websocket_connections_closed_total{reason="no pong"}"#).await, 1.0);
    // The others have lived through several pings by the time that the next client in vain waited for is gone.
    assert_eq!(Raw::open(&server, "/ws").await.closed().await, 3012);
    publish(&server, "system:notifications", "1").await;
    assert_eq!(reading.await.unwrap(), "1");
    let (pings, last) = answers.await.unwrap();
    assert!(pings >= 2 && last == b"1", "{pings} pings");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_are_answered_and_other_words_are_let_pass() {
    let server = Fanfare::start(Settings::new()).await;
    let mut client = Raw::open(&server, "/ws").await;
    let longest = [7; 125];
    for payload in [&b""[..], b"hello", &longest] {
        client.send(&masked(0x89, payload)).await;
        let frame = client.frame().await.unwrap();
        assert_eq!((frame.opcode, &frame.payload[..]), (PONG, payload));
    }
    let mut batch = masked(0x81, br#"{"type":"subscribe","channel":"x"}"#);
    batch.extend(masked(0x81, b"not even JSON"));
    batch.extend(masked(0x82, &[0; 300]));
    batch.extend(masked(0x8A, b"a pong that nobody asked for"));
    batch.extend(masked(0x01, br#"{"type":"#));
    batch.extend(masked(0x89, b"between"));
    batch.extend(masked(0x80, br#""ping"}"#));
    // A byte at a time is as good as all at once.
    for byte in batch {
        client.send(&[byte]).await;
    }
    assert_eq!(client.frame().await.unwrap().payload, b"between");
    assert_eq!(client.text().await, r#"{"type":"pong"}"#);
    assert_eq!(metric(&server, "websocket_messages_received_total").await, 4.0);
    let mut packed = Raw::open(&server, "/ws?format=msgpack").await;
    packed.send(&masked(0x81, br#"{"type":"ping"}"#)).await;
    let frame = packed.frame().await.unwrap();
    let pong: Value = rmp_serde::from_slice(&frame.payload).unwrap();
    assert_eq!((frame.opcode, pong), (BINARY, serde_json::json!({ "type": "pong" })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_frames_are_answered_with_their_code_and_hurt_nobody_else() {
    let server = Fanfare::start(Settings::new().env("FANFARE__STREAM__CLOSE_TIMEOUT_MS", "20000")).await;
    let mut other = server.ws("/ws").await;
    // What a decoder that read on after the error would take for a close frame, and more of it than one read takes.
    let mut oversized = masked(0x82, &vec![0; 200_000 * 8]);
    oversized.truncate(14);
    oversized.extend(masked(0x88, &[3, 232]).repeat(200_000));
    let lengthless = [0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4];
    let long = vec![b'x'; 40_000];
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("unmasked", vec![0x81, 1, b'x'], 1002),
        ("the first reserved bit", masked(0xC1, b"x"), 1002),
        ("the second reserved bit", masked(0xA1, b"x"), 1002),
        ("the third reserved bit", masked(0x91, b"x"), 1002),
        ("a reserved opcode", masked(0x83, b"x"), 1002),
        ("a reserved control opcode", masked(0x8B, b"x"), 1002),
        ("a ping in pieces", masked(0x09, b"x"), 1002),
        ("a ping too long", masked(0x89, &[0; 126]), 1002),
        ("a continuation of nothing", masked(0x80, b"x"), 1002),
        ("a message within a message", [masked(0x01, b"x"), masked(0x81, b"x")].concat(), 1002),
        ("a close code that may not be sent", masked(0x88, &1005u16.to_be_bytes()), 1002),
        ("a close frame of one byte", masked(0x88, &[3]), 1002),
        ("text that is not UTF-8", masked(0x81, b"\xff"), 1007),
        ("text that ends within a character", masked(0x81, &"日".as_bytes()[..2]), 1007),
        ("text that goes bad in its first piece", masked(0x01, b"\xc3\x28"), 1007),
        ("a close reason that is not UTF-8", masked(0x88, b"\x03\xe8\xff"), 1007),
        ("a message too big", oversized, 1009),
        ("a message too big in pieces", [masked(0x02, &long), masked(0x80, &long)].concat(), 1009),
        ("a length beyond all memory", lengthless.to_vec(), 1009),
    ];
    for (what, bytes, code) in cases {
        let mut client = Raw::open(&server, "/ws").await;
        client.send(&bytes).await;
        assert_eq!(client.closed().await, code, "{what}");
        publish(&server, "system:notifications", "1").await;
        assert_eq!(next_text(&mut other).await, "1", "after {what}");
    }
    wait_for_metric(&server, r#"websocket_connections{feed="general"}"#, 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_own_close_is_answered() {
    let server = Fanfare::start(Settings::new()).await;
    for payload in [&b""[..], b"\x03\xe8", b"\x03\xe9going away", b"\x0f\xa1mine"] {
        let mut client = Raw::open(&server, "/ws").await;
        client.send(&masked(0x88, payload)).await;
        let frame = client.frame().await.expect("an answer");
        assert_eq!((frame.opcode, &frame.payload[..2]), (CLOSE, &1000u16.to_be_bytes()[..]));
        assert_eq!(client.frame().await, None);
    }
    // And one that just goes.
    drop(Raw::open(&server, "/ws").await);
    wait_for_metric(&server, r#"websocket_connections{feed="general"}"#, 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_and_goes_in_one_breath_is_noticed() {
    let server = Fanfare::start(Settings::new()).await;
    let mut client = Raw::open(&server, "/ws").await;
    // While the server stands still, both the message and the end of the connection arrive.
    server.stop_signal();
    client.send(&masked(0x81, b"good-bye")).await;
    drop(client);
    server.continue_signal();
    wait_for_metric(&server, r#"websocket_connections{feed="general"}"#, 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_are_none_are_told_why() {
    let server = Fanfare::start(Settings::new().env("ALLOWED_ORIGINS", "https://shop.example")).await;
    let good = handshake(&server, "/ws", &[]);
    let without =
        |line: &str| good.lines().filter(|l| !l.starts_with(line)).map(|l| format!("{l}\r\n")).collect::<String>();
    let version = good.replace("Version: 13", "Version: 8");
    let short_key = good.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=");
    let cases = [
        ("no key", without("Sec-WebSocket-Key"), 400),
        ("a short key", short_key, 400),
        ("another version", version, 426),
        ("no version", without("Sec-WebSocket-Version"), 426),
        ("no upgrade", without("Upgrade"), 426),
        ("no connection header", without("Connection"), 426),
        ("a page's address bar", format!("GET /ws HTTP/1.1\r\nHost: {}\r\n\r\n", server.address()), 426),
        ("another method", good.replace("GET", "POST"), 405),
        ("another's page", handshake(&server, "/ws", &["Origin: https://evil.example"]), 403),
        ("a sandboxed page", handshake(&server, "/ws", &["Origin: null"]), 403),
        ("our page", handshake(&server, "/ws", &[&format!("Origin: http://{}", server.address())]), 101),
        ("a page that was allowed", handshake(&server, "/ws", &["Origin: https://shop.example"]), 101),
        ("nothing wrong", good.clone(), 101),
        ("no such feed", good.replace("/ws", "/ws/weather"), 404),
    ];
    for (what, request, status) in cases {
        let answer = Raw::connect(&server).await.ask(&request).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
        if status == 426 {
            assert_eq!(answer.headers["sec-websocket-version"], "13", "{what}");
            assert_eq!(answer.headers["upgrade"].to_lowercase(), "websocket", "{what}");
        }
        if status >= 400 && status != 405 {
            assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}");
        }
    }
    for (path, field) in [
        ("/ws/inventory?skuu=A-1", "skuu"),
        ("/ws/inventory?sku=", "sku"),
        ("/ws/price?batch_id=7", "batch_id"),
        ("/ws?sku=A-1", "sku"),
        ("/ws?format=xml", "format"),
    ] {
        let answer = Raw::connect(&server).await.ask(&handshake(&server, path, &[])).await;
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, &problem["errors"][0]["field"]), (400, &Value::from(field)), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_in_the_packet_of_the_request_is_not_lost() {
    let server = Fanfare::start(Settings::new()).await;
    for _ in 0..20 {
        let mut client = Raw::connect(&server).await;
        let mut packet = handshake(&server, "/ws", &[]).into_bytes();
        packet.extend(masked(0x81, br#"{"type":"ping"}"#));
        // Half of a frame; the rest comes later.
        let second = masked(0x89, b"second");
        packet.extend_from_slice(&second[..5]);
        client.send(&packet).await;
        assert_eq!(client.ask("").await.status, 101);
        assert_eq!(client.text().await, r#"{"type":"pong"}"#);
        client.send(&second[5..]).await;
        assert_eq!(client.frame().await.unwrap().payload, b"second");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_room_for_so_many_connections() {
    let server = Fanfare::start(Settings::new().env("FANFARE__LIMITS__MAX_CONNECTIONS", "3")).await;
    let mut open = Vec::new();
    for path in ["/ws", "/ws/price", "/ws"] {
        open.push(Raw::open(&server, path).await);
    }
    let refused = Raw::connect(&server).await.ask(&handshake(&server, "/ws", &[])).await;
    assert_eq!(refused.status, 503);
    assert!(refused.headers.contains_key("retry-after"));
    open.pop();
    eventually("the place is free again", || async {
        let answer = Raw::connect(&server).await.ask(&handshake(&server, "/ws/match", &[])).await;
        (answer.status == 101).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_room_for_so_many_connections_of_one_address() {
    let server = Fanfare::start(Settings::new().env("FANFARE__LIMITS__MAX_CONNECTIONS_PER_ADDRESS", "2")).await;
    let _open = [Raw::open(&server, "/ws").await, Raw::open(&server, "/ws").await];
    let refused = Raw::connect(&server).await.ask(&handshake(&server, "/ws", &[])).await;
    assert_eq!(refused.status, 429);
    assert!(refused.headers.contains_key("retry-after"));
    let elsewhere = TcpSocket::new_v4().unwrap();
    elsewhere.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    Raw::connect_from(&server, elsewhere).await.upgrade(&server, "/ws").await;
}

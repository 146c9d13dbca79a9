//! The accept loop, through real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::{StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use fanfare::http::layers::EdgeOptions;
use fanfare::http::server::ServerOptions;
use fanfare::http::{Json, Problem};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::http_kit::{PATIENCE, Server, layered};

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

#[tokio::test]
async fn a_header_that_never_ends_is_cut_off_while_others_are_served() {
    let server = Server::start(hello(), ServerOptions { header_timeout_ms: 300, ..Default::default() });
    let mut slow = server.connect().await;
    slow.send(b"GET / HTTP/1.1\r\nHost: te").await;
    let started = Instant::now();
    let (mut reader, mut writer) = slow.stream.split();
    let drip = async {
        while writer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut answer = Vec::new();
    tokio::select! {
        ended = tokio::time::timeout(PATIENCE, reader.read_to_end(&mut answer)) => { let _ = ended.expect("it is closed"); }
        () = drip => {}
    }
    assert!(started.elapsed() >= Duration::from_millis(250), "{:?}", started.elapsed());
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    assert_eq!(server.connect().await.get("/").await.0, 200);
    server.end().await;
}

#[tokio::test]
async fn an_idle_connection_waits_for_its_next_request_longer_than_a_header_may_take() {
    let options = ServerOptions { header_timeout_ms: 200, keep_alive_ms: 900, ..Default::default() };
    let server = Server::start(hello(), options);
    let mut client = server.connect().await;
    assert_eq!(client.get("/").await.0, 200);
    let idle = Instant::now();
    assert!(client.until_closed().await.is_empty());
    assert!(idle.elapsed() >= Duration::from_millis(800), "{:?}", idle.elapsed());
    server.end().await;
}

#[tokio::test]
async fn headers_are_bounded() {
    let server = Server::start(hello(), ServerOptions { max_header_bytes: 8192, ..Default::default() });
    let mut client = server.connect().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(9000)).as_bytes()).await;
    assert_eq!(client.answer().await.0, 431);
    let mut client = server.connect().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: test\r\n{}\r\n", "X: 1\r\n".repeat(200)).as_bytes()).await;
    assert_eq!(client.answer().await.0, 431);
    let mut client = server.connect().await;
    client.send(b"\x16\x03\x01 this is no HTTP\r\n\r\n").await;
    assert_eq!(client.answer().await.0, 400);
    server.end().await;
}

#[tokio::test]
async fn when_all_connections_are_in_use_the_next_one_waits() {
    let server = Server::start(hello(), ServerOptions { max_connections: 1, ..Default::default() });
    let mut first = server.connect().await;
    assert_eq!(first.get("/").await.0, 200);
    let mut second = server.connect().await;
    second.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert!(tokio::time::timeout(Duration::from_millis(200), second.stream.readable()).await.is_err());
    assert_eq!(server.metrics.accept_waits(), 1);
    drop(first);
    assert_eq!(second.answer().await.0, 200);
    server.end().await;
}

/// Upgrades as a WebSocket handler does, and echoes.
async fn upgrade(mut request: Request) -> Response {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let parts = upgrade.await.unwrap().downcast::<TokioIo<TcpStream>>().expect("the stream as it was accepted");
        let mut stream: TcpStream = parts.io.into_inner();
        stream.write_all(&parts.read_buf).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        tokio::io::copy(&mut reader, &mut writer).await.unwrap();
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "Upgrade")
        .header(header::SEC_WEBSOCKET_ACCEPT, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        .body(axum::body::Body::empty())
        .unwrap()
}

#[tokio::test]
async fn an_upgrade_passes_the_layers_gives_up_the_stream_and_outlives_the_stop() {
    let router = layered(hello().route("/ws", get(upgrade)), &EdgeOptions::default());
    let server = Server::start(router, ServerOptions { max_connections: 1, ..Default::default() });
    let mut client = server.connect().await;
    client
        .send(
            b"GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Accept-Encoding: gzip\r\nOrigin: http://test\r\n\r\nfirst",
        )
        .await;
    let (status, text) = client.answer().await;
    assert_eq!(status, 101);
    let text = text.to_ascii_lowercase();
    assert!(text.contains("upgrade: websocket\r\n") && text.contains("connection: upgrade\r\n"), "{text}");
    assert!(text.contains("sec-websocket-accept: ") && text.contains("x-trace-id: "), "{text}");
    assert!(!text.contains("content-encoding") && !text.contains("content-length"), "{text}");
    // The place in the bound of HTTP connections is free again.
    assert_eq!(server.connect().await.get("/").await.0, 200);
    server.end().await;
    client.send(b" and second").await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.until_closed().await, b"first and second");
}

#[tokio::test]
async fn a_stop_lets_a_running_request_finish() {
    let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (enter, wait) = (entered.clone(), go_on.clone());
    let work = move || {
        let (enter, wait) = (enter.clone(), wait.clone());
        async move {
            enter.notify_one();
            wait.notified().await;
            "finished"
        }
    };
    let server = Server::start(hello().route("/work", get(work)), ServerOptions::default());
    let mut idle = server.connect().await;
    assert_eq!(idle.get("/").await.0, 200);
    let mut busy = server.connect().await;
    busy.send(b"GET /work HTTP/1.1\r\nHost: test\r\n\r\n").await;
    entered.notified().await;

    server.stop.cancel();
    // The idle connection is closed, which also shows that the loop has seen the stop.
    assert!(idle.until_closed().await.is_empty());
    let refused = async {
        while TcpStream::connect(server.addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("the port is given up");
    assert!(!server.task.is_finished());

    go_on.notify_one();
    let (status, text) = busy.answer().await;
    assert_eq!(status, 200);
    assert!(text.ends_with("finished") && text.to_ascii_lowercase().contains("connection: close"), "{text}");
    assert!(busy.until_closed().await.is_empty());
    server.end().await;
}

#[tokio::test]
async fn a_request_that_does_not_finish_is_closed_at_the_deadline() {
    let entered = Arc::new(Notify::new());
    let enter = entered.clone();
    let stuck = move || {
        enter.notify_one();
        std::future::pending::<&'static str>()
    };
    let options = ServerOptions { stop_within_ms: 200, ..Default::default() };
    let server = Server::start(Router::new().route("/", get(stuck)), options);
    let mut client = server.connect().await;
    client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    entered.notified().await;
    server.end().await;
    assert!(client.until_closed().await.is_empty());
}

#[tokio::test]
async fn a_handler_is_told_its_peer() {
    let peer = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() };
    let server = Server::start(Router::new().route("/", get(peer)), ServerOptions::default());
    let mut client = server.connect().await;
    let (_, text) = client.get("/").await;
    assert!(text.ends_with(&client.stream.local_addr().unwrap().to_string()), "{text}");
    server.end().await;
}

async fn length(body: Result<Bytes, axum::extract::rejection::BytesRejection>) -> String {
    body.map_or_else(|error| error.to_string(), |body| body.len().to_string())
}

async fn json(Json(value): Json<serde_json::Value>) -> Result<String, Problem> {
    Ok(value.to_string())
}

async fn panics() -> &'static str {
    panic!("a handler that panics")
}

fn bodies(options: &EdgeOptions) -> Router {
    layered(hello().route("/length", post(length)).route("/json", post(json)).route("/panic", get(panics)), options)
}

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn eleven_megabytes_are_refused_with_an_answer_and_ten_are_taken() {
    let server = Server::start(bodies(&EdgeOptions::default()), ServerOptions::default());
    for path in ["/length", "/json"] {
        let mut client = server.connect().await;
        let head = format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n");
        client.send(format!("{head}Content-Length: {}\r\n\r\n", 11 * MIB).as_bytes()).await;
        client.send(&vec![b'1'; 11 * MIB]).await;
        let (status, text) = client.answer().await;
        assert_eq!(status, 413, "{text}");
        assert!(text.contains("application/problem+json") && text.contains("/problems/too-large"), "{text}");
    }
    // A length is not needed for the bound.
    let mut client = server.connect().await;
    client
        .send(b"POST /json HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let chunk = [format!("{MIB:x}\r\n").as_bytes(), &vec![b'1'; MIB], b"\r\n"].concat();
    for _ in 0..11 {
        client.send(&chunk).await;
    }
    client.send(b"0\r\n\r\n").await;
    let (status, text) = client.answer().await;
    assert_eq!(status, 413, "{text}");
    assert!(text.contains("application/problem+json"), "{text}");
    // The body was read to its end, so the connection serves on.
    let head = format!("POST /length HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", 10 * MIB);
    client.send(head.as_bytes()).await;
    client.send(&vec![b'1'; 10 * MIB]).await;
    let (status, text) = client.answer().await;
    assert_eq!(status, 200);
    assert!(text.ends_with("10485760"), "{text}");
    server.end().await;
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_at_once() {
    let server = Server::start(bodies(&EdgeOptions::default()), ServerOptions::default());
    let mut client = server.connect().await;
    let head = "POST /length HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n";
    client.send(head.as_bytes()).await;
    assert_eq!(client.answer().await.0, 413);
    server.end().await;
}

#[tokio::test]
async fn an_endless_body_is_not_read_for_ever() {
    let options = EdgeOptions { max_body_bytes: 1000, ..Default::default() };
    let server = Server::start(bodies(&options), ServerOptions::default());
    let mut client = server.connect().await;
    client.send(b"POST /json HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let chunk = [b"3e8\r\n".as_slice(), &[b'1'; 1000], b"\r\n"].concat();
    for _ in 0..4 {
        client.send(&chunk).await;
    }
    // Never ended, and yet answered.
    assert_eq!(client.answer().await.0, 413);
    server.end().await;
}

#[tokio::test]
async fn a_body_that_does_not_go_on_is_given_up() {
    let options = EdgeOptions { body_stall_ms: 100, ..Default::default() };
    let server = Server::start(bodies(&options), ServerOptions::default());
    let mut client = server.connect().await;
    client
        .send(b"POST /json HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n[1,")
        .await;
    let (status, text) = client.answer().await;
    assert_eq!(status, 408, "{text}");
    assert!(text.contains("/problems/body-stalled"), "{text}");
    server.end().await;
}

#[tokio::test]
async fn a_panic_is_one_requests_failure() {
    let server = Server::start(bodies(&EdgeOptions::default()), ServerOptions::default());
    let mut client = server.connect().await;
    let (status, text) = client.get("/panic").await;
    assert_eq!(status, 500);
    assert!(text.contains("application/problem+json") && !text.contains("panics"), "{text}");
    assert_eq!(client.get("/").await.0, 200);
    server.end().await;
}

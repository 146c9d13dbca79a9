//! HTTP/2: with TLS where the client offers it, without TLS where it begins with it; WebSockets stay on HTTP/1.1.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, Response, StatusCode, Version, header};
use axum::routing::get;
use fanfare::http::server::ServerOptions;
use h2::RecvStream;
use h2::client::SendRequest;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::http_kit::{PATIENCE, Server};
use crate::support::{Fanfare, Settings, http, next_json};

/// A client's end of one connection.
struct Client {
    send: SendRequest<bytes::Bytes>,
    ended: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (send, connection) = h2::client::handshake(stream).await.expect("handshake");
        Self { send, ended: tokio::spawn(connection) }
    }

    async fn connect(address: &str) -> Self {
        Self::over(TcpStream::connect(address).await.expect("connect")).await
    }

    /// Sends a request; the answer may be waited for together with others.
    async fn ask(&self, url: String) -> impl Future<Output = Response<RecvStream>> + use<> {
        let mut send = self.send.clone().ready().await.expect("ready");
        let request = Request::get(url).version(Version::HTTP_2).body(()).expect("a request");
        let (answer, _) = send.send_request(request, true).expect("sent");
        async move { tokio::time::timeout(PATIENCE, answer).await.expect("in time").expect("an answer") }
    }
}

async fn text(answer: Response<RecvStream>) -> (StatusCode, HeaderMap, String) {
    let (parts, mut body) = answer.into_parts();
    let mut whole = Vec::new();
    while let Some(part) = body.data().await {
        let part = part.expect("data");
        body.flow_control().release_capacity(part.len()).expect("capacity");
        whole.extend_from_slice(&part);
    }
    (parts.status, parts.headers, String::from_utf8(whole).expect("text"))
}

#[tokio::test]
async fn requests_of_one_connection_do_not_wait_for_each_other_and_are_finished_at_the_end() {
    let (go_on, began) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = get({
        let (go_on, began) = (go_on.clone(), began.clone());
        move || async move {
            began.notify_one();
            go_on.notified().await;
            "slow"
        }
    });
    let host = async |request: Request| {
        format!("{:?} {:?}", request.version(), request.headers().get(header::HOST).expect("a host"))
    };
    let server = Server::start(Router::new().route("/slow", slow).route("/host", get(host)), ServerOptions::default());
    let address = server.addr.to_string();
    let client = Client::connect(&address).await;
    let slow = client.ask(format!("http://{address}/slow")).await;
    began.notified().await;
    let quick = text(client.ask(format!("http://{address}/host")).await.await).await;
    assert_eq!((quick.0, quick.2), (StatusCode::OK, format!("HTTP/2.0 \"{address}\"")));
    // HTTP/1.1 on the same port.
    assert_eq!(server.connect().await.get("/host").await.0, 200);
    let end = tokio::spawn(server.end());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!end.is_finished(), "a request is being answered");
    go_on.notify_one();
    assert_eq!(text(slow.await).await.2, "slow");
    tokio::time::timeout(PATIENCE, end).await.expect("in time").expect("ended");
    tokio::time::timeout(PATIENCE, client.ended).await.expect("in time").expect("joined").expect("no error");
}

#[tokio::test]
async fn a_connection_without_requests_ends_and_a_strange_beginning_is_no_request() {
    let options = ServerOptions { header_timeout_ms: 300, keep_alive_ms: 400, ..Default::default() };
    let server = Server::start(Router::new().route("/", get(|| async { "hello" })), options);
    let address = server.addr.to_string();
    let client = Client::connect(&address).await;
    assert_eq!(text(client.ask(format!("http://{address}/")).await.await).await.2, "hello");
    drop(client.send);
    tokio::time::timeout(PATIENCE, client.ended).await.expect("in time").expect("joined").expect("no error");
    for begin in ["P", "PR", "PRI", "PRI ", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut strange = server.connect().await;
        strange.send(begin.as_bytes()).await;
        assert!(!strange.until_closed().await.starts_with(b"HTTP/1.1 200"), "{begin}");
    }
    assert_eq!(server.connect().await.get("/").await.0, 200);
    server.end().await;
}

#[tokio::test]
async fn guards_hold_for_http2_and_a_stream_within_it_is_told_of_the_end() {
    let mut server = Fanfare::start(Settings::new()).await;
    let address = server.address().to_owned();
    let client = Client::connect(&address).await;
    let foreign = text(client.ask("http://shop.example/api/v1/inventory".into()).await.await).await;
    assert_eq!(foreign.0, StatusCode::FORBIDDEN, "{}", foreign.2);
    let (status, headers, body) = text(client.ask(format!("http://{address}/api/v1/inventory")).await.await).await;
    assert_eq!((status, body.contains("pagination")), (StatusCode::OK, true));
    assert!(headers.contains_key("x-trace-id") && headers.contains_key(header::ETAG));
    // No WebSocket within HTTP/2, and one beside it.
    let upgrade = text(client.ask(format!("http://{address}/ws/price")).await.await).await;
    assert!(upgrade.0.is_client_error(), "{}", upgrade.0);
    let mut socket = server.ws("/ws/price").await;
    let events = client.ask(format!("http://{address}/sse/price")).await.await;
    assert_eq!(events.status(), StatusCode::OK);
    let publish =
        serde_json::json!({"channel": "price:updates", "data": {"message_type": "price_update", "sku": "TWO"}});
    let sent = http().post(format!("http://{address}/api/publish")).json(&publish).send().await.expect("publish");
    assert!(sent.status().is_success());
    while next_json(&mut socket).await["sku"] != "TWO" {}
    let told = tokio::spawn(text(events));
    assert!(server.terminate().await.success());
    let (_, _, told) = tokio::time::timeout(PATIENCE, told).await.expect("in time").expect("joined");
    assert!(told.contains("\"TWO\"") && told.contains("reconnect"), "{told}");
}

//! Clients: HTTP and WebSocket.

use futures_util::StreamExt;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::PATIENCE;

pub type WebSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// An HTTP client that ignores proxies of the environment and gives up after [`PATIENCE`].
pub fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("an HTTP client")
}

/// Opens a WebSocket.
pub async fn ws(url: &str) -> WebSocket {
    let opened = tokio::time::timeout(PATIENCE, tokio_tungstenite::connect_async(url)).await.expect("a handshake");
    opened.unwrap_or_else(|error| panic!("{url}: {error}")).0
}

/// The next message that is not a ping or pong; `None` when the connection has ended.
pub async fn next_message(socket: &mut WebSocket) -> Option<Message> {
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("a message within the time");
        match message {
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(message)) => return Some(message),
            Some(Err(_)) | None => return None,
        }
    }
}

/// The next text message.
pub async fn next_text(socket: &mut WebSocket) -> String {
    match next_message(socket).await {
        Some(Message::Text(text)) => text.as_str().to_owned(),
        other => panic!("expected a text message, got {other:?}"),
    }
}

/// The next text message as JSON.
pub async fn next_json(socket: &mut WebSocket) -> Value {
    let text = next_text(socket).await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

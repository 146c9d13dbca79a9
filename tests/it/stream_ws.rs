//! A Fanfare process as the stream's tests use it, and a WebSocket client that can misbehave.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::LazyLock;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::support::{Fanfare, PATIENCE, eventually};

/// Made once, as making one takes longer than many requests. Keeps no connection: each test has a runtime of its own.
static HTTP: LazyLock<reqwest::Client> = LazyLock::new(|| {
    let builder = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
    builder.timeout(PATIENCE).build().expect("an HTTP client")
});

/// Publishes past the feeds' rules; `data` arrives as it is written here.
pub async fn publish_tagged(server: &Fanfare, channel: &str, data: &str, tags: Value) {
    let body = format!(r#"{{"channel":"{channel}","tags":{tags},"data":{data}}}"#);
    let request = HTTP.post(format!("{}/api/publish", server.url())).header("content-type", "application/json");
    let answer = request.body(body).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}

pub async fn publish(server: &Fanfare, channel: &str, data: &str) {
    publish_tagged(server, channel, data, json!({})).await;
}

/// The figures that `/metrics` shows, by name and labels without `fanfare_`: `deliveries_total`, `x{reason="slow"}`.
pub async fn metrics(server: &Fanfare) -> HashMap<String, f64> {
    let text = HTTP.get(format!("{}/metrics", server.url())).send().await.unwrap().text().await.unwrap();
    let samples = text.lines().filter_map(|line| line.strip_prefix("fanfare_")?.rsplit_once(' '));
    samples.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

/// One figure; 0 when nothing has counted there yet.
pub async fn metric(server: &Fanfare, name: &str) -> f64 {
    metrics(server).await.get(name).copied().unwrap_or(0.0)
}

/// The sum over all labels.
pub fn total(metrics: &HashMap<String, f64>, name: &str) -> f64 {
    let labeled = format!("{name}{{");
    metrics.iter().filter(|(key, _)| *key == name || key.starts_with(&labeled)).map(|(_, value)| value).sum()
}

pub async fn wait_for_metric(server: &Fanfare, name: &str, value: f64) {
    let probe = || async { (metric(server, name).await == value).then_some(()) };
    eventually(&format!("{name} is {value}"), probe).await;
}

/// The answer to a request that was written by hand.
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: String,
}

/// A socket that sends whatever it is told.
pub struct Raw {
    stream: TcpStream,
    /// Read, but not looked at yet.
    rest: Vec<u8>,
}

/// What came from the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A handshake that nothing is wrong with; `extra` are more header lines.
pub fn handshake(server: &Fanfare, path: &str, extra: &[&str]) -> String {
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        server.address()
    );
    extra.iter().for_each(|line| request += &format!("{line}\r\n"));
    request + "\r\n"
}

/// A frame as a client sends it; `first` is the first byte: FIN, reserved bits, opcode.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

impl Raw {
    pub async fn connect(server: &Fanfare) -> Self {
        Self::connect_from(server, TcpSocket::new_v4().unwrap()).await
    }

    pub async fn connect_from(server: &Fanfare, socket: TcpSocket) -> Self {
        let address: SocketAddr = server.address().parse().unwrap();
        Self { stream: socket.connect(address).await.unwrap(), rest: Vec::new() }
    }

    /// A connection that has been upgraded.
    pub async fn open(server: &Fanfare, path: &str) -> Self {
        let mut raw = Self::connect(server).await;
        raw.upgrade(server, path).await;
        raw
    }

    pub async fn upgrade(&mut self, server: &Fanfare, path: &str) {
        let answer = self.ask(&handshake(server, path, &[])).await;
        assert_eq!(answer.status, 101, "{}", answer.body);
        // The example of RFC 6455 §1.3.
        assert_eq!(answer.headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    /// The server may have closed already, so writing may fail.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    pub async fn ask(&mut self, request: &str) -> Answer {
        self.send(request.as_bytes()).await;
        let head = loop {
            if let Some(end) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                break String::from_utf8(self.rest.drain(..end + 4).collect()).unwrap();
            }
            assert!(self.more().await, "the server closed instead of answering");
        };
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers: HashMap<_, _> = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        while self.rest.len() < length {
            assert!(self.more().await, "a body cut short");
        }
        let body = String::from_utf8(self.rest.drain(..length).collect()).unwrap();
        Answer { status, headers, body }
    }

    /// The next frame; `None` at the end of the connection, however it ended.
    pub async fn frame(&mut self) -> Option<Frame> {
        let (first, payload) = self.whole().await?;
        assert_eq!(first & 0xf0, 0x80, "whole frames, no reserved bits");
        Some(Frame { opcode: first & 0x0f, payload })
    }

    /// The first byte and the payload of the next frame.
    pub async fn whole(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((first, payload, used)) = parse(&self.rest) {
                self.rest.drain(..used);
                return Some((first, payload));
            }
            if !self.more().await {
                return None;
            }
        }
    }

    pub async fn text(&mut self) -> String {
        let frame = self.frame().await.expect("a message, not the end");
        assert_eq!(frame.opcode, TEXT, "{frame:?}");
        String::from_utf8(frame.payload).unwrap()
    }

    /// Reads to the close frame, answers its code, and checks that the server closes the connection.
    pub async fn closed(mut self) -> u16 {
        loop {
            let frame = self.frame().await.expect("a close frame before the end");
            if frame.opcode == CLOSE {
                let code = u16::from_be_bytes([frame.payload[0], frame.payload[1]]);
                self.send(&masked(0x88, &frame.payload[..2])).await;
                assert_eq!(self.frame().await, None, "nothing follows a close frame");
                return code;
            }
        }
    }

    async fn more(&mut self) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        let read = timeout(PATIENCE, self.stream.read(&mut buffer)).await.expect("something from the server in time");
        let length = read.unwrap_or(0);
        self.rest.extend_from_slice(&buffer[..length]);
        length > 0
    }
}

fn parse(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (length, head) = match second {
        126 => (u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()) as usize, 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize, 10),
        length => (length as usize, 2),
    };
    let payload = bytes.get(head..head + length)?.to_vec();
    Some((first, payload, head + length))
}

//! What the tests of deploying share: a real nginx with the file that is deployed, and clients that come back.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_util::sync::CancellationToken;

use crate::support::child::Child;
use crate::support::{PATIENCE, eventually, free_port, program, temp_dir};

pub fn deployed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

/// nginx on `deploy/nginx/nginx.conf`; only port and paths are this test's.
pub struct Nginx {
    _child: Child,
    pub address: SocketAddr,
    folder: TempDir,
}

impl Nginx {
    pub async fn start(nodes: &[&str]) -> Self {
        let folder = temp_dir("nginx");
        let address: SocketAddr = format!("127.0.0.1:{}", free_port()).parse().expect("an address");
        let at = |name: &str| folder.path().join(name).display().to_string();
        let conf = std::fs::read_to_string(deployed("nginx/nginx.conf")).expect("nginx.conf");
        let conf = conf
            .replace("listen 80;", &format!("listen {address};"))
            .replace("/var/run/nginx.pid", &at("nginx.pid"))
            .replace("access_log /dev/stdout json", &format!("access_log {} json", at("access.log")))
            .replace("error_log /dev/stderr", &format!("error_log {}", at("error.log")));
        std::fs::write(folder.path().join("nginx.conf"), conf).expect("write");
        std::fs::create_dir(folder.path().join("logs")).expect("folder");
        let servers: String = nodes.iter().map(|node| format!("server {node};")).collect();
        let upstream = format!("upstream fanfare {{ zone fanfare 64k; least_conn; {servers} keepalive 64; }}\n");
        std::fs::write(folder.path().join("upstream.conf"), upstream).expect("write");
        let mut nginx = Command::new(program("nginx", &["/usr/sbin".into()]));
        nginx.arg("-p").arg(folder.path()).arg("-c").arg(folder.path().join("nginx.conf")).args(["-g", "daemon off;"]);
        let child = Child::start("nginx", &mut nginx, Signal::SIGTERM, Some(folder.path()));
        eventually("nginx takes connections", async || TcpStream::connect(address).await.ok()).await;
        Self { _child: child, address, folder }
    }

    /// `deploy/switch`, told where this nginx is.
    pub fn switch(&self) -> Command {
        let (nginx, folder) = (program("nginx", &["/usr/sbin".into()]), self.folder.path());
        let test = format!("{} -t -q -p {} -c {}/nginx.conf", nginx.display(), folder.display(), folder.display());
        let mut switch = Command::new(deployed("switch"));
        switch.env("UPSTREAM", folder.join("upstream.conf")).env("NGINX_PID", folder.join("nginx.pid"));
        switch.env("NGINX_TEST", test);
        switch
    }

    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }
}

/// What all clients of a test have seen.
#[derive(Default)]
pub struct Seen {
    /// Clients that are connected and subscribed.
    pub connected: AtomicUsize,
    pub comebacks: AtomicUsize,
    /// The longest time from the end of a stream to the next one's first message.
    pub longest_ms: AtomicUsize,
    /// Why a client could not connect, the last time.
    pub refused: Mutex<String>,
}

/// A stream that comes back by its positions, as the page's client does.
pub struct Roamer {
    number: u32,
    nginx: SocketAddr,
    path: &'static str,
    seen: Arc<Seen>,
    stop: CancellationToken,
    /// The last offset of each epoch.
    positions: BTreeMap<String, u64>,
}

impl Roamer {
    pub fn new(number: u32, nginx: SocketAddr, path: &'static str, seen: &Arc<Seen>, stop: &CancellationToken) -> Self {
        Self { number, nginx, path, seen: seen.clone(), stop: stop.clone(), positions: BTreeMap::new() }
    }

    /// An address of its own, as clients have: limits are by address.
    async fn connect(&self) -> Option<WebSocketStream<TcpStream>> {
        let [_, a, b, c] = (self.number + 2).to_be_bytes();
        let socket = TcpSocket::new_v4().ok()?;
        socket.bind((Ipv4Addr::new(127, a + 1, b, c), 0).into()).ok()?;
        let stream = socket.connect(self.nginx).await.ok()?;
        let since: Vec<String> = self.positions.iter().map(|(epoch, offset)| format!("{epoch}:{offset}")).collect();
        let query = if since.is_empty() { "positions=true".into() } else { format!("since={}", since.join(",")) };
        let request = format!("ws://{}{}?{query}", self.nginx, self.path).into_client_request().ok()?;
        let upgraded = tokio::time::timeout(PATIENCE, tokio_tungstenite::client_async(request, stream)).await;
        match upgraded {
            Ok(Ok((stream, _))) => return Some(stream),
            Ok(Err(error)) => *self.seen.refused.lock().expect("lock") = format!("{}: {error:?}", self.number),
            Err(_) => *self.seen.refused.lock().expect("lock") = format!("{}: no answer in time", self.number),
        }
        None
    }

    /// Collects `field` of every message until `stop`; panics when one says that something was missed.
    pub async fn collect(mut self, field: &'static str) -> Vec<i64> {
        let (mut found, mut left_at) = (Vec::new(), None::<Instant>);
        'connections: while !self.stop.is_cancelled() {
            let mut pause = Duration::from_millis(100 + u64::from(self.number % 10) * 20);
            if let Some(mut stream) = self.connect().await {
                let mut counted = false;
                loop {
                    let message = tokio::select! {
                        message = stream.next() => message,
                        () = self.stop.cancelled() => break 'connections,
                    };
                    let Some(Ok(message)) = message else { break };
                    let Message::Text(text) = message else { continue };
                    let message: Value = serde_json::from_str(&text).expect("JSON");
                    match message["message_type"].as_str() {
                        Some("gap") => panic!("client {}: {message}", self.number),
                        Some("subscribed") => {
                            counted = true;
                            self.seen.connected.fetch_add(1, Ordering::SeqCst);
                            if let Some(left_at) = left_at.take() {
                                let took_ms = left_at.elapsed().as_millis() as usize;
                                self.seen.comebacks.fetch_add(1, Ordering::SeqCst);
                                self.seen.longest_ms.fetch_max(took_ms, Ordering::SeqCst);
                            } else {
                                self.remember(&message);
                            }
                        }
                        Some("reconnect") => {
                            left_at = Some(Instant::now());
                            pause = Duration::from_millis(message["after_ms"].as_u64().expect("after_ms"));
                        }
                        _ => {
                            let position = &message["_position"];
                            // The server's own words, such as that a channel is stale, have none.
                            let Some(epoch) = position["epoch"].as_str().map(str::to_owned) else { continue };
                            let offset = position["offset"].as_u64().expect("offset");
                            let last = self.positions.insert(epoch, offset);
                            assert!(last.is_none_or(|last| offset == last + 1), "{offset} after {last:?}");
                            found.extend(message[field].as_i64());
                        }
                    }
                }
                if counted {
                    self.seen.connected.fetch_sub(1, Ordering::SeqCst);
                }
                left_at = left_at.or_else(|| Some(Instant::now()));
            }
            tokio::time::sleep(pause).await;
        }
        found
    }

    /// Where the first subscription begins, channel by channel.
    fn remember(&mut self, subscribed: &Value) {
        for mark in subscribed["since"].as_str().expect("since").split(',') {
            let (epoch, offset) = mark.split_once(':').expect("epoch and offset");
            self.positions.insert(epoch.to_owned(), offset.parse().expect("an offset"));
        }
    }
}

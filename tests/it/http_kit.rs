//! What the tests of the HTTP edge share.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use fanfare::http::layers::{self, EdgeOptions, HttpMetrics};
use fanfare::http::server::{ServerMetrics, ServerOptions, bind, serve};
use fanfare::telemetry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::dispatcher::{DefaultGuard, Dispatch};

/// Nothing here takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Asserts that this is a problem document of that status, and gives it.
    #[track_caller]
    pub fn problem(&self, status: u16) -> serde_json::Value {
        assert_eq!(self.status.as_u16(), status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["type"].as_str().unwrap().starts_with("/problems/"), "{problem}");
        problem
    }
}

/// One request through a router, without a socket.
pub async fn call(
    router: &Router,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(router, request.body(body.into()).unwrap()).await
}

pub async fn send(router: &Router, request: Request<Body>) -> Answer {
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    Answer { status: parts.status, headers: parts.headers, body }
}

pub async fn get(router: &Router, path: &str, headers: &[(&str, &str)]) -> Answer {
    call(router, Method::GET, path, headers, Body::empty()).await
}

pub fn layered(router: Router, options: &EdgeOptions) -> Router {
    layers::apply(router, options, HttpMetrics::register(&mut Registry::default()))
}

/// The real accept loop on a free port.
pub struct Server {
    pub addr: SocketAddr,
    pub stop: CancellationToken,
    pub metrics: ServerMetrics,
    pub task: JoinHandle<tokio_util::task::TaskTracker>,
}

impl Server {
    pub fn start(router: Router, options: ServerOptions) -> Self {
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let metrics = ServerMetrics::default();
        let task = tokio::spawn(serve(listener, router, options, metrics.clone(), None, stop.clone()));
        Self { addr, stop, metrics, task }
    }

    pub async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.addr).await.unwrap(), read: Vec::new() }
    }

    /// Stops the server and fails when it leaves anything behind.
    pub async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("the server stops").unwrap();
    }
}

/// A client that sends exactly the bytes it is given.
pub struct Client {
    pub stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub async fn get(&mut self, path: &str) -> (u16, String) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes()).await;
        self.answer().await
    }

    /// Reads one answer: its status, and header and body as text.
    pub async fn answer(&mut self) -> (u16, String) {
        tokio::time::timeout(PATIENCE, self.read_answer()).await.expect("an answer")
    }

    async fn read_answer(&mut self) -> (u16, String) {
        loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8(self.read[..end].to_vec()).unwrap().to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
                if self.read.len() >= end + 4 + length {
                    let text = String::from_utf8(self.read.drain(..end + 4 + length).collect()).unwrap();
                    return (head[9..12].parse().unwrap(), text);
                }
            }
            let mut chunk = [0; 4096];
            let count = self.stream.read(&mut chunk).await.unwrap();
            assert_ne!(count, 0, "closed within an answer: {:?}", String::from_utf8_lossy(&self.read));
            self.read.extend_from_slice(&chunk[..count]);
        }
    }

    /// Everything up to the end of the connection.
    pub async fn until_closed(&mut self) -> Vec<u8> {
        let read = async {
            let mut chunk = [0; 4096];
            // A reset is an end as well.
            while let Ok(count @ 1..) = self.stream.read(&mut chunk).await {
                self.read.extend_from_slice(&chunk[..count]);
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("the server closes");
        std::mem::take(&mut self.read)
    }
}

/// What the current thread logs while this lives, a JSON object a line.
pub struct Log {
    text: Arc<Mutex<Vec<u8>>>,
    _logging: DefaultGuard,
}

impl Log {
    pub fn capture() -> Self {
        // With a single subscriber in the process, tracing asks only the thread that comes by a log line first whether
        // anybody wants that line, and that may be another test's. A second subscriber makes it ask all.
        static OTHER: OnceLock<Dispatch> = OnceLock::new();
        OTHER.get_or_init(|| Dispatch::new(tracing_subscriber::registry()));
        let text = Arc::new(Mutex::new(Vec::new()));
        let writer = Lines(text.clone());
        let json = tracing_subscriber::fmt().json().with_max_level(tracing::Level::WARN);
        let subscriber = json.with_writer(move || writer.clone()).finish();
        Self { text, _logging: tracing::subscriber::set_default(subscriber) }
    }

    pub fn lines(&self) -> Vec<serde_json::Value> {
        let text = String::from_utf8(self.text.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[derive(Clone)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

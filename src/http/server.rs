//! The accept loop: hyper's server with the timers and bounds that `axum::serve` leaves out.
//!
//! What must not happen here: a client that sends its header byte by byte holds a connection for ever; a process out of
//! file descriptors ends; a thousand reconnecting clients overflow the backlog.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use hyper::rt::{Sleep, Timer};
use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use super::connection::Lasting;
use super::connection::{Terms, begins_with_http2};
use super::tls::Tls;
use crate::telemetry::{Registry, name};

/// Bounds of the HTTP connections. A connection that was upgraded to a WebSocket no longer counts here.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerOptions {
    /// HTTP connections open at once; when all are in use, further ones wait in the kernel's backlog.
    pub max_connections: usize,
    /// Time for a connection's first request header to arrive in full, in milliseconds.
    pub header_timeout_ms: u64,
    /// Time that a connection may wait for its next request, in milliseconds. Longer than what a reverse proxy keeps its
    /// idle connections for (nginx: 60 s), so that it is never this side which closes under a request on its way.
    pub keep_alive_ms: u64,
    /// Largest request line and headers together, in bytes; more is answered with 431.
    pub max_header_bytes: usize,
    /// Time that running requests have to finish when the server stops, in milliseconds.
    pub stop_within_ms: u64,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            max_connections: 8192,
            header_timeout_ms: 10_000,
            keep_alive_ms: 75_000,
            max_header_bytes: 16 * 1024,
            stop_within_ms: 8_000,
        }
    }
}

/// What the accept loop counts.
#[derive(Clone, Default)]
pub struct ServerMetrics {
    connections: Gauge,
    accepted: Counter,
    accept_errors: Counter,
    accept_waits: Counter,
}

impl ServerMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(name::HTTP_CONNECTIONS, "HTTP connections open now", metrics.connections.clone());
        registry.register(name::HTTP_CONNECTIONS_ACCEPTED, "HTTP connections accepted", metrics.accepted.clone());
        registry.register(name::HTTP_ACCEPT_ERRORS, "Failed accepts", metrics.accept_errors.clone());
        registry.register(
            name::HTTP_ACCEPT_WAITS,
            "Times that accepting waited because all connections were in use",
            metrics.accept_waits.clone(),
        );
        metrics
    }

    /// How often accepting had to wait because all connections were in use.
    pub fn accept_waits(&self) -> u64 {
        self.accept_waits.get()
    }
}

/// Clients that may queue up in the kernel while the loop is busy; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Pauses after an accept that failed for want of resources: short at first, so that a blip costs nothing.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// What one connection may buffer, which bounds the memory that slow readers and senders can hold.
pub(super) const MAX_BUFFER_BYTES: usize = 64 * 1024;

/// Binds with a backlog that survives all clients reconnecting at once. Needs a running Tokio runtime.
pub fn bind(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Serves `router` until `stop`, then lets running requests finish within the options' deadline and returns. Streams go
/// on; what is answered says when the last of them has ended.
///
/// A request carries `ConnectInfo<SocketAddr>`. After an upgrade the stream is a `TokioIo<TcpStream>`, with TLS too.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    options: ServerOptions,
    metrics: ServerMetrics,
    tls: Option<Tls>,
    stop: CancellationToken,
) -> TaskTracker {
    // Accepted sockets inherit the flag from the listener on Linux: one system call in all instead of one a connection.
    if let Err(error) = SockRef::from(&listener).set_tcp_nodelay(true) {
        tracing::warn!(%error, "TCP_NODELAY could not be set");
    }
    let mut http = http1::Builder::new();
    http.max_header_size(options.max_header_bytes)
        .max_buf_size(MAX_BUFFER_BYTES.max(options.max_header_bytes))
        .header_read_timeout(Duration::from_millis(options.header_timeout_ms));
    let between_requests = Duration::from_millis(options.keep_alive_ms.saturating_sub(options.header_timeout_ms));

    let handshake_within = Duration::from_millis(options.header_timeout_ms);
    let permits = Arc::new(Semaphore::new(options.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
    let (open, streams) = (TaskTracker::new(), TaskTracker::new());
    let abort = CancellationToken::new();
    let terms = Terms { options: options.clone(), open: open.clone(), stop: stop.clone(), abort: abort.clone() };
    let terms = Arc::new(terms);
    while let Some((permit, stream, peer)) = accept(&listener, &permits, &metrics, &stop).await {
        http.timer(HeadTimer { between_requests, first_done: AtomicBool::new(false) });
        let counted = Counted::new(&metrics);
        // Who has just connected is about to send a request, at the end too.
        let request = open.token();
        let (terms, http, tls, router) = (terms.clone(), http.clone(), tls.clone(), router.clone());
        streams.spawn(async move {
            let _counted = counted;
            let begun = tokio::select! {
                biased;
                begun = begin(tls, stream, handshake_within, &terms.stop) => begun,
                () = terms.abort.cancelled() => return,
            };
            let (stream, is_http2) = match begun {
                Ok(begun) => begun,
                Err(error) => return tracing::debug!(%peer, %error, "a connection did not begin"),
            };
            let ended = terms.serve(stream, (router, peer), (permit, request), &http, is_http2).await;
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "HTTP connection ended");
            }
        });
    }
    // The port is free for a successor from here on, while this process still answers what it has begun.
    drop(listener);
    open.close();
    if tokio::time::timeout(Duration::from_millis(options.stop_within_ms), open.wait()).await.is_err() {
        tracing::warn!(connections = open.len(), "HTTP requests did not finish before the deadline; closing them");
        abort.cancel();
        open.wait().await;
    }
    streams.close();
    streams
}

/// Ends TLS where it is set, and finds out which HTTP is spoken.
async fn begin(
    tls: Option<Tls>,
    stream: TcpStream,
    within: Duration,
    stop: &CancellationToken,
) -> std::io::Result<(TcpStream, bool)> {
    let Some(tls) = tls else {
        let is_http2 = begins_with_http2(&stream, within).await.ok_or(std::io::ErrorKind::TimedOut)?;
        return Ok((stream, is_http2));
    };
    tokio::select! {
        accepted = tls.accept(stream, within) => accepted,
        () = stop.cancelled() => Err(std::io::ErrorKind::ConnectionAborted.into()),
    }
}

/// The next connection and the right to serve it; `None` when the server is to stop.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    metrics: &ServerMetrics,
    stop: &CancellationToken,
) -> Option<(OwnedSemaphorePermit, TcpStream, SocketAddr)> {
    let permit = match permits.clone().try_acquire_owned() {
        Ok(permit) => permit,
        Err(_) => {
            // Once in a power of two: a flood of connections is not to become a flood of lines.
            let times = metrics.accept_waits.inc() + 1;
            if times.is_power_of_two() {
                tracing::warn!(times, "all HTTP connections are in use; new ones wait");
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                permit = permits.clone().acquire_owned() => permit.ok()?,
            }
        }
    };
    let mut pause = ACCEPT_PAUSE.0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                metrics.accepted.inc();
                return Some((permit, stream, peer));
            }
            Err(error) => {
                metrics.accept_errors.inc();
                use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
                // The client gave up while it waited in the backlog; the next one is not concerned.
                if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
                    continue;
                }
                // Out of descriptors or memory: it is the connections that end which help, so wait for some to.
                tracing::error!(%error, pause_ms = pause.as_millis() as u64, "cannot accept connections");
                tokio::select! {
                    () = stop.cancelled() => return None,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(ACCEPT_PAUSE.1);
            }
        }
    }
}

/// Holds a connection's place in the gauge, however the connection ends.
struct Counted {
    connections: Gauge,
}

impl Counted {
    fn new(metrics: &ServerMetrics) -> Self {
        metrics.connections.inc();
        Self { connections: metrics.connections.clone() }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.connections.dec();
    }
}

/// hyper has one timer for two waits: for the header of a new connection and for the next request of an idle one. This
/// tells them apart, as only the first is where a stranger's half-sent header has to be cut off soon.
struct HeadTimer {
    /// What the wait between two requests may last longer than the first header.
    between_requests: Duration,
    first_done: AtomicBool,
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        TokioTimer::new().sleep(duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let later = self.first_done.swap(true, Ordering::Relaxed);
        let deadline = if later { deadline + self.between_requests } else { deadline };
        TokioTimer::new().sleep_until(deadline)
    }

    fn now(&self) -> Instant {
        TokioTimer::new().now()
    }
}

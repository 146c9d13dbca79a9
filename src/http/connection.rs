//! One HTTP connection: HTTP/1, or HTTP/2 where TLS agreed on it or its client begins with it, and how either ends.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower::Service;

use super::server::{MAX_BUFFER_BYTES, ServerOptions};

/// What an HTTP/2 connection begins with; no method of HTTP/1 does.
const PREFACE: &[u8; 4] = b"PRI ";
/// Requests that one HTTP/2 connection may have open at once.
const MOST_AT_ONCE: u32 = 128;
/// An HTTP/2 client that is gone without a word is found by asking it.
const ASK_EVERY: Duration = Duration::from_secs(20);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Set free by an answer that lasts as long as its client wants: it is no request that has to finish before the server
/// stops, nor one that others have to wait for. An extension of every request.
#[derive(Clone)]
pub struct Lasting {
    request: Arc<Mutex<Option<TaskTrackerToken>>>,
    connection: Arc<Connection>,
}

/// What a connection holds while it serves requests.
pub(super) struct Connection {
    place: Mutex<Option<OwnedSemaphorePermit>>,
    lasts: AtomicBool,
    requests: AtomicU64,
}

fn take<T>(held: &Mutex<Option<T>>) -> Option<T> {
    held.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Lasting {
    /// From here on this answer is a stream.
    pub fn begin(&self) {
        self.connection.lasts.store(true, Ordering::SeqCst);
        take(&self.connection.place);
        take(&self.request);
    }
}

/// What both kinds of connections need.
pub(super) struct Terms {
    pub options: ServerOptions,
    /// Requests that have yet to be answered.
    pub open: TaskTracker,
    pub stop: CancellationToken,
    /// Waiting for requests has an end.
    pub abort: CancellationToken,
}

/// A connection of either kind.
trait Ends: Future<Output = hyper::Result<()>> {
    /// Takes no further requests.
    fn end(self: Pin<&mut Self>);
}

impl Ends for http1::UpgradeableConnection<TokioIo<TcpStream>, Responder> {
    fn end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl Ends for http2::Connection<TokioIo<TcpStream>, Responder, TokioExecutor> {
    fn end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Whether the client speaks HTTP/2 without having been asked; `None` when it says nothing in time.
pub(super) async fn begins_with_http2(stream: &TcpStream, within: Duration) -> Option<bool> {
    let look = async {
        let mut begin = [0; PREFACE.len()];
        loop {
            let seen = stream.peek(&mut begin).await.ok()?;
            if seen == 0 || begin[..seen] != PREFACE[..seen] {
                return Some(false);
            }
            if seen == PREFACE.len() {
                return Some(true);
            }
            // The next byte wakes nobody while the first ones are still there.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(within, look).await.ok()?
}

impl Terms {
    /// Serves a connection to its end.
    pub async fn serve(
        &self,
        stream: TcpStream,
        (router, peer): (Router, SocketAddr),
        (place, first): (OwnedSemaphorePermit, TaskTrackerToken),
        http1: &http1::Builder,
        is_http2: bool,
    ) -> hyper::Result<()> {
        let place = Mutex::new(Some(place));
        let connection = Arc::new(Connection { place, lasts: AtomicBool::new(false), requests: AtomicU64::new(0) });
        let responder =
            |request| Responder { router, peer, connection: connection.clone(), open: self.open.clone(), request };
        let stream = TokioIo::new(stream);
        let ended = if is_http2 {
            // Each request counts by itself.
            drop(first);
            let served = self.http2().serve_connection(stream, responder(None));
            self.run(served, &connection, Some(Duration::from_millis(self.options.keep_alive_ms))).await
        } else {
            // The connection itself counts as a request: hyper ends it when there is none.
            let whole = Arc::new(Mutex::new(Some(first)));
            let served = http1.serve_connection(stream, responder(Some(whole.clone()))).with_upgrades();
            let ended = self.run(served, &connection, None).await;
            take(&whole);
            ended
        };
        // Whoever has taken the stream may keep the request.
        take(&connection.place);
        ended
    }

    fn http2(&self) -> http2::Builder<TokioExecutor> {
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(MOST_AT_ONCE)
            .max_header_list_size(u32::try_from(self.options.max_header_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(MAX_BUFFER_BYTES)
            .keep_alive_interval(ASK_EVERY)
            .keep_alive_timeout(ANSWER_WITHIN);
        http2
    }

    /// `idle`: how long a connection without a new request takes further ones, after its first, which has to come as soon as
    /// that of HTTP/1. What it is answering goes on.
    async fn run(&self, served: impl Ends, connection: &Connection, idle: Option<Duration>) -> hyper::Result<()> {
        let mut served = std::pin::pin!(served);
        let is_idle = async {
            let Some(idle) = idle else { return std::future::pending().await };
            tokio::time::sleep(Duration::from_millis(self.options.header_timeout_ms)).await;
            if connection.requests.load(Ordering::SeqCst) == 0 {
                return;
            }
            loop {
                let before = connection.requests.load(Ordering::SeqCst);
                tokio::time::sleep(idle).await;
                if connection.requests.load(Ordering::SeqCst) == before {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            ended = served.as_mut() => return ended,
            () = self.stop.cancelled() => {}
            () = is_idle => {
                // Who has not even begun does not answer a farewell either.
                if connection.requests.load(Ordering::SeqCst) == 0 {
                    return Ok(());
                }
            }
        }
        served.as_mut().end();
        tokio::select! {
            ended = served.as_mut() => return ended,
            () = self.abort.cancelled() => {}
        }
        if connection.lasts.load(Ordering::SeqCst) { served.await } else { Ok(()) }
    }
}

/// The router, told who is calling.
struct Responder {
    router: Router,
    peer: SocketAddr,
    connection: Arc<Connection>,
    open: TaskTracker,
    /// HTTP/1: one request after the other, and all of them are the connection.
    request: Option<Arc<Mutex<Option<TaskTrackerToken>>>>,
}

impl hyper::service::Service<Request<Incoming>> for Responder {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.connection.requests.fetch_add(1, Ordering::SeqCst);
        let own = || Arc::new(Mutex::new(Some(self.open.token())));
        let held = self.request.clone().unwrap_or_else(own);
        let lasting = Lasting { request: held.clone(), connection: self.connection.clone() };
        request.extensions_mut().insert(ConnectInfo(self.peer));
        request.extensions_mut().insert(lasting);
        if request.version() == Version::HTTP_2 {
            name_host(&mut request);
        }
        // A router is always ready, so it may be called without being polled first.
        let answer = self.router.clone().call(request);
        Answering { answer: Box::pin(answer), held: self.request.is_none().then_some(held) }
    }
}

/// HTTP/2 says in another place which host is meant; whoever checks names looks here.
fn name_host(request: &mut Request<Incoming>) {
    let authority = request.uri().authority().and_then(|it| HeaderValue::try_from(it.as_str()).ok());
    if let Some(authority) = authority {
        request.headers_mut().insert(HOST, authority);
    }
}

/// A request of HTTP/2 that is being answered.
struct Answering {
    answer: Pin<Box<<Router as Service<Request<Incoming>>>::Future>>,
    held: Option<Arc<Mutex<Option<TaskTrackerToken>>>>,
}

impl Future for Answering {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.answer.as_mut().poll(context)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if let Some(held) = &self.held {
            take(held);
        }
    }
}

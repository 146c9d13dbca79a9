//! The same streams as server-sent events, in the body of an HTTP answer.
//!
//! The hub writes to sockets, so this client's socket is one end of a pair; what comes out of the other is the body. Its
//! budget, its books and its end are those of every client.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Pair;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use tokio::net::UnixStream;

use super::admit;
use super::replay::wrong;
use super::upgrade::{CLIENT, Sessions};
use crate::http::Problem;
use crate::http::server::Lasting;
use crate::stream::FeedSpec;
use crate::wire::{Dialect, sse};

const LAST_EVENT_ID: &str = "last-event-id";
/// Asks nginx not to collect the answer before it passes it on.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// How long a client waits that lost its connection. One that is told to go gets a moment of its own.
const RETRY_MS: u64 = 2_000;
const PART_BYTES: usize = 16 << 10;

/// Answers a request for a feed's events.
pub async fn events(feed: &'static FeedSpec, sessions: Sessions, request: Parts) -> Result<Response, Problem> {
    admit::origin(&sessions, &request)?;
    if !accepts(&request.headers) {
        let problem = Problem::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", "this is a text/event-stream");
        return Err(sessions.reject("handshake", problem));
    }
    let mut wishes = admit::wishes(feed, &sessions, &request)?;
    if wishes.dialect.is_some_and(|dialect| dialect != Dialect::Json) || wishes.auth_by_message {
        let name = if wishes.auth_by_message { "auth" } else { "format" };
        let problem = Problem::bad_request(format!("{name} is not offered with server-sent events"));
        return Err(sessions.reject("parameter", problem.with_field(name, "is not offered with server-sent events")));
    }
    if wishes.travel.is_wanted() {
        return Err(sessions.reject("parameter", wrong("from", "is not offered with server-sent events")));
    }
    if let Some(id) = request.headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty()) {
        wishes.resume(id.to_str().unwrap_or("not text"));
    }
    let identity = admit::identify(&sessions, &request);
    let identity = identity.map_err(|error| sessions.reject("unauthorized", error.into()))?;
    admit::permit(feed, &sessions, &identity, &wishes)?;
    let held = admit::hold(&sessions, &request)?;
    let ticket = admit::place(feed, &sessions, (&identity, &wishes, Dialect::Sse, None), held).await?;
    let client = HeaderValue::try_from(ticket.client()).map_err(Problem::internal)?;
    let (hubs, ours) = Pair::pair().map_err(Problem::internal)?;
    hubs.set_nonblocking(true).and_then(|()| ours.set_nonblocking(true)).map_err(Problem::internal)?;
    let ours = UnixStream::from_std(ours).map_err(Problem::internal)?;
    // A shard reads and writes its sockets, and asks nothing of them that only TCP has.
    ticket.adopt(std::net::TcpStream::from(OwnedFd::from(hubs)), Vec::new()).await;
    if let Some(lasting) = request.extensions.get::<Lasting>() {
        lasting.begin();
    }
    let mut response = Response::new(body(ours));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    // Its connection has become this stream, and serves nothing else.
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    headers.insert(CLIENT, client);
    Ok(response)
}

/// Whatever does not rule it out.
fn accepts(headers: &HeaderMap) -> bool {
    let mut named = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    named.peek().is_none()
        || named.flat_map(|value| value.split(',')).any(|range| {
            let range = range.split(';').next().unwrap_or_default().trim();
            ["text/event-stream", "text/*", "*/*"].iter().any(|known| range.eq_ignore_ascii_case(known))
        })
}

/// What the hub writes, until it has no more to say. Holds no buffer while nothing comes.
fn body(socket: UnixStream) -> Body {
    let parts = stream::unfold((socket, true), |(socket, first)| async move {
        if first {
            return Some((Ok(sse::retry(RETRY_MS)), (socket, false)));
        }
        match part(&socket).await {
            Ok(part) if part.is_empty() => None,
            part => Some((part, (socket, false))),
        }
    });
    Body::from_stream(parts)
}

async fn part(socket: &UnixStream) -> std::io::Result<Bytes> {
    loop {
        socket.readable().await?;
        let mut part = BytesMut::with_capacity(PART_BYTES);
        match socket.try_read_buf(&mut part) {
            Ok(_) => return Ok(part.freeze()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

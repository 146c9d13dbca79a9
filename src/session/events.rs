//! The same streams as server-sent events, in the body of an HTTP answer.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use bytes::BytesMut;
use futures_util::stream;
use tokio::net::UnixStream;

use super::replay::wrong;
use super::upgrade::Sessions;
use super::{admit, pipe};
use crate::http::Problem;
use crate::stream::FeedSpec;
use crate::wire::{Dialect, sse};

const LAST_EVENT_ID: &str = "last-event-id";
/// How long a client waits that lost its connection. One that is told to go gets a moment of its own.
const RETRY_MS: u64 = 2_000;

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
    let client = ticket.client();
    let socket = pipe::open(ticket, Vec::new()).await?;
    pipe::answer(&request, &client, "text/event-stream", body(socket))
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

/// What the hub writes, until it has no more to say.
fn body(socket: UnixStream) -> Body {
    let parts = stream::unfold((socket, true), |(socket, first)| async move {
        if first {
            return Some((Ok(sse::retry(RETRY_MS)), (socket, false)));
        }
        let mut part = BytesMut::new();
        match pipe::read(&socket, &mut part).await {
            Ok(true) => Some((Ok(part.freeze()), (socket, false))),
            Ok(false) => None,
            Err(error) => Some((Err(error), (socket, false))),
        }
    });
    Body::from_stream(parts)
}

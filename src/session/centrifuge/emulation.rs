//! The protocol where no WebSocket comes through: the server's half is the body of an answer, the client's half are
//! requests to `/emulation` that name the session.
//!
//! Between the two stands a pair of sockets that speaks WebSocket to the shard, so that limits, pings, order and the end
//! are those of every connection. Clients that only listen come here, too.

use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use super::{Channels, Opening, begin, query_of};
use crate::http::{Problem, RawBody};
use crate::session::{admit, pipe};
use crate::wire::centrifuge::{Disconnect, Disconnected, EmulationRequest, Encoding, Push, Reply};
use crate::wire::{Opcode, client_frame, sse as events, take_frame};

/// How long commands may wait for a shard that has much to do.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a browser needs to see that an event stream has begun.
const OPENED: &[u8] = b"\r\n";
const CONNECTION_CLOSED: u16 = 3000;

/// The way in of a connection whose commands come by requests of their own.
pub(super) struct Inlet {
    encoding: Encoding,
    /// Of the answer's body: it ends with that.
    socket: Weak<UnixStream>,
    /// One request's commands at a time.
    turn: Arc<Mutex<()>>,
}

/// How messages stand in the body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// As they are, JSON with a line end behind each.
    Plain,
    Events,
}

impl Layout {
    fn content_type(self, encoding: Encoding) -> &'static str {
        match (self, encoding) {
            (Layout::Events, _) => "text/event-stream",
            (Layout::Plain, Encoding::Protobuf) => "application/octet-stream",
            (Layout::Plain, _) => "application/json",
        }
    }

    fn put(self, encoding: Encoding, message: &[u8], out: &mut BytesMut) {
        match (self, encoding) {
            (Layout::Events, _) => out.extend_from_slice(&events::event(message)),
            (Layout::Plain, Encoding::Protobuf) => out.extend_from_slice(message),
            (Layout::Plain, _) => {
                out.extend_from_slice(message);
                out.extend_from_slice(b"\n");
            }
        }
    }
}

/// `POST /connection/http_stream`: the body is the first message.
pub async fn http_stream(
    State(channels): State<Channels>,
    request: Parts,
    RawBody(first): RawBody,
) -> Result<Response, Problem> {
    let encoding = encoding_of(&request);
    two_ways(&channels, &request, Layout::Plain, encoding, first).await
}

/// `GET /connection/sse?cf_connect=…`, or a POST with a body.
pub async fn sse(
    State(channels): State<Channels>,
    request: Parts,
    RawBody(body): RawBody,
) -> Result<Response, Problem> {
    let first = first_of(&request, body);
    two_ways(&channels, &request, Layout::Events, Encoding::Json, first).await
}

/// `POST /connection/uni_http_stream`: the body is the request to connect.
pub async fn uni_http_stream(
    State(channels): State<Channels>,
    request: Parts,
    RawBody(body): RawBody,
) -> Result<Response, Problem> {
    one_way(&channels, &request, Layout::Plain, body).await
}

/// `GET /connection/uni_sse?cf_connect=…`, or a POST with a body.
pub async fn uni_sse(
    State(channels): State<Channels>,
    request: Parts,
    RawBody(body): RawBody,
) -> Result<Response, Problem> {
    let first = first_of(&request, body);
    one_way(&channels, &request, Layout::Events, first).await
}

/// `POST /emulation`: commands of a connection, wherever it is.
pub async fn emulation(
    State(channels): State<Channels>,
    request: Parts,
    RawBody(body): RawBody,
) -> Result<StatusCode, Problem> {
    admit::origin(&channels.0.sessions, &request)?;
    check_size(&channels, &body)?;
    let read = match encoding_of(&request) {
        Encoding::Protobuf => prost::Message::decode(body).map_err(|error| error.to_string()),
        _ => EmulationRequest::from_json(&body).map_err(|error| error.to_string()),
    };
    let EmulationRequest { node, session, data } = read.map_err(|error| {
        Problem::bad_request(format!("the body is no request with session, node and data: {error}"))
    })?;
    if session.is_empty() || data.is_empty() {
        let name = if session.is_empty() { "session" } else { "data" };
        return Err(Problem::bad_request("there is nothing to pass on").with_field(name, "must not be empty"));
    }
    if channels.commanded(&session, &data).await {
        return Ok(StatusCode::NO_CONTENT);
    }
    if node.is_empty() || node == channels.node().hub().node_id() || !channels.node().broker().is_shared() {
        return Err(Problem::new(StatusCode::NOT_FOUND, "not-found", "there is no such session; connect anew"));
    }
    channels.forward(node, session, &data).await.map_err(|error| {
        tracing::warn!(%error, "commands could not be forwarded to another node");
        Problem::unavailable("the broker is unavailable; try again", 1)
    })?;
    Ok(StatusCode::NO_CONTENT)
}

async fn two_ways(
    channels: &Channels,
    request: &Parts,
    layout: Layout,
    encoding: Encoding,
    first: Bytes,
) -> Result<Response, Problem> {
    admit::origin(&channels.0.sessions, request)?;
    check_size(channels, &first)?;
    if first.is_empty() {
        let sessions = &channels.0.sessions;
        return Err(sessions.reject("handshake", Problem::bad_request("the first message, which connects, is missing")));
    }
    let session = uuid::Uuid::new_v4().to_string();
    let opening = Opening { encoding, native: false, emulated: Some(session.clone()), first: None };
    let ticket = begin(channels, request, opening).await?;
    let client = ticket.client();
    let socket = Arc::new(pipe::open(ticket, client_frame(opcode(encoding), &first).to_vec()).await?);
    let inlet = Inlet { encoding, socket: Arc::downgrade(&socket), turn: Arc::default() };
    channels.0.emulated.insert(session.clone(), inlet);
    let outlet = Outlet::new(socket, layout, encoding, Some((channels.clone(), session)));
    pipe::answer(request, &client, layout.content_type(encoding), outlet.body())
}

async fn one_way(channels: &Channels, request: &Parts, layout: Layout, first: Bytes) -> Result<Response, Problem> {
    admit::origin(&channels.0.sessions, request)?;
    check_size(channels, &first)?;
    let encoding = Encoding::Bare;
    let first = if first.is_empty() { "{}".into() } else { String::from_utf8_lossy(&first).into_owned() };
    let opening = Opening { encoding, native: false, emulated: None, first: Some(first) };
    let ticket = begin(channels, request, opening).await?;
    let client = ticket.client();
    let socket = Arc::new(pipe::open(ticket, Vec::new()).await?);
    pipe::answer(request, &client, layout.content_type(encoding), Outlet::new(socket, layout, encoding, None).body())
}

impl Channels {
    /// Passes commands on to a connection of this node; `false`: there is none by that name.
    pub(super) async fn commanded(&self, session: &str, commands: &[u8]) -> bool {
        // No entry is held while one waits.
        let found =
            self.0.emulated.get(session).map(|inlet| (inlet.encoding, inlet.socket.clone(), inlet.turn.clone()));
        let Some((encoding, socket, turn)) = found else { return false };
        let Some(socket) = socket.upgrade() else { return false };
        let frame = client_frame(opcode(encoding), commands);
        let written = tokio::time::timeout(PATIENCE, async {
            let _turn = turn.lock_owned().await;
            write(&socket, &frame).await
        });
        match written.await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a connection has ended before its commands came");
                false
            }
            // Half a message may be there: nothing that follows would be understood.
            Err(_) => {
                self.0.emulated.remove(session);
                let _ = socket2::SockRef::from(&*socket).shutdown(std::net::Shutdown::Both);
                false
            }
        }
    }
}

async fn write(socket: &UnixStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        socket.writable().await?;
        match socket.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What the shard writes as WebSocket frames, on its way into the body.
struct Outlet {
    socket: Arc<UnixStream>,
    layout: Layout,
    encoding: Encoding,
    frames: BytesMut,
    begun: bool,
    ended: bool,
    /// Where the way in is listed.
    listed: Option<(Channels, String)>,
}

impl Outlet {
    fn new(socket: Arc<UnixStream>, layout: Layout, encoding: Encoding, listed: Option<(Channels, String)>) -> Self {
        Self { socket, layout, encoding, frames: BytesMut::new(), begun: false, ended: false, listed }
    }

    fn body(self) -> Body {
        Body::from_stream(stream::unfold(self, |mut outlet| async move {
            let part = outlet.next().await?;
            Some((part, outlet))
        }))
    }

    async fn next(&mut self) -> Option<std::io::Result<Bytes>> {
        if !self.begun && self.layout == Layout::Events {
            self.begun = true;
            return Some(Ok(Bytes::from_static(OPENED)));
        }
        loop {
            let mut out = BytesMut::new();
            while let Some((opcode, payload)) = take_frame(&mut self.frames) {
                match opcode {
                    Opcode::Text | Opcode::Binary => self.layout.put(self.encoding, &payload, &mut out),
                    Opcode::Close => {
                        if let Some(last) = farewell(self.encoding, &payload) {
                            self.layout.put(self.encoding, &last, &mut out);
                        }
                        self.ended = true;
                        // The answer that the shard waits for.
                        let _ = self.socket.try_write(&client_frame(Opcode::Close, &payload));
                    }
                    Opcode::Ping | Opcode::Pong => {}
                }
            }
            if !out.is_empty() {
                return Some(Ok(out.freeze()));
            }
            if self.ended {
                return None;
            }
            match pipe::read(&self.socket, &mut self.frames).await {
                Ok(more) => self.ended = !more,
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        if let Some((channels, session)) = self.listed.take() {
            channels.0.emulated.remove(&session);
        }
    }
}

/// What a close frame says, as a push.
fn farewell(encoding: Encoding, payload: &[u8]) -> Option<Vec<u8>> {
    let (code, reason) = payload.split_first_chunk::<2>()?;
    let code = u16::from_be_bytes(*code);
    if code == CONNECTION_CLOSED {
        return None;
    }
    let reason = String::from_utf8_lossy(reason).into_owned();
    let disconnect = Some(Disconnected { code: code.into(), reason, reconnect: Disconnect::reconnects(code) });
    Some(encoding.message(&Reply { push: Some(Push { disconnect, ..Push::default() }), ..Reply::default() }))
}

fn opcode(encoding: Encoding) -> Opcode {
    if encoding == Encoding::Protobuf { Opcode::Binary } else { Opcode::Text }
}

fn encoding_of(request: &Parts) -> Encoding {
    let content_type = request.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match content_type.is_some_and(|value| value.trim().starts_with("application/octet-stream")) {
        true => Encoding::Protobuf,
        false => Encoding::Json,
    }
}

fn first_of(request: &Parts, body: Bytes) -> Bytes {
    query_of(request).remove("cf_connect").map_or(body, Bytes::from)
}

fn check_size(channels: &Channels, body: &Bytes) -> Result<(), Problem> {
    let most = channels.node().hub().options().max_message_bytes;
    if body.len() <= most {
        return Ok(());
    }
    let detail = format!("a message of a client has at most {most} bytes");
    Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail))
}

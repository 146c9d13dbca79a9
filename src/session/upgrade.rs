//! From an upgrade request to a socket that its shard owns.
//!
//! The place in the hub is taken before the handshake is answered: once a client knows that it is connected, nothing
//! published passes it by.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::sync::CancellationToken;

use super::admit;
use super::first::Newcomer;
use super::handshake::{deflate, subprotocol, websocket_key};
use super::limits::{LimitOptions, Limits};
use super::replay::{Replay, Replays, wrong};
use crate::auth::{AuthError, Gate};
use crate::http::{Origins, Problem};
use crate::stream::{FeedSpec, Node, SnapshotSource, Ticket};
use crate::telemetry::{Registry, name};
use crate::wire::{DEFLATE_ANSWER, Deflate, Dialect};

/// What the client is called in `explain`.
pub(super) const CLIENT: HeaderName = HeaderName::from_static("x-client-id");
/// How long the answer to a handshake may take to be written.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Revocations within this time are looked at together.
const TOGETHER: Duration = Duration::from_millis(50);

/// What upgrades need; cloning shares it.
#[derive(Clone)]
pub struct Sessions(Arc<Inner>);

struct Inner {
    node: Node,
    gate: Gate,
    origins: Origins,
    limits: Arc<Limits>,
    snapshots: Snapshots,
    replays: Option<Replays>,
    /// For what a shard must not wait for.
    runtime: Handle,
    rejected: Family<Vec<(&'static str, &'static str)>, Counter>,
}

/// The rows behind the feeds that have some, by the feed's name.
pub type Snapshots = HashMap<&'static str, Arc<dyn SnapshotSource>>;

impl Sessions {
    pub fn new(
        node: Node,
        gate: Gate,
        origins: Origins,
        options: LimitOptions,
        snapshots: Snapshots,
        registry: &mut Registry,
    ) -> Self {
        let rejected = Family::<Vec<(&'static str, &'static str)>, Counter>::default();
        registry.register(name::UPGRADES_REJECTED, "WebSocket handshakes refused, by reason", rejected.clone());
        let (limits, runtime) = (Limits::new(options), Handle::current());
        Self(Arc::new(Inner { node, gate, origins, limits, snapshots, replays: None, runtime, rejected }))
    }

    /// Before they are shared: clients may begin in the past.
    pub fn with_replays(mut self, replays: Option<Replays>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.replays = replays;
        }
        self
    }

    pub(super) fn replays(&self) -> Option<&Replays> {
        self.0.replays.as_ref()
    }

    /// Until `stop`, ends connections whose right is taken back, on whatever node that was done.
    pub fn watch(&self, stop: CancellationToken) -> impl Future<Output = ()> + use<> {
        // Asked for before the first client comes, so that nothing is missed.
        let (mut told, node) = (self.0.gate.watch_revocations(), self.0.node.clone());
        async move {
            loop {
                let revoked = tokio::select! {
                    () = stop.cancelled() => return,
                    revoked = told.recv() => revoked,
                };
                if revoked == Err(RecvError::Closed) {
                    return;
                }
                // One walk over all clients serves all that come together. What was missed for being too many is known
                // to whoever is asked, as he looks at what is in force.
                tokio::time::sleep(TOGETHER).await;
                while !matches!(told.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
                node.hub().examine().await;
            }
        }
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.0.gate
    }

    pub(super) fn origins(&self) -> &Origins {
        &self.0.origins
    }

    pub(super) fn limits(&self) -> &Arc<Limits> {
        &self.0.limits
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.0.runtime
    }

    pub(super) fn node(&self) -> &Node {
        &self.0.node
    }

    pub(super) fn snapshot_of(&self, feed: &FeedSpec) -> Option<&dyn SnapshotSource> {
        self.0.snapshots.get(feed.name).map(Arc::as_ref)
    }

    pub(super) fn reject(&self, reason: &'static str, problem: Problem) -> Problem {
        self.count_rejected(reason);
        problem
    }

    pub(super) fn count_rejected(&self, reason: &'static str) {
        self.0.rejected.get_or_create(&vec![("reason", reason)]).inc();
    }
}

/// Answers a request for a feed's WebSocket: 101 and a socket on its shard, or a problem.
pub async fn upgrade(feed: &'static FeedSpec, sessions: Sessions, mut request: Parts) -> Result<Response, Problem> {
    let started = Instant::now();
    let accept = accept_key(&sessions, &request)?;
    let offered = subprotocol(&request.headers);
    let deflate = deflate(&request.headers, sessions.node().hub().options().deflate.deflate());
    let way = admit(feed, &sessions, &request, (offered, deflate)).await?;
    let client = match &way {
        Way::Known(ticket) => Some(ticket.client()),
        // They have no name yet.
        Way::Unknown(_) | Way::Past(_) => None,
    };
    sessions.0.node.hub().note_handshake(started.elapsed());
    let answer = Answer { accept, client, deflate, protocol: offered.map(Dialect::subprotocol) };
    switch(&mut request, answer, |socket, first| async move {
        match way {
            Way::Unknown(newcomer) => newcomer.receive(socket, first).await,
            Way::Past(replay) => replay.run(socket, first).await,
            Way::Known(ticket) => adopt(ticket, socket, first).await,
        }
    })
}

/// The key that accepts a proper handshake.
pub(super) fn accept_key(sessions: &Sessions, request: &Parts) -> Result<HeaderValue, Problem> {
    let key = websocket_key(&request.method, &request.headers);
    let key = key.map_err(|problem| sessions.reject("handshake", problem))?;
    HeaderValue::try_from(derive_accept_key(key)).map_err(Problem::internal)
}

/// What the answer to a handshake says.
pub(super) struct Answer {
    pub accept: HeaderValue,
    pub client: Option<String>,
    pub protocol: Option<&'static str>,
    pub deflate: Option<Deflate>,
}

/// The answer that ends HTTP on this connection. `then` gets its socket, and what came with the request; whatever goes
/// wrong before drops it, and with it the place in the hub.
pub(super) fn switch<Then, Done>(request: &mut Parts, answer: Answer, then: Then) -> Result<Response, Problem>
where
    Then: FnOnce(TcpStream, Vec<u8>) -> Done + Send + 'static,
    Done: Future<Output = ()> + Send,
{
    let client = answer.client.map(HeaderValue::try_from).transpose().map_err(Problem::internal)?;
    let upgraded = request.extensions.remove::<OnUpgrade>();
    let upgraded = upgraded.ok_or_else(|| Problem::internal("the connection cannot be upgraded"))?;
    tokio::spawn(async move {
        let Ok(Ok(upgraded)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, upgraded).await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
            tracing::error!("an upgraded connection is not a plain TCP stream");
            return;
        };
        // The buffer is copied: the original would keep the HTTP parser's whole buffer alive.
        let first = parts.read_buf.to_vec();
        then(parts.io.into_inner(), first).await;
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, answer.accept);
    if let Some(client) = client {
        headers.insert(CLIENT, client);
    }
    if answer.deflate.is_some() {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(DEFLATE_ANSWER));
    }
    if let Some(protocol) = answer.protocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    Ok(response)
}

/// How a client comes in.
enum Way {
    Known(Ticket),
    /// Its token is its first message.
    Unknown(Box<Newcomer>),
    /// It begins in the past.
    Past(Box<Replay>),
}

/// The socket leaves the runtime for its shard.
pub(super) async fn adopt(ticket: Ticket, socket: TcpStream, first: Vec<u8>) {
    match socket.into_std() {
        Ok(socket) => ticket.adopt(socket, first).await,
        Err(error) => tracing::warn!(%error, "a socket could not leave the runtime"),
    }
}

/// Every reason to refuse, in order; then the place.
async fn admit(
    feed: &'static FeedSpec,
    sessions: &Sessions,
    request: &Parts,
    (offered, deflate): (Option<Dialect>, Option<Deflate>),
) -> Result<Way, Problem> {
    admit::origin(sessions, request)?;
    let wishes = admit::wishes(feed, sessions, request)?;
    let dialect = offered.or(wishes.dialect).unwrap_or(Dialect::Json);
    let identity = match admit::identify(sessions, request) {
        Err(AuthError::Missing) if wishes.auth_by_message || sessions.limits().options().first_message => None,
        identity => Some(identity.map_err(|error| sessions.reject("unauthorized", error.into()))?),
    };
    if let Some(identity) = &identity {
        admit::permit(feed, sessions, identity, &wishes)?;
    }
    let held = admit::hold(sessions, request)?;
    Ok(match identity {
        Some(identity) if wishes.travel.is_wanted() => {
            let who = (&identity, &wishes, dialect, deflate);
            let (audience, _, peer) = admit::seat(feed, sessions, who, held).await?;
            let replay = Replay::prepare(sessions, audience, &wishes.travel, peer, identity.subject.clone()).await;
            Way::Past(replay.map_err(|problem| sessions.reject("record", problem))?)
        }
        Some(identity) => Way::Known(admit::place(feed, sessions, (&identity, &wishes, dialect, deflate), held).await?),
        None if wishes.travel.is_wanted() => {
            let problem = wrong("from", "cannot go with a token as the first message");
            return Err(sessions.reject("parameter", problem));
        }
        None => Way::Unknown(Box::new(Newcomer { feed, sessions: sessions.clone(), wishes, dialect, deflate, held })),
    })
}

//! From an upgrade request to a socket that its shard owns.
//!
//! The place in the hub is taken before the handshake is answered: once a client knows that it is connected, nothing
//! published passes it by.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::begin::begin;
use super::handshake::{Wishes, audience_spec, subprotocol, websocket_key};
use super::limits::{Full, LimitOptions, Limits};
use super::plain::Plain;
use super::replay::{Replay, Replays, Way};
use crate::auth::{Gate, Permission};
use crate::http::{Origins, Problem, guard};
use crate::stream::{FeedSpec, Node, SnapshotSource};
use crate::telemetry::{Registry, name};
use crate::wire::Dialect;

/// What the client is called in `explain`.
const CLIENT: HeaderName = HeaderName::from_static("x-client-id");
/// How long the answer to a handshake may take to be written.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

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
        Self(Arc::new(Inner { node, gate, origins, limits: Limits::new(options), snapshots, replays: None, rejected }))
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

    pub(super) fn node(&self) -> &Node {
        &self.0.node
    }

    pub(super) fn snapshot_of(&self, feed: &FeedSpec) -> Option<&dyn SnapshotSource> {
        self.0.snapshots.get(feed.name).map(Arc::as_ref)
    }

    fn reject(&self, reason: &'static str, problem: Problem) -> Problem {
        self.0.rejected.get_or_create(&vec![("reason", reason)]).inc();
        problem
    }
}

/// Answers a request for a feed's WebSocket: 101 and a socket on its shard, or a problem.
pub async fn upgrade(feed: &'static FeedSpec, sessions: Sessions, mut request: Parts) -> Result<Response, Problem> {
    let started = Instant::now();
    let (way, dialect, accept) = admit(feed, &sessions, &request).await?;
    sessions.0.node.hub().note_handshake(started.elapsed());
    let client = way.client().map(HeaderValue::try_from).transpose().map_err(Problem::internal)?;
    let upgraded = request.extensions.remove::<OnUpgrade>();
    let upgraded = upgraded.ok_or_else(|| Problem::internal("the connection cannot be upgraded"))?;
    tokio::spawn(async move {
        // Whatever goes wrong here drops the ticket, and with it the place.
        let Ok(Ok(upgraded)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, upgraded).await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
            tracing::error!("an upgraded connection is not a plain TCP stream");
            return;
        };
        // The buffer is copied: the original would keep the HTTP parser's whole buffer alive.
        way.go(parts.io.into_inner(), parts.read_buf.to_vec()).await;
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    client.map(|client| headers.insert(CLIENT, client));
    if let Some(dialect) = dialect {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(dialect.subprotocol()));
    }
    Ok(response)
}

/// Every reason to refuse, in order; then the place. Answers the subprotocol to name and the accept key.
async fn admit(
    feed: &'static FeedSpec,
    sessions: &Sessions,
    request: &Parts,
) -> Result<(Way, Option<Dialect>, HeaderValue), Problem> {
    let headers = &request.headers;
    let key = websocket_key(&request.method, headers).map_err(|problem| sessions.reject("handshake", problem))?;
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("not text"));
    if !sessions.0.origins.allows(text(header::ORIGIN), text(header::HOST)) {
        let problem = Problem::new(StatusCode::FORBIDDEN, "origin", "this Origin may not connect; see ALLOWED_ORIGINS");
        return Err(sessions.reject("origin", problem));
    }
    let wishes = Wishes::parse(feed, request.uri.query().unwrap_or(""));
    let wishes = wishes.map_err(|problem| sessions.reject("parameter", problem))?;
    let token = guard::websocket_token(headers, request.uri.query());
    let identity = guard::identify(&sessions.0.gate, headers, token.as_deref());
    let identity = identity.map_err(|error| sessions.reject("unauthorized", error.into()))?;
    if !identity.may_listen(feed.name, feed.channels) {
        return Err(sessions.reject("forbidden", guard::forbidden(Permission::Read)));
    }
    let peer = request.extensions.get::<ConnectInfo<SocketAddr>>();
    let address = peer.map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |ConnectInfo(peer)| peer.ip());
    let held = sessions.0.limits.take(address).map_err(|full| match full {
        Full::Node => {
            sessions.reject("node full", Problem::unavailable("this node has no place for another connection", 5))
        }
        Full::Address => {
            let detail = "too many connections from this address";
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-connections", detail);
            sessions.reject("address full", problem.with_header(header::RETRY_AFTER, HeaderValue::from(5)))
        }
    })?;
    let offered = subprotocol(headers);
    let dialect = offered.or(wishes.dialect).unwrap_or(Dialect::Json);
    if wishes.snapshot && sessions.snapshot_of(feed).is_none() {
        let problem = Problem::bad_request("this feed has no rows, and so no snapshot");
        return Err(sessions.reject("parameter", problem.with_field("snapshot", "is not offered by this feed")));
    }
    if wishes.presence && sessions.node().presence().is_none_or(|presence| !presence.covers(feed.name)) {
        let problem = Problem::bad_request("this feed does not tell who is present");
        return Err(sessions.reject("parameter", problem.with_field("presence", "is not offered by this feed")));
    }
    let when_full = sessions.0.node.hub().options().when_full.get(feed.name).copied().unwrap_or_default();
    let audience = sessions.0.node.audience(audience_spec(feed, dialect, &wishes, when_full)).await;
    let audience = audience.map_err(|error| {
        tracing::warn!(%error, feed = feed.name, "a feed could not be subscribed");
        sessions.reject("broker", Problem::unavailable("the broker is unavailable; try again", 5))
    })?;
    let accept = HeaderValue::try_from(derive_accept_key(key)).map_err(Problem::internal)?;
    let peer = Box::new(Plain { dialect, _held: held });
    if wishes.travel.is_wanted() {
        let who = (identity.subject.clone(), identity.ends_at_ms());
        let replay = Replay::prepare(sessions, audience, &wishes.travel, peer, who).await;
        return Ok((Way::Past(replay.map_err(|problem| sessions.reject("record", problem))?), offered, accept));
    }
    let ticket = begin(feed, sessions, audience, &wishes, &identity.subject, peer).await;
    let ticket = ticket.map_err(|problem| sessions.reject("snapshot", problem))?;
    Ok((Way::Live(ticket), offered, accept))
}

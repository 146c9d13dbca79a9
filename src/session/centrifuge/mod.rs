//! The Centrifuge protocol over WebSocket: official clients connect, and take channels one by one.
//!
//! Frames are read on the connection's shard and answered by a task of its session: a token's key, a channel's past or
//! a publish may take a while, and a shard must not wait. Answers go through the shard's queue, in order.

mod commands; // publish, presence, history and the rest
mod connect; // who the client is
mod emulation; // the same over HTTP, both ways
mod map; // the newest value of each key, and what changes
mod nodes; // who else there is, and who is on which channels
mod options;
mod orders; // what back ends tell sessions
mod peer; // the shard's end of a session
mod poll; // what back ends answer about keys
mod rules; // what a channel's name means, and who may do what there
mod session; // the task of one connection
mod subscribe; // a channel for the client

pub use commands::{Past, Span, clients};
pub use emulation::{emulation, http_stream, sse, uni_http_stream, uni_sse};
pub use map::{ClientKey, MapMode, MapOptions, SubscriptionType, check_key};
pub use nodes::NodeInfo;
pub use options::{CentrifugeOptions, ChannelOptions, ChannelOptionsError, check};
pub use orders::{Order, Target, control_channel};
pub use poll::{PollItem, PollOptions, SharedPollOptions};
pub use rules::tag_filter;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use axum::http::request::Parts;
use axum::response::Response;
use dashmap::DashMap;
use regex::Regex;
use tokio::sync::mpsc;

use self::emulation::Inlet;
use self::nodes::Nodes;
use self::orders::Known;
use self::peer::{Signs, Talker};
use self::poll::Polls;
use self::session::{Line, Session};
use super::admit;
use super::upgrade::{Answer, Sessions, accept_key, adopt, switch};
use crate::auth::AuthError;
use crate::clock::Clock;
use crate::http::{Problem, guard};
use crate::stream::{AudienceSpec, FeedSpec, Filter, HistoryOptions, Joining, Node, Pace, Ticket};
use crate::telemetry::Registry;
use crate::wire::centrifuge::{Delta, Encoding, Shape};
use crate::wire::{Dialect, Form};

/// The label in metrics.
const FEED: &str = "centrifuge";
/// Messages of one client that wait for its session; one more ends the connection with 3013.
const QUEUE: usize = 256;

/// The channels that the protocol serves; cloning shares it.
#[derive(Clone)]
pub struct Channels(Arc<Shared>);

pub(super) struct Shared {
    sessions: Sessions,
    options: CentrifugeOptions,
    feeds: Vec<&'static FeedSpec>,
    of_feeds: ChannelOptions,
    without_namespace: ChannelOptions,
    namespaces: HashMap<String, ChannelOptions>,
    clock: Clock,
    /// Every connection of this node that has said who it is.
    known: DashMap<String, Known>,
    /// Those whose commands come by requests of their own, by session.
    emulated: DashMap<String, Inlet>,
    nodes: Nodes,
    /// What the parts of channels' names behind the namespace have to be, by namespace.
    regexes: HashMap<String, Regex>,
    check: OnceLock<Box<MessageCheck>>,
    polls: Polls,
}

/// Whether a message may be published on a channel.
pub type MessageCheck = dyn Fn(&str, &[u8]) -> bool + Send + Sync;

impl Channels {
    pub fn new(
        sessions: Sessions,
        options: CentrifugeOptions,
        without_namespace: ChannelOptions,
        namespaces: Vec<ChannelOptions>,
        feeds: Vec<&'static FeedSpec>,
        clock: Clock,
        metrics: &mut Registry,
    ) -> Self {
        let polls = Polls::new(&options.shared_poll, clock.clone(), metrics);
        let history: HistoryOptions = sessions.node().hub().options().history.clone();
        let patterns = namespaces.iter().chain([&without_namespace]);
        let regexes = patterns.filter_map(|one| Some((one.name.clone(), one.regex()?)));
        let regexes = regexes.collect();
        let namespaces = namespaces.into_iter().map(|namespace| (namespace.name.clone(), namespace)).collect();
        Self(Arc::new(Shared {
            sessions,
            options,
            feeds,
            of_feeds: ChannelOptions::of_feeds(&history),
            without_namespace,
            namespaces,
            clock,
            known: DashMap::new(),
            emulated: DashMap::new(),
            nodes: Nodes::new(),
            regexes,
            check: OnceLock::new(),
            polls,
        }))
    }

    /// Has every message looked at before it is published; once.
    pub fn checking(&self, check: Box<MessageCheck>) {
        let _ = self.0.check.set(check);
    }

    /// Whether what is to be published is what the channel's schema says.
    pub fn fits(&self, channel: &str, data: &[u8]) -> bool {
        self.0.check.get().is_none_or(|check| check(channel, data))
    }

    pub fn node(&self) -> &Node {
        self.0.sessions.node()
    }
}

/// `GET /connection/websocket`: 101 and a connection that speaks the protocol.
pub async fn upgrade(channels: Channels, mut request: Parts) -> Result<Response, Problem> {
    open(channels, &mut request, None).await
}

/// `GET /connection/uni_websocket`: the same for clients that only listen; pushes come by themselves.
pub async fn upgrade_one_way(channels: Channels, mut request: Parts) -> Result<Response, Problem> {
    open(channels, &mut request, Some(Encoding::Bare)).await
}

async fn open(channels: Channels, request: &mut Parts, one_way: Option<Encoding>) -> Result<Response, Problem> {
    let accept = accept_key(&channels.0.sessions, request)?;
    admit::origin(&channels.0.sessions, request)?;
    let query = query_of(request);
    let asks = |name: &str, value: &str| query.get(name).is_some_and(|given| given == value);
    let offered = subprotocol(request);
    let by_query = asks("format", "protobuf") || asks("cf_protocol", "protobuf");
    let encoding = one_way.or(offered).unwrap_or(if by_query { Encoding::Protobuf } else { Encoding::Json });
    let opening = Opening {
        encoding,
        native: asks("cf_ws_frame_ping_pong", "true"),
        emulated: None,
        first: query.get("cf_connect").filter(|_| one_way.is_some()).cloned(),
    };
    let ticket = begin(&channels, request, opening).await?;
    let protocol = offered.filter(|_| one_way.is_none()).map(Encoding::subprotocol);
    let answer = Answer { accept, client: Some(ticket.client()), protocol, deflate: None };
    switch(request, answer, |socket, first| adopt(ticket, socket, first))
}

/// How a connection is to be.
struct Opening {
    encoding: Encoding,
    /// Pings are WebSocket's own.
    native: bool,
    /// The session's name, where its commands come by requests of their own.
    emulated: Option<String>,
    /// What a client says that will never send anything.
    first: Option<String>,
}

/// Admits a connection that has yet to say who it is: its place in the hub, and the task of its session.
async fn begin(channels: &Channels, request: &Parts, opening: Opening) -> Result<Ticket, Problem> {
    let sessions = &channels.0.sessions;
    let Opening { encoding, native, emulated, first } = opening;
    // Who is known by the handshake need not say it again.
    let token = guard::websocket_token(&request.headers, request.uri.query());
    let shown = match guard::identify(sessions.gate(), &request.headers, token.as_deref()) {
        Ok(identity) => Some(identity),
        Err(AuthError::Missing) => None,
        Err(error) => return Err(sessions.reject("unauthorized", error.into())),
    };
    let held = admit::hold(sessions, request)?;
    let form = Form::from(Dialect::Centrifuge(Shape { encoding, delta: Delta::Off }));
    let (filter, pace) = (Filter::default(), Pace::default());
    let spec = AudienceSpec { feed: FEED, form, channels: Vec::new(), filter, pace, alias: None, by_server: false };
    let audience = channels.node().audience(spec).await.map_err(Problem::internal)?;
    let (queue, inputs) = mpsc::channel(QUEUE);
    let signs = Arc::new(Signs::new(native, encoding == Encoding::Bare));
    let talker = Talker::new(queue.clone(), encoding, signs.clone(), held);
    let ticket = channels.node().connect(audience, Box::new(talker), Joining::default()).await;
    let ticket = ticket.map_err(|missed| Problem::internal(missed.reason))?;
    let line = Line { client: ticket.session(), encoding, signs, shown, emulated, queue: queue.downgrade() };
    tokio::spawn(Session::new(channels.clone(), line).run(inputs, first));
    Ok(ticket)
}

fn query_of(request: &Parts) -> HashMap<String, String> {
    url::form_urlencoded::parse(request.uri.query().unwrap_or("").as_bytes()).into_owned().collect()
}

/// The first that the client offers and we speak. An empty header, as some clients send it, offers nothing.
fn subprotocol(request: &Parts) -> Option<Encoding> {
    let offers = request.headers.get_all(axum::http::header::SEC_WEBSOCKET_PROTOCOL).iter();
    let offers = offers.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    offers.map(str::trim).find_map(Encoding::from_subprotocol)
}

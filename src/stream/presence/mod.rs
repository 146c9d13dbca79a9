//! Who watches a channel: this node's clients as they come and go, and through the broker everybody's.
//!
//! The lease is the node's, not the client's: clients live and die with their node, so that keeping a hundred thousand
//! of them alive is one write. What changes, and what is told of it on `presence:<channel>`, happens in one step at the
//! broker; so a list that was read at a position, and what is published after that position, make the truth.

mod memory; // one process is all there is
mod roster; // this node's own clients
mod teller; // brings what changes to the broker

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub(super) use self::roster::{Attendance, Roster};
pub use self::roster::{Attending, ShownInfo};
use super::metrics::ReasonLabel;
use super::{BrokerError, Channel, Node, Position};
use crate::clock::Clock;
use crate::tasks::Tasks;
use crate::telemetry::{Registry, name};

/// Settings of presence.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct PresenceOptions {
    /// Feeds whose clients are known, by comma; `*`: all, empty: none.
    pub feeds: String,
    /// For how long a node that says nothing more counts as being there.
    pub lease_s: u64,
    /// Whether joins and leaves are published.
    pub events: bool,
    /// When more than so many clients come and go at once, one message with their number stands for all.
    pub max_events: usize,
    /// The most clients of one list.
    pub max_listed: usize,
}

impl Default for PresenceOptions {
    fn default() -> Self {
        Self { feeds: "*".into(), lease_s: 10, events: true, max_events: 100, max_listed: 1_000 }
    }
}

impl PresenceOptions {
    pub fn covers(&self, feed: &str) -> bool {
        self.feeds.split(',').map(str::trim).any(|known| known == "*" || known == feed)
    }

    pub(super) fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_s.max(1))
    }
}

/// One client, as lists and events tell it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Entry {
    pub client: String,
    pub user: Option<Arc<str>>,
    pub node: Arc<str>,
    pub connected_at: String,
    /// What the client's tokens say that others are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conn_info: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chan_info: Option<Box<RawValue>>,
}

/// What has changed on one channel since this node last told the broker.
pub(super) struct Note<'a> {
    pub joined: &'a [Entry],
    pub left: &'a [Entry],
    /// Numbers this node's notes on the channel: a broker that lost one is noticed by the next. 0 before the first.
    pub previous: u64,
    pub number: u64,
    /// False when the node goes, and all its clients with it.
    pub stays: bool,
    pub at: String,
}

/// Who watches a channel, on all nodes.
pub struct Present {
    /// Of `presence:<channel>`: what is published after it comes on top of this list.
    pub position: Position,
    pub num_clients: u64,
    pub num_users: u64,
    /// At most `max_listed` of them.
    pub clients: Vec<Box<RawValue>>,
}

/// Where the nodes of a broker keep who is there.
#[async_trait]
pub(super) trait PresenceStore: Send + Sync {
    /// Writes changes down, prolongs this node's lease, ends leases that have run out, and publishes all of it. Answers
    /// false when the broker has lost what this node told before. Repeated, it changes nothing and publishes nothing.
    async fn tell(&self, channel: &Channel, note: Note<'_>) -> Result<bool, BrokerError>;
    /// What this node's clients on the channel are to become, given those whom it has.
    async fn difference(&self, channel: &Channel, own: Vec<Entry>) -> Result<Difference, BrokerError>;
    /// Who is there; what that ends is told with the time `at`.
    async fn list(&self, channel: &Channel, at: String) -> Result<Present, BrokerError>;
}

/// What the broker does not know yet, and whom it knows although they have gone.
#[derive(Default)]
pub(super) struct Difference {
    pub missing: Vec<Entry>,
    /// Of these only the name is known for sure.
    pub gone: Vec<Entry>,
}

/// The presence counters.
#[derive(Clone, Default)]
pub struct PresenceMetrics {
    changes: Counter,
    failures: Counter,
    resyncs: Family<ReasonLabel, Counter>,
}

impl PresenceMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let all = Self::default();
        registry.register(name::PRESENCE_CHANGES, "Joins and leaves told to the broker", all.changes.clone());
        registry.register(name::PRESENCE_FAILURES, "Notes about presence that failed", all.failures.clone());
        let help = "Times that a channel's clients were compared with what the broker knows, by reason";
        registry.register(name::PRESENCE_RESYNCS, help, all.resyncs.clone());
        all
    }

    fn resync(&self, reason: &'static str) {
        self.resyncs.get_or_create(&ReasonLabel { reason }).inc();
    }
}

/// Cloning shares it.
#[derive(Clone)]
pub struct Presence(Arc<Inner>);

struct Inner {
    options: PresenceOptions,
    roster: Arc<Roster>,
    store: Arc<dyn PresenceStore>,
    /// Lists read of late: many clients may come at once, and what was published since follows from the history.
    recent: tokio::sync::Mutex<HashMap<Channel, (Instant, Arc<Present>)>>,
}

/// For how long one list serves all who come.
const RECENT: Duration = Duration::from_millis(500);

impl Node {
    /// From here on connections are known to all nodes. To be called once, before the first one.
    pub fn start_presence(&self, clock: Clock, metrics: PresenceMetrics, tasks: &Tasks) {
        let options = self.hub().options().presence.clone();
        let node: Arc<str> = self.hub().node_id().into();
        let roster = Arc::new(Roster::new(node.clone(), options.clone(), clock));
        let store: Arc<dyn PresenceStore> = match self.broker().presence(&node, &options) {
            Some(store) => store.0,
            None => Arc::new(memory::Local::new(roster.clone(), self.broker().clone(), options.clone())),
        };
        let inner = Inner { options, roster: roster.clone(), store: store.clone(), recent: Default::default() };
        if self.set_presence(Presence(Arc::new(inner))) {
            self.hub().set_roster(roster.clone());
            teller::start(roster, store, metrics, tasks);
        }
    }
}

/// A broker's own store; what it is made of is no one else's business.
pub struct SharedPresence(pub(super) Arc<dyn PresenceStore>);

impl Presence {
    pub fn covers(&self, feed: &str) -> bool {
        self.0.options.covers(feed)
    }

    /// Who watches `channel` now, on all nodes.
    pub async fn list(&self, channel: &Channel) -> Result<Present, BrokerError> {
        self.0.store.list(channel, self.0.roster.now()).await
    }

    /// The same, at most half a second old.
    pub async fn recent_list(&self, channel: &Channel) -> Result<Arc<Present>, BrokerError> {
        let mut recent = self.0.recent.lock().await;
        if let Some((at, present)) = recent.get(channel)
            && at.elapsed() < RECENT
        {
            return Ok(present.clone());
        }
        let present = Arc::new(self.list(channel).await?);
        recent.retain(|_, (at, _)| at.elapsed() < RECENT);
        recent.insert(channel.clone(), (Instant::now(), present.clone()));
        Ok(present)
    }
}

/// Times as every message has them.
fn iso(at_ms: i64) -> String {
    DateTime::from_timestamp_millis(at_ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

//! The hub: routes each publication to the shards that have somebody for it. A shard is one thread that owns its
//! sockets; nothing is locked and no thread is woken per delivery.

#[cfg(test)]
mod checks; // every order in which threads can come
mod cohorts; // who gets the same bytes, and what a turn has for them
mod client; // a connection as its session reaches it
mod conn; // one connection: socket, decoder, outbox
mod drain; // when each client is to come back
mod ids; // where clients of server-sent events stand
mod inbox; // the bounded queue into a shard
mod listeners; // the cohorts of a channel, found by the values they wait for
mod pace; // cohorts whose messages become fewer
mod place; // a connection's claim on its shard
mod probe; // one shard driven by hand, for benches
mod shard; // the thread: reads, turns, pings, closes
mod seats; // the channels that one connection is on
mod sink; // what the broker delivers, to the shards
mod wake; // whether a shard sleeps

/// What `wake.rs` uses; the model check has others.
mod sync {
    pub use std::sync::atomic::{AtomicBool, Ordering, fence};
}

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::oneshot;

pub use self::client::Client;
pub(super) use self::client::Subscription;
pub(super) use self::cohorts::Beginning;
pub use self::drain::Slots;
pub(super) use self::ids::event_behind;
use self::inbox::{Command, Inbox, Reservation};
pub(super) use self::inbox::{Found, Question};
use self::place::Place;
pub use self::place::Ticket;
#[doc(hidden)]
pub use self::probe::Probe;
use super::audience::{ActiveChannel, Audience};
use super::position::new_epoch;
use super::presence::{PresenceOptions, Roster};
use super::{Account, Channel, HistoryOptions, StreamMetrics, WhenFull};
use crate::wire::{Close, DeflateOptions, Form, Incoming};

/// Settings of the hub and its shards.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HubOptions {
    /// Threads that own sockets. 0: one a core.
    pub shards: usize,
    /// Commands and publications that may wait for a shard; publishers wait when it is full.
    pub inbox_messages: usize,
    /// What may wait for one slow client, in bytes, before its feed's `when_full` applies.
    pub outbox_bytes: usize,
    /// What happens then, by feed: `close` (with 3008, the default) or `keep-latest`.
    pub when_full: BTreeMap<String, WhenFull>,
    /// How much of each channel is kept for clients that come back.
    pub history: HistoryOptions,
    /// Who watches a channel, known to all nodes.
    pub presence: PresenceOptions,
    /// How long a channel that nobody listens to stays subscribed, so that who comes back soon misses nothing.
    pub linger_ms: u64,
    /// The largest message a client may send.
    pub max_message_bytes: usize,
    /// How messages are compressed for clients that offer it.
    pub deflate: DeflateOptions,
    /// How often an idle connection is pinged.
    pub ping_interval_s: u64,
    /// How long after a ping the client may stay silent. Shorter than the interval.
    pub pong_timeout_s: u64,
    /// How long a closing connection may take to read its close frame.
    pub close_timeout_ms: u64,
}

impl Default for HubOptions {
    fn default() -> Self {
        Self {
            shards: 0,
            inbox_messages: 8_192,
            outbox_bytes: 1 << 20,
            when_full: BTreeMap::new(),
            history: HistoryOptions::default(),
            presence: PresenceOptions::default(),
            linger_ms: 30_000,
            max_message_bytes: 64 << 10,
            deflate: DeflateOptions::default(),
            ping_interval_s: 25,
            pong_timeout_s: 10,
            close_timeout_ms: 3_000,
        }
    }
}

/// One client's side of the conversation, called on the shard's thread: it must not block.
/// Dropping it ends whatever the connection held, such as its place in the limits.
pub trait Peer: Send {
    /// A text or binary message has arrived; ready frames put into `replies` are sent in order.
    fn message(&mut self, message: Incoming<'_>, replies: &mut Vec<Bytes>) -> Result<(), Close>;

    /// When its right to be here ends, in milliseconds since 1970. Asked at the beginning and after each message.
    fn ends_at_ms(&self) -> Option<i64> {
        None
    }

    /// Whether it may stay. Asked when its time is up, and by [`Hub::examine`].
    fn may_stay(&self) -> Result<(), Close> {
        Ok(())
    }

    /// It is time to see whether the client is still there.
    fn ping(&mut self) -> Heartbeat {
        Heartbeat::Native
    }

    /// The hub has taken the client off one of its channels, and told it so.
    fn evicted(&mut self, _subscription: u64) {}
}

/// How a client is asked for a sign of life.
pub enum Heartbeat {
    /// By what its dialect has for it: WebSocket's own ping, or a comment among server-sent events.
    Native,
    /// By this frame, which it has to answer.
    Message(Bytes),
    /// It is only told that the server is there; what TCP cannot bring tells whether it is.
    Told(Bytes),
    /// Not now.
    Later,
}

/// Cloning shares the hub.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    /// Tells this process's clients from those of others.
    node_id: String,
    options: HubOptions,
    shards: Vec<inbox::Sender>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
    channels: RwLock<HashMap<Channel, Arc<ActiveChannel>>>,
    /// Every form there is here, by its index.
    forms: [Option<Form>; Form::COUNT],
    next_ticket: AtomicU64,
    /// What a handshake takes of late, in microseconds.
    handshake_us: AtomicU64,
    /// Who is connected, once somebody wants to know.
    roster: OnceLock<Arc<Roster>>,
    metrics: StreamMetrics,
}

impl Hub {
    /// Starts the shards' threads.
    pub fn start(options: HubOptions, metrics: StreamMetrics) -> std::io::Result<Self> {
        let (hub, shards) = Self::assemble(options, metrics)?;
        let mut threads = Vec::new();
        for (index, shard) in shards.into_iter().enumerate() {
            let name = format!("shard-{index}");
            threads.push(std::thread::Builder::new().name(name).spawn(move || shard.run())?);
        }
        *hub.0.threads.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = threads;
        Ok(hub)
    }

    /// The hub and its shards, which nobody runs yet.
    fn assemble(options: HubOptions, metrics: StreamMetrics) -> std::io::Result<(Self, Vec<shard::Shard>)> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = if options.shards == 0 { cores } else { options.shards };
        let (mut senders, mut shards) = (Vec::new(), Vec::new());
        for index in 0..count {
            let poll = mio::Poll::new()?;
            let (sender, inbox) = Inbox::new(options.inbox_messages, &poll)?;
            shards.push(shard::Shard::new((index, count), options.clone(), poll, inbox, metrics.clone()));
            senders.push(sender);
        }
        let mut forms = [None; Form::COUNT];
        Form::all(options.deflate.deflate()).for_each(|form| forms[form.index()] = Some(form));
        let hub = Self(Arc::new(Inner {
            node_id: new_epoch(),
            forms,
            options,
            shards: senders,
            threads: Mutex::default(),
            channels: RwLock::new(HashMap::new()),
            next_ticket: AtomicU64::new(1),
            handshake_us: AtomicU64::new(0),
            roster: OnceLock::new(),
            metrics,
        }));
        Ok((hub, shards))
    }

    pub fn metrics(&self) -> &StreamMetrics {
        &self.0.metrics
    }

    pub fn options(&self) -> &HubOptions {
        &self.0.options
    }

    /// Random, new with every process: what this node's clients' names begin with.
    pub fn node_id(&self) -> &str {
        &self.0.node_id
    }

    /// Takes a place for a connection whose handshake is about to be answered. Everything that the shards are told from
    /// now on reaches it: what comes before the socket does waits in its outbox, behind its backlog.
    pub(super) async fn connect(
        &self,
        audience: Arc<Audience>,
        peer: Box<dyn Peer>,
        mut beginning: Beginning,
    ) -> Ticket {
        let shards = self.0.shards.iter().enumerate();
        let index = shards.min_by_key(|(_, shard)| shard.connections()).map_or(0, |(index, _)| index);
        let ticket = beginning.ticket;
        let user = beginning.user.take();
        let attendance = self.0.roster.get().and_then(|roster| roster.attend(&audience, ticket, user));
        let place = Place::take(self.0.clone(), index, audience, attendance);
        self.0.shards[index].send(Command::Reserve(Box::new(Reservation { place, peer, beginning }))).await;
        Ticket::new(self.0.clone(), index, ticket)
    }

    pub(super) fn set_roster(&self, roster: Arc<Roster>) {
        let _ = self.0.roster.set(roster);
    }

    /// The number of the next connection.
    pub(super) fn next_ticket(&self) -> u64 {
        self.0.next_ticket.fetch_add(1, Ordering::Relaxed)
    }

    /// What clients are called in answers and in `explain`.
    pub fn client_name(&self, ticket: u64) -> String {
        format!("{}-{ticket}", self.0.node_id)
    }

    /// Notes how long a handshake has kept this node busy: what it can take in a drain's aftermath.
    pub fn note_handshake(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let before = self.0.handshake_us.load(Ordering::Relaxed);
        let average = if before == 0 { took } else { (before.saturating_mul(15).saturating_add(took)) / 16 };
        self.0.handshake_us.store(average, Ordering::Relaxed);
    }

    /// Tells every connection when to come back, closes it with `close`, flushes what it can before the deadline, and
    /// ends the threads.
    pub async fn drain(&self, close: Close, within: Duration) {
        let slots = Slots::measured(self.0.handshake_us.load(Ordering::Relaxed), self.0.shards.len());
        for shard in &self.0.shards {
            shard.send(Command::Drain { close, within, slots }).await;
        }
        let threads = std::mem::take(&mut *self.0.threads.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        let _ = tokio::task::spawn_blocking(move || {
            for thread in threads {
                let _ = thread.join();
            }
        })
        .await;
    }

    /// Has every connection asked whether it may stay: something that let clients in has been taken back.
    pub async fn examine(&self) {
        for shard in &self.0.shards {
            shard.send(Command::Examine).await;
        }
    }

    /// What became of every publication for every connection, by channel. Each shard answers between two turns.
    pub async fn ledger(&self) -> BTreeMap<String, Account> {
        let mut all = BTreeMap::<String, Account>::new();
        for shard in &self.0.shards {
            let (reply, report) = oneshot::channel();
            shard.send(Command::Report(reply)).await;
            for (channel, account) in report.await.unwrap_or_default() {
                all.entry(channel).or_default().join(&account);
            }
        }
        all
    }

    /// What the shards know of one client.
    pub(super) async fn ask(&self, question: Question) -> Option<Found> {
        for shard in &self.0.shards {
            let (reply, found) = oneshot::channel();
            shard.send(Command::Ask { question: question.clone(), reply }).await;
            if let Ok(Some(found)) = found.await {
                return Some(found);
            }
        }
        None
    }

    /// Open connections, those whose handshake is under way included.
    pub fn connections(&self) -> usize {
        self.0.shards.iter().map(inbox::Sender::connections).sum()
    }

    pub fn shards(&self) -> usize {
        self.0.shards.len()
    }

    /// The channel's entry, made when it is the first time that somebody here asks for it.
    pub(super) fn activate(&self, channel: &Channel) -> Arc<ActiveChannel> {
        if let Some(active) = self.active(channel) {
            return active;
        }
        let mut channels = self.0.channels.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let history = self.0.options.history.clone();
        let fresh = || Arc::new(ActiveChannel::new(channel.clone(), self.0.shards.len(), history));
        channels.entry(channel.clone()).or_insert_with(fresh).clone()
    }

    pub(super) fn active(&self, channel: &Channel) -> Option<Arc<ActiveChannel>> {
        self.0.channels.read().unwrap_or_else(|poisoned| poisoned.into_inner()).get(channel).cloned()
    }

    pub(super) fn all_active(&self) -> Vec<Arc<ActiveChannel>> {
        self.0.channels.read().unwrap_or_else(|poisoned| poisoned.into_inner()).values().cloned().collect()
    }

    /// Forgets channels that nobody holds any more: the map's own reference is the last.
    pub(super) fn forget_idle(&self) {
        let mut channels = self.0.channels.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        channels.retain(|_, active| Arc::strong_count(active) > 1 || active.watched());
    }
}

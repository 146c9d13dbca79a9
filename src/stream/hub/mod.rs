//! The hub: routes each publication to the shards that have somebody for it. A shard is one thread that owns its
//! sockets; nothing is locked and no thread is woken per delivery.

mod cohorts; // who gets the same bytes, and what a turn has for them
mod conn; // one connection: socket, decoder, outbox
mod inbox; // the bounded queue into a shard
mod listeners; // the cohorts of a channel, found by the values they wait for
mod probe; // one shard driven by hand, for benches
mod shard; // the thread: reads, turns, pings, closes

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;

use self::inbox::{Command, Inbox, Reservation};
#[doc(hidden)]
pub use self::probe::Probe;
use super::audience::{ActiveChannel, Audience};
use super::broker::{Gap, Sink};
use super::metrics::{FeedLabel, ReasonLabel};
use super::publication::Kind;
use super::{Channel, Publication, StreamMetrics, Tags};
use crate::wire::{Close, Dialect, Incoming};

/// Settings of the hub and its shards.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HubOptions {
    /// Threads that own sockets. 0: one a core.
    pub shards: usize,
    /// Commands and publications that may wait for a shard; publishers wait when it is full.
    pub inbox_messages: usize,
    /// What may wait for one slow client, in bytes, before it is closed with 3008.
    pub outbox_bytes: usize,
    /// The largest message a client may send.
    pub max_message_bytes: usize,
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
            max_message_bytes: 64 << 10,
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
}

/// Cloning shares the hub.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    shards: Vec<inbox::Sender>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
    channels: RwLock<HashMap<Channel, Arc<ActiveChannel>>>,
    /// Connections by dialect: what is worth encoding before the shards are told.
    dialects: [AtomicUsize; Dialect::ALL.len()],
    next_ticket: AtomicU64,
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
            shards.push(shard::Shard::new(index, options.clone(), poll, inbox, metrics.clone()));
            senders.push(sender);
        }
        let hub = Self(Arc::new(Inner {
            shards: senders,
            threads: Mutex::default(),
            channels: RwLock::new(HashMap::new()),
            dialects: Default::default(),
            next_ticket: AtomicU64::new(1),
            metrics,
        }));
        Ok((hub, shards))
    }

    pub fn metrics(&self) -> &StreamMetrics {
        &self.0.metrics
    }

    /// Takes a place for a connection whose handshake is about to be answered. Everything published from now on
    /// reaches it: what comes before the socket does waits in its outbox.
    pub async fn connect(&self, audience: Arc<Audience>, peer: Box<dyn Peer>) -> Ticket {
        let shards = self.0.shards.iter().enumerate();
        let index = shards.min_by_key(|(_, shard)| shard.connections()).map_or(0, |(index, _)| index);
        let ticket = self.0.next_ticket.fetch_add(1, Ordering::Relaxed);
        let place = Place::take(self.0.clone(), index, audience);
        self.0.shards[index].send(Command::Reserve(Box::new(Reservation { ticket, place, peer }))).await;
        Ticket { hub: self.0.clone(), shard: index, ticket, adopted: false }
    }

    /// Closes every connection with `close`, flushes what it can before the deadline, and ends the threads.
    pub async fn drain(&self, close: Close, within: Duration) {
        for shard in &self.0.shards {
            shard.send(Command::Drain { close, within }).await;
        }
        let threads = std::mem::take(&mut *self.0.threads.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        let _ = tokio::task::spawn_blocking(move || {
            for thread in threads {
                let _ = thread.join();
            }
        })
        .await;
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
        let fresh = || Arc::new(ActiveChannel::new(channel.clone(), self.0.shards.len()));
        channels.entry(channel.clone()).or_insert_with(fresh).clone()
    }

    fn active(&self, channel: &Channel) -> Option<Arc<ActiveChannel>> {
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

    async fn route(&self, active: Arc<ActiveChannel>, publication: Publication) {
        // Encoded here, so that no shard ever waits for another that is encoding.
        for dialect in Dialect::ALL {
            if self.0.dialects[dialect as usize].load(Ordering::Relaxed) > 0 {
                publication.frame(dialect, &self.0.metrics);
            }
        }
        let publication = Arc::new(publication);
        for (shard, listening) in self.0.shards.iter().zip(&active.on_shard) {
            if listening.load(Ordering::SeqCst) > 0 {
                let command = Command::Publish { channel: active.id, publication: publication.clone() };
                if shard.send(command).await {
                    self.0.metrics.inbox_full.inc();
                }
            }
        }
    }
}

#[async_trait]
impl Sink for Hub {
    async fn deliver(&self, publication: Publication) {
        self.0.metrics.publications.inc();
        match self.active(&publication.channel) {
            Some(active) => self.route(active, publication).await,
            None => _ = self.0.metrics.publications_unheard.inc(),
        }
    }

    async fn gap(&self, gap: Gap) {
        let reason = ReasonLabel { reason: gap.reason };
        self.0.metrics.gaps.get_or_create(&reason).inc();
        tracing::warn!(channel = ?gap.channel, reason = gap.reason, "messages may be missing; clients are told");
        for active in self.all_active() {
            if gap.channel.as_ref().is_some_and(|channel| *channel != active.channel) {
                continue;
            }
            let notice = serde_json::json!({
                "message_type": "gap", "channel": active.channel.as_str(), "reason": gap.reason,
            });
            let data = Bytes::from(notice.to_string());
            let notice = Publication::new(active.channel.clone(), Kind::Notice, data, Tags::new(), None);
            self.route(active, notice).await;
        }
    }

    fn invalid(&self, channel: &Channel, problem: &str) {
        self.0.metrics.publications_invalid.inc();
        tracing::warn!(%channel, problem, "a message from the broker is not JSON; it is not delivered");
    }

    fn connected(&self, connected: bool) {
        self.0.metrics.broker_connected.set(i64::from(connected));
    }
}

/// A connection's claim on its shard, channels and figures; giving it up undoes them all, whatever way it ends.
struct Place {
    hub: Arc<Inner>,
    shard: usize,
    audience: Arc<Audience>,
}

impl Place {
    fn take(hub: Arc<Inner>, shard: usize, audience: Arc<Audience>) -> Self {
        for watch in &audience.watches {
            watch.active.on_shard[shard].fetch_add(1, Ordering::SeqCst);
        }
        hub.shards[shard].count_connection(1);
        hub.dialects[audience.spec.dialect as usize].fetch_add(1, Ordering::Relaxed);
        let feed = FeedLabel { feed: audience.spec.feed };
        hub.metrics.connections.get_or_create(&feed).inc();
        hub.metrics.opened.get_or_create(&feed).inc();
        Self { hub, shard, audience }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for watch in &self.audience.watches {
            watch.active.on_shard[self.shard].fetch_sub(1, Ordering::SeqCst);
        }
        self.hub.shards[self.shard].count_connection(-1);
        self.hub.dialects[self.audience.spec.dialect as usize].fetch_sub(1, Ordering::Relaxed);
        self.hub.metrics.connections.get_or_create(&FeedLabel { feed: self.audience.spec.feed }).dec();
    }
}

/// A place that waits for its socket. Dropped without one, the place is given up.
pub struct Ticket {
    hub: Arc<Inner>,
    shard: usize,
    ticket: u64,
    adopted: bool,
}

impl Ticket {
    /// Hands the upgraded socket to the shard for good. `first` is what the client sent right behind its request.
    pub async fn adopt(mut self, socket: TcpStream, first: Vec<u8>) {
        self.adopted = true;
        let command = Command::Adopt { ticket: self.ticket, socket, first };
        self.hub.shards[self.shard].send(command).await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.adopted {
            return;
        }
        let (hub, shard, ticket) = (self.hub.clone(), self.shard, self.ticket);
        // Without a runtime the process is ending, and the places with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { hub.shards[shard].send(Command::Cancel { ticket }).await });
        }
    }
}

//! The stream's counters.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::telemetry::{Histogram, Registry, name};
use crate::wire::Dialect;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FeedLabel {
    pub feed: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    pub reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DialectLabel {
    pub dialect: &'static str,
}

/// Shared by the node, the brokers and all shards. Shards add to them once a turn, not once a delivery.
/// From 50 µs, a direct write, to 5 s, a shard in trouble.
const LATENCY_BOUNDS_S: &[f64] =
    &[0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
const FRAMES_BOUNDS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

#[derive(Clone)]
pub struct StreamMetrics {
    pub connections: Family<FeedLabel, Gauge>,
    pub opened: Family<FeedLabel, Counter>,
    pub closed: Family<ReasonLabel, Counter>,
    pub publications: Counter,
    pub publications_unheard: Counter,
    pub publications_invalid: Counter,
    pub delivered: Counter,
    pub filtered: Counter,
    pub conflated: Counter,
    pub recovered: Counter,
    pub dropped: Family<ReasonLabel, Counter>,
    pub bytes_out: Counter,
    pub writes: Counter,
    pub turns: Counter,
    pub messages_in: Counter,
    pub outbox_bytes: Gauge,
    /// Connections that have an outbox now.
    pub waiting: Gauge,
    /// Publications that one write call carried.
    pub frames_per_write: Histogram,
    /// From the broker's hand-over to the end of the turn that wrote it, one observation a delivery.
    pub latency: Histogram,
    pub inbox_full: Counter,
    pub listeners_behind: Counter,
    pub broker_connected: Gauge,
    pub gaps: Family<ReasonLabel, Counter>,
    encodings: Family<DialectLabel, Counter>,
}

impl Default for StreamMetrics {
    fn default() -> Self {
        Self {
            connections: Family::default(),
            opened: Family::default(),
            closed: Family::default(),
            publications: Counter::default(),
            publications_unheard: Counter::default(),
            publications_invalid: Counter::default(),
            delivered: Counter::default(),
            filtered: Counter::default(),
            conflated: Counter::default(),
            recovered: Counter::default(),
            dropped: Family::default(),
            bytes_out: Counter::default(),
            writes: Counter::default(),
            turns: Counter::default(),
            messages_in: Counter::default(),
            outbox_bytes: Gauge::default(),
            waiting: Gauge::default(),
            frames_per_write: Histogram::new(FRAMES_BOUNDS),
            latency: Histogram::new(LATENCY_BOUNDS_S),
            inbox_full: Counter::default(),
            listeners_behind: Counter::default(),
            broker_connected: Gauge::default(),
            gaps: Family::default(),
            encodings: Family::default(),
        }
    }
}

impl StreamMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let all = Self::default();
        registry.register(name::CONNECTIONS, "Open WebSocket connections by feed", all.connections.clone());
        registry.register(name::CONNECTIONS_OPENED, "WebSocket connections opened by feed", all.opened.clone());
        registry.register(name::CONNECTIONS_CLOSED, "WebSocket connections ended by reason", all.closed.clone());
        registry.register(name::PUBLICATIONS, "Publications that came from the broker", all.publications.clone());
        let help = "Publications for a channel that nobody here listens to any more";
        registry.register(name::PUBLICATIONS_UNHEARD, help, all.publications_unheard.clone());
        let help = "Messages from the broker that are not JSON";
        registry.register(name::PUBLICATIONS_INVALID, help, all.publications_invalid.clone());
        registry.register(name::DELIVERIES, "Publications handed to the kernel for a client", all.delivered.clone());
        let help = "Publications that a client's filter held back";
        registry.register(name::DELIVERIES_FILTERED, help, all.filtered.clone());
        let help = "Publications for a client that a later one of the same key stands for";
        registry.register(name::DELIVERIES_CONFLATED, help, all.conflated.clone());
        let help = "Publications that were offered to clients who came back";
        registry.register(name::RECOVERED, help, all.recovered.clone());
        let help = "Publications for a client that were given up, by reason";
        registry.register(name::DELIVERIES_DROPPED, help, all.dropped.clone());
        registry.register(name::BYTES_OUT, "Bytes handed to the kernel for clients", all.bytes_out.clone());
        registry.register(name::WRITES, "Write calls for deliveries", all.writes.clone());
        registry.register(name::TURNS, "Turns of the shards that delivered something", all.turns.clone());
        registry.register(name::MESSAGES_IN, "Messages from clients", all.messages_in.clone());
        let help = "Bytes that wait for slow clients";
        registry.register(name::OUTBOX_BYTES, help, all.outbox_bytes.clone());
        registry.register(name::CONNECTIONS_WAITING, "Connections for which something waits", all.waiting.clone());
        let help = "Publications carried by one write call";
        registry.register(name::FRAMES_PER_WRITE, help, all.frames_per_write.clone());
        let help = "From the broker to the end of the turn that wrote a publication to its clients";
        registry.register(name::DELIVERY_LATENCY, help, all.latency.clone());
        let help = "Times that a publisher waited because a shard's queue was full";
        registry.register(name::INBOX_FULL, help, all.inbox_full.clone());
        let help = "Orders to sessions that this node lost, because too many waited";
        registry.register(name::LISTENERS_BEHIND, help, all.listeners_behind.clone());
        registry.register(name::BROKER_CONNECTED, "1 while the broker is reachable", all.broker_connected.clone());
        let help = "Gaps announced to clients because the broker may have lost messages, by reason";
        registry.register(name::BROKER_GAPS, help, all.gaps.clone());
        registry.register(name::ENCODINGS, "Publications encoded, by dialect", all.encodings.clone());
        all
    }

    pub(super) fn encoded(&self, dialect: Dialect) {
        self.encodings.get_or_create(&DialectLabel { dialect: dialect.format() }).inc();
    }

    /// How often a publication was encoded for a dialect: once each, however many received it.
    pub fn encodings(&self, dialect: Dialect) -> u64 {
        self.encodings.get_or_create(&DialectLabel { dialect: dialect.format() }).get()
    }

    /// A connection had `before` bytes waiting and has `after` now.
    pub(super) fn pending(&self, before: usize, after: usize) {
        self.outbox_bytes.inc_by(after as i64 - before as i64);
        self.waiting.inc_by(i64::from(after > 0) - i64::from(before > 0));
    }

    pub(super) fn drop_messages(&self, reason: &'static str, messages: u64) {
        if messages > 0 {
            self.dropped.get_or_create(&ReasonLabel { reason }).inc_by(messages);
        }
    }
}

//! The stream's counters.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::telemetry::{Registry, name};
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
#[derive(Clone, Default)]
pub struct StreamMetrics {
    pub connections: Family<FeedLabel, Gauge>,
    pub opened: Family<FeedLabel, Counter>,
    pub closed: Family<ReasonLabel, Counter>,
    pub publications: Counter,
    pub publications_unheard: Counter,
    pub publications_invalid: Counter,
    pub delivered: Counter,
    pub filtered: Counter,
    pub dropped: Family<ReasonLabel, Counter>,
    pub bytes_out: Counter,
    pub writes: Counter,
    pub turns: Counter,
    pub messages_in: Counter,
    pub outbox_bytes: Gauge,
    pub inbox_full: Counter,
    pub broker_connected: Gauge,
    pub gaps: Family<ReasonLabel, Counter>,
    encodings: Family<DialectLabel, Counter>,
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
        let help = "Publications for a client that were given up, by reason";
        registry.register(name::DELIVERIES_DROPPED, help, all.dropped.clone());
        registry.register(name::BYTES_OUT, "Bytes handed to the kernel for clients", all.bytes_out.clone());
        registry.register(name::WRITES, "Write calls for deliveries", all.writes.clone());
        registry.register(name::TURNS, "Turns of the shards that delivered something", all.turns.clone());
        registry.register(name::MESSAGES_IN, "Messages from clients", all.messages_in.clone());
        let help = "Bytes that wait for slow clients";
        registry.register(name::OUTBOX_BYTES, help, all.outbox_bytes.clone());
        let help = "Times that a publisher waited because a shard's queue was full";
        registry.register(name::INBOX_FULL, help, all.inbox_full.clone());
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

    pub(super) fn drop_messages(&self, reason: &'static str, messages: u64) {
        if messages > 0 {
            self.dropped.get_or_create(&ReasonLabel { reason }).inc_by(messages);
        }
    }
}

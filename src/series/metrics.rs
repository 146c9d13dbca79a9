//! The counters of the way from a feed to the store.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::telemetry::{Histogram, Registry, name};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    pub reason: &'static str,
}

const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// accepted + found in the spool = stored + dropped + dead letters + waiting, once the queue in memory is empty.
#[derive(Clone)]
pub struct SeriesMetrics {
    /// Taken from feeds, before anything else can happen to them.
    pub accepted: Counter,
    /// The store has them.
    pub stored: Counter,
    /// Given up: `invalid`, `queue_full`, `disk`, `spool_full`, `corrupt`, `refused`, `too_old`, `too_many_series`.
    pub dropped: Family<ReasonLabel, Counter>,
    /// Points and bytes in the spool.
    pub waiting: Gauge,
    pub spool_bytes: Gauge,
    /// Attempts that will be made again, by what stood in the way.
    pub retries: Family<ReasonLabel, Counter>,
    pub dead_letters: Counter,
    /// 1 while the last batch went through.
    pub store_up: Gauge,
    pub batch_seconds: Histogram,
}

impl Default for SeriesMetrics {
    fn default() -> Self {
        Self {
            accepted: Counter::default(),
            stored: Counter::default(),
            dropped: Family::default(),
            waiting: Gauge::default(),
            spool_bytes: Gauge::default(),
            retries: Family::default(),
            dead_letters: Counter::default(),
            store_up: Gauge::default(),
            batch_seconds: Histogram::new(SECONDS),
        }
    }
}

impl SeriesMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let all = Self::default();
        registry.register(name::SERIES_ACCEPTED, "Points of time series taken from feeds", all.accepted.clone());
        registry.register(name::SERIES_STORED, "Points that the series store has taken", all.stored.clone());
        registry.register(name::SERIES_DROPPED, "Points that were given up, by reason", all.dropped.clone());
        registry.register(name::SERIES_WAITING, "Points on disk that the store does not have yet", all.waiting.clone());
        registry.register(name::SERIES_SPOOL_BYTES, "Bytes of the spool on disk", all.spool_bytes.clone());
        registry.register(name::SERIES_RETRIES, "Batches to be sent again, by reason", all.retries.clone());
        let help = "Points that the store refused and that were kept as dead letters";
        registry.register(name::SERIES_DEAD_LETTERS, help, all.dead_letters.clone());
        registry.register(name::SERIES_STORE_UP, "1 while the series store takes batches", all.store_up.clone());
        registry.register(
            name::SERIES_BATCH_DURATION,
            "How long the store takes for a batch",
            all.batch_seconds.clone(),
        );
        all
    }

    pub(super) fn drop_points(&self, reason: &'static str, points: u64) {
        if points > 0 {
            self.dropped.get_or_create(&ReasonLabel { reason }).inc_by(points);
        }
    }

    /// How many points were given up for `reason`.
    pub fn dropped_for(&self, reason: &'static str) -> u64 {
        self.dropped.get_or_create(&ReasonLabel { reason }).get()
    }

    /// How many attempts are to be made again because of `reason`.
    pub fn retried_for(&self, reason: &'static str) -> u64 {
        self.retries.get_or_create(&ReasonLabel { reason }).get()
    }

    pub(super) fn retry(&self, reason: &'static str) {
        self.retries.get_or_create(&ReasonLabel { reason }).inc();
    }
}

//! A histogram of atomics: observing takes no lock, so threads that deliver can share one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Metric;

/// Counts of values up to each bound. Cloning shares the counts.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bounds: &'static [f64],
    /// One a bound, and one for what is beyond the last.
    counts: Vec<AtomicU64>,
    /// In millionths of the unit.
    sum: AtomicU64,
}

impl Histogram {
    /// `bounds` are upper ones, ascending.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner { bounds, counts, sum: AtomicU64::new(0) }))
    }

    /// `times` observations of the same value at once.
    pub fn observe(&self, value: f64, times: u64) {
        let at = self.0.bounds.partition_point(|bound| *bound < value);
        self.0.counts[at].fetch_add(times, Ordering::Relaxed);
        self.0.sum.fetch_add((value * 1e6) as u64 * times, Ordering::Relaxed);
    }

    /// Observations so far.
    pub fn count(&self) -> u64 {
        self.0.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        let bounds = self.0.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.0.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.sum.load(Ordering::Relaxed) as f64 / 1e6;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

const _: fn() = || {
    fn is_metric<T: Metric>() {}
    is_metric::<Histogram>();
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Registry;

    #[test]
    fn values_fall_into_their_buckets_and_are_encoded() {
        let histogram = Histogram::new(&[0.001, 0.01]);
        histogram.observe(0.001, 2);
        histogram.observe(0.002, 3);
        histogram.observe(5.0, 1);
        assert_eq!(histogram.count(), 6);
        let mut registry = Registry::default();
        registry.register("lag_seconds", "Lag", histogram);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "lag_seconds_bucket{le=\"0.001\"} 2",
            "lag_seconds_bucket{le=\"0.01\"} 5",
            "lag_seconds_bucket{le=\"+Inf\"} 6",
            "lag_seconds_sum 5.008",
            "lag_seconds_count 6",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}

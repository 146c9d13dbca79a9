//! How points are queued, batched and kept.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SeriesOptions {
    /// Points that may wait in memory for the disk. When it is full, [`super::Writer::write`] drops and counts, and
    /// [`super::Writer::record`] waits.
    pub queue_points: usize,
    /// What the spool may hold on disk. When it is full, the oldest points go, and are counted.
    pub spool_bytes: u64,
    /// How often the spool is written through to the disk. A power cut loses what is younger; kill -9 loses nothing.
    pub sync_ms: u64,
    /// A batch goes to the store when it has so many points …
    pub batch_points: usize,
    /// … or so many bytes in the spool …
    pub batch_bytes: u64,
    /// … or when its first point has waited so long.
    pub batch_age_ms: u64,
    /// How long the store may take for a batch or a query.
    pub timeout_ms: u64,
    /// The pause after the first failure; it doubles from one to the next.
    pub backoff_initial_ms: u64,
    pub backoff_max_ms: u64,
    /// What is kept of points that the store refuses; the oldest go first.
    pub dead_letter_bytes: u64,
    /// How long single points are kept.
    pub keep_points_s: u64,
    /// How long a minute's least, greatest, mean, last and count are kept.
    pub keep_minutes_s: u64,
    /// The same of an hour.
    pub keep_hours_s: u64,
    /// Different combinations of measurement, field and tags that the embedded store takes.
    pub max_series: usize,
    /// How often the server's own stream figures become points. 0: never.
    pub own_figures_s: u64,
}

const DAY_S: u64 = 86_400;

impl Default for SeriesOptions {
    fn default() -> Self {
        Self {
            queue_points: 65_536,
            spool_bytes: 1 << 30,
            sync_ms: 1_000,
            batch_points: 5_000,
            batch_bytes: 4 << 20,
            batch_age_ms: 1_000,
            timeout_ms: 10_000,
            backoff_initial_ms: 1_000,
            backoff_max_ms: 60_000,
            dead_letter_bytes: 16 << 20,
            keep_points_s: 7 * DAY_S,
            keep_minutes_s: 90 * DAY_S,
            keep_hours_s: 5 * 366 * DAY_S,
            max_series: 200_000,
            own_figures_s: 10,
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("series.{name} must be at least {least}")]
pub struct SeriesOptionsError {
    name: &'static str,
    least: u64,
}

impl SeriesOptions {
    pub fn check(&self) -> Result<(), SeriesOptionsError> {
        let least = [
            ("queue_points", self.queue_points as u64, 1),
            ("spool_bytes", self.spool_bytes, 1 << 20),
            ("sync_ms", self.sync_ms, 10),
            ("batch_points", self.batch_points as u64, 1),
            ("batch_bytes", self.batch_bytes, 1_024),
            ("batch_age_ms", self.batch_age_ms, 1),
            ("timeout_ms", self.timeout_ms, 10),
            ("backoff_initial_ms", self.backoff_initial_ms, 1),
            ("backoff_max_ms", self.backoff_max_ms, self.backoff_initial_ms),
            ("dead_letter_bytes", self.dead_letter_bytes, 1_024),
            ("keep_points_s", self.keep_points_s, 2 * 3_600),
            ("keep_minutes_s", self.keep_minutes_s, self.keep_points_s),
            ("keep_hours_s", self.keep_hours_s, self.keep_minutes_s),
            ("max_series", self.max_series as u64, 1),
        ];
        match least.into_iter().find(|(_, value, least)| value < least) {
            Some((name, _, least)) => Err(SeriesOptionsError { name, least }),
            None => Ok(()),
        }
    }
}

//! How work is claimed and tried again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueOptions {
    /// Items that one worker has in its hands at once.
    pub concurrency: usize,
    /// How long a claimed item belongs to its worker. A handler that takes longer than three quarters of this is
    /// stopped, so that no item is in two hands.
    pub lease_ms: u64,
    /// How often a worker looks for work that nobody told it of.
    pub poll_ms: u64,
    /// After so many attempts that did not succeed an item becomes a dead letter.
    pub max_attempts: u32,
    /// The pause after the first failed attempt; it doubles from one to the next.
    pub backoff_initial_ms: u64,
    /// The longest pause. With the defaults the fifteenth attempt comes about five hours after the first.
    pub backoff_max_ms: u64,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            concurrency: 8,
            lease_ms: 60_000,
            poll_ms: 1_000,
            max_attempts: 15,
            backoff_initial_ms: 5_000,
            backoff_max_ms: 3_600_000,
        }
    }
}

/// How a journal of events is kept until its worker has applied it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct JournalOptions {
    /// Entries that may wait, each of them one accepted request. One more is refused (503), none is ever dropped.
    pub max_entries: usize,
    /// Entries that are applied in one transaction, at most.
    pub batch_entries: usize,
    /// Redis: an entry whose worker has been silent for so long is another's to take.
    pub claim_idle_ms: u64,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { max_entries: 200_000, batch_entries: 500, claim_idle_ms: 30_000 }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("queue.{name} must be at least {least}")]
pub struct QueueOptionsError {
    name: &'static str,
    least: u64,
}

impl QueueOptions {
    pub fn check(&self) -> Result<(), QueueOptionsError> {
        let least = [
            ("concurrency", self.concurrency as u64, 1),
            ("lease_ms", self.lease_ms, 1_000),
            ("poll_ms", self.poll_ms, 10),
            ("max_attempts", self.max_attempts.into(), 1),
            ("backoff_initial_ms", self.backoff_initial_ms, 1),
            ("backoff_max_ms", self.backoff_max_ms, self.backoff_initial_ms),
        ];
        match least.into_iter().find(|(_, value, least)| value < least) {
            Some((name, _, least)) => Err(QueueOptionsError { name, least }),
            None => Ok(()),
        }
    }

    pub(super) fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// The bound on one run of a handler.
    pub(super) fn patience(&self) -> Duration {
        self.lease() * 3 / 4
    }

    /// The pause after so many attempts: doubling, with up to a fifth of it taken off at random, so that what failed
    /// together does not come back together.
    pub(super) fn backoff(&self, attempts: u32, random: &mut fastrand::Rng) -> Duration {
        let doubled = self.backoff_initial_ms.saturating_mul(1 << attempts.saturating_sub(1).min(40));
        let pause_ms = doubled.min(self.backoff_max_ms);
        Duration::from_millis(pause_ms - random.u64(..=pause_ms / 5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_vary() {
        let options = QueueOptions::default();
        let mut random = fastrand::Rng::with_seed(1);
        for (attempts, most_ms) in [(1, 5_000), (2, 10_000), (5, 80_000), (11, 3_600_000), (u32::MAX, 3_600_000)] {
            let pauses: Vec<_> = (0..50).map(|_| options.backoff(attempts, &mut random).as_millis() as u64).collect();
            assert!(pauses.iter().all(|pause| (most_ms * 4 / 5..=most_ms).contains(pause)), "{attempts}: {pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        }
        let all_ms: u128 = (1..15).map(|attempts| options.backoff(attempts, &mut random).as_millis()).sum();
        assert!((4 * 3_600_000..6 * 3_600_000).contains(&all_ms), "{all_ms}");
    }
}

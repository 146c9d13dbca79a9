//! The schedule: each day one batch of each kind, in the order in which they need each other, on one node.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::BatchType;
use crate::feeds::matching::Matching;

/// How often the clock is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(20);

impl Matching {
    /// Starts what is due until `stop`. A day's batch has a unique key, so any number of nodes start it once.
    pub(in crate::feeds::matching) async fn keep_schedule(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let now = self.now();
            let (day, time) = (now.format("%Y-%m-%d").to_string(), now.format("%H:%M").to_string());
            for (batch_type, at) in self.0.options.schedule() {
                // Only within the hour: a server that starts in the evening does not begin the morning's work.
                let due = !at.is_empty() && time.as_str() >= at && time[..2] == at[..2.min(at.len())];
                if !due {
                    continue;
                }
                let key = format!("{}:{day}", batch_type.as_str());
                match self.start_batch(batch_type, Some(&key)).await {
                    Ok(Some(batch)) => {
                        tracing::info!(batch = batch.id, batch_type = batch_type.as_str(), "scheduled batch")
                    }
                    Ok(None) => {}
                    Err(failure) => tracing::warn!(?failure, "a scheduled batch could not be started; trying again"),
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }
}

impl crate::feeds::matching::MatchingOptions {
    /// Kinds and their times of day, in UTC as `HH:MM`.
    fn schedule(&self) -> [(BatchType, &str); 4] {
        [
            (BatchType::Cleanup, self.cleanup_at.trim()),
            (BatchType::Scoring, self.scoring_at.trim()),
            (BatchType::DailyMatching, self.matching_at.trim()),
            (BatchType::EmailGeneration, self.email_at.trim()),
        ]
    }
}

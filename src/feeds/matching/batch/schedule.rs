//! The schedule: each day one batch of each kind, at the times that are set, on one node.

use std::time::Duration;

use chrono::Timelike;
use tokio_util::sync::CancellationToken;

use crate::feeds::matching::Matching;

/// How often the clock is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(20);

impl Matching {
    /// Starts what is due until `stop`. A day's batch has a unique key, so any number of nodes start it once.
    pub(in crate::feeds::matching) async fn keep_schedule(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let now = self.now();
            for (batch_type, at) in self.0.options.schedule() {
                // Only within the hour: a server that starts in the evening does not begin the morning's work.
                let due = at.is_some_and(|at| at.hour() == now.hour() && at.minute() <= now.minute());
                if !due {
                    continue;
                }
                let key = format!("{}:{}", batch_type.as_str(), now.format("%Y-%m-%d"));
                match self.start_batch(batch_type, Some(&key)).await {
                    Ok(Some(batch)) => tracing::info!(batch = batch.id, kind = batch.batch_type, "scheduled batch"),
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

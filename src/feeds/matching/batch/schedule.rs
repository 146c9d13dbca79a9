//! The schedule: each day one batch of each kind, at the times that are set, on one node.

use std::time::Duration;

use chrono::{Months, Timelike};
use tokio_util::sync::CancellationToken;

use crate::db::DbError;
use crate::feeds::matching::{Matching, users};

/// How often the clock is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(20);

impl Matching {
    /// Makes the partitions of this month and the next two.
    pub(super) async fn make_months(&self) -> Result<(), DbError> {
        for months in 0..3 {
            // A month later is never two: of 31 January it is the last of February.
            if let Some(at) = self.now().checked_add_months(Months::new(months)) {
                users::sql::make_month(&self.0.db, at).await?;
            }
        }
        Ok(())
    }

    /// Starts what is due until `stop`. A day's batch has a unique key, so any number of nodes start it once.
    pub(in crate::feeds::matching) async fn keep_schedule(self, stop: CancellationToken) {
        let mut made = None;
        while !stop.is_cancelled() {
            let now = self.now();
            // Partitions are there before their month, whether or not the cleanup is scheduled.
            if made != Some(now.date_naive()) {
                match self.make_months().await {
                    Ok(()) => made = Some(now.date_naive()),
                    Err(error) => tracing::warn!(%error, "partitions of the logs could not be made; trying again"),
                }
            }
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

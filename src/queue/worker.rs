//! The loop that claims work and hands it to its handler.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::sql::{self, Lease};
use super::{Item, Outcome, Queue};
use crate::db::DbError;

/// What does the work of one topic.
pub trait Handler: Send + Sync + 'static {
    /// Does the work. It may have been done before, in an attempt whose end nobody heard of.
    fn handle(&self, item: &Item) -> impl Future<Output = Outcome> + Send;
}

/// How often the number of waiting items is counted.
const MEASURE_EVERY: Duration = Duration::from_secs(15);

impl Queue {
    /// Works on `topic` until `stop`; then takes nothing new, and returns when what it has in hand is finished.
    pub async fn run(&self, topic: &'static str, handler: impl Handler, stop: CancellationToken) {
        let options = &self.inner.options;
        let name = Uuid::new_v4().to_string();
        let worker = Arc::new(Worker { queue: self.clone(), topic, handler, name });
        let mut woken = self.inner.wake.subscribe();
        // Each attempt is a task: it must go on while this loop waits for the database, or it could sit on the very
        // connection that the loop waits for.
        let mut running = JoinSet::new();
        let mut measured_at: Option<Instant> = None;
        while !stop.is_cancelled() {
            woken.mark_unchanged();
            let free = options.concurrency.saturating_sub(running.len());
            let claimed = if free > 0 { worker.claim(free).await } else { Vec::new() };
            // When there may be more than there are hands, only an end of work matters, otherwise also news and time.
            let full = claimed.len() == free;
            for item in claimed {
                let worker = worker.clone();
                running.spawn(async move { worker.attempt(item).await });
            }
            if measured_at.is_none_or(|at| at.elapsed() >= MEASURE_EVERY) {
                measured_at = Some(Instant::now());
                if let Err(error) = self.measure(topic).await {
                    tracing::warn!(topic, %error, "cannot count the queue");
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                Some(_) = running.join_next(), if !running.is_empty() => {}
                _ = woken.changed(), if !full => {}
                () = tokio::time::sleep(Duration::from_millis(options.poll_ms)), if !full => {}
            }
        }
        while running.join_next().await.is_some() {}
    }
}

struct Worker<H> {
    queue: Queue,
    topic: &'static str,
    handler: H,
    /// Marks the leases as this worker's.
    name: String,
}

impl<H: Handler> Worker<H> {
    async fn claim(&self, limit: usize) -> Vec<Item> {
        let inner = &self.queue.inner;
        let now = inner.clock.now();
        let until = now + inner.options.lease();
        match sql::claim(&inner.db, self.topic, &self.name, now, until, limit).await {
            Ok(items) => items,
            Err(error) => {
                tracing::warn!(topic = self.topic, %error, "cannot claim work");
                Vec::new()
            }
        }
    }

    async fn attempt(&self, item: Item) {
        let outcome = self.outcome(&item).await;
        let lease = Lease { id: item.id, worker: &self.name, attempts: item.attempts };
        let (label, held) = match self.report(&lease, outcome).await {
            Ok(reported) => reported,
            Err(error) => {
                // The lease runs out, and the item runs again.
                tracing::warn!(topic = self.topic, item = item.id, %error, "cannot report what came of queued work");
                ("unreported", true)
            }
        };
        if !held {
            tracing::warn!(topic = self.topic, item = item.id, "the lease was lost; another worker has the item");
        }
        self.queue.count(self.topic, if held { label } else { "lease_lost" });
    }

    async fn outcome(&self, item: &Item) -> Outcome {
        let options = &self.queue.inner.options;
        if item.attempts > options.max_attempts {
            // The last attempt's worker vanished, perhaps because of this very item.
            return Outcome::Dead("its last worker vanished".into());
        }
        let attempt = AssertUnwindSafe(self.handler.handle(item)).catch_unwind();
        let outcome = match timeout(options.patience(), attempt).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_panic)) => Outcome::Retry("the handler panicked".into()),
            Err(_elapsed) => Outcome::Retry(format!("not finished within {:?}", options.patience())),
        };
        match outcome {
            Outcome::Retry(reason) if item.attempts >= options.max_attempts => {
                Outcome::Dead(format!("{reason} (attempt {} of {})", item.attempts, options.max_attempts))
            }
            outcome => outcome,
        }
    }

    /// Writes down what came of it; answers the counter's label, and whether the lease was still held.
    async fn report(&self, lease: &Lease<'_>, outcome: Outcome) -> Result<(&'static str, bool), DbError> {
        let inner = &self.queue.inner;
        let now = inner.clock.now();
        match outcome {
            Outcome::Done => Ok(("done", sql::finish(&inner.db, lease, &[], now).await?)),
            Outcome::Then(works) => {
                let held = sql::finish(&inner.db, lease, &works, now).await?;
                self.queue.wake();
                Ok(("done", held))
            }
            Outcome::Retry(reason) => {
                let pause = inner.options.backoff(lease.attempts, &mut fastrand::Rng::new());
                tracing::info!(
                    topic = self.topic,
                    item = lease.id,
                    attempts = lease.attempts,
                    reason,
                    ?pause,
                    "will try again"
                );
                Ok(("retried", sql::retry(&inner.db, lease, now + pause, &reason).await?))
            }
            Outcome::Dead(reason) => {
                tracing::error!(topic = self.topic, item = lease.id, attempts = lease.attempts, reason, "dead letter");
                Ok(("dead", sql::bury(&inner.db, lease, &reason).await?))
            }
        }
    }
}

//! Job matching: jobs, users, scores, the daily batches and their mails.

pub mod engine;
mod fold;
pub mod jobs;
mod options;
pub mod place;
pub mod users;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

pub use self::options::MatchingOptions;
use super::outbox::Outbox;
use crate::clock::Clock;
use crate::db::Db;
use crate::queue::{Handler, Item, Outcome, Queue};
use crate::tasks::Tasks;

/// Topics of the durable queue.
const SCORING_TOPIC: &str = "match.scoring";

/// Job matching. Cloning shares it.
#[derive(Clone)]
pub struct Matching(Arc<Inner>);

struct Inner {
    db: Db,
    outbox: Outbox,
    clock: Clock,
    options: MatchingOptions,
}

impl Matching {
    pub fn new(db: Db, outbox: Outbox, clock: Clock, options: MatchingOptions) -> Self {
        Self(Arc::new(Inner { db, outbox, clock, options }))
    }

    /// Runs its background work in `tasks`.
    pub fn spawn(&self, queue: &Queue, tasks: &Tasks) {
        tasks.spawn("job scoring", self.clone().work(queue.clone(), SCORING_TOPIC, tasks.stop()));
    }

    async fn work(self, queue: Queue, topic: &'static str, stop: CancellationToken) {
        queue.run(topic, Worker { matching: self, topic }, stop).await;
    }

    fn now(&self) -> DateTime<Utc> {
        self.0.clock.now()
    }
}

/// One topic's work.
struct Worker {
    matching: Matching,
    topic: &'static str,
}

impl Handler for Worker {
    async fn handle(&self, item: &Item) -> Outcome {
        match self.topic {
            SCORING_TOPIC => self.matching.handle_scoring(item).await,
            other => Outcome::Dead(format!("nobody works on {other}")),
        }
    }
}

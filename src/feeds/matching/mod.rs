//! Job matching: jobs, users, scores, the daily batches and their mails.

pub mod batch;
pub mod bulk;
pub mod email;
pub mod engine;
mod fold;
mod given;
pub mod jobs;
pub mod matches;
pub mod monitor;
mod options;
pub mod place;
mod totals_sql; // how many rows a list has
pub mod users;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

pub use self::email::{Parcel, Postman};
use self::engine::Columns;
pub use self::options::MatchingOptions;
use self::totals_sql::Totals;
use super::outbox::Outbox;
use crate::clock::Clock;
use crate::db::Db;
use crate::queue::{Handler, Item, Outcome, Queue};
use crate::tasks::Tasks;

/// Topics of the durable queue.
const SCORING_TOPIC: &str = "match.scoring";
const PART_TOPIC: &str = "match.part";
const MAIL_TOPIC: &str = "match.mail";
const IMPORT_TOPIC: &str = "match.import";

/// Job matching. Cloning shares it.
#[derive(Clone)]
pub struct Matching(Arc<Inner>);

struct Inner {
    db: Db,
    outbox: Outbox,
    clock: Clock,
    options: MatchingOptions,
    postman: Box<dyn Postman>,
    /// Parts of batches that may be computed at once.
    hands: Semaphore,
    /// The jobs of the batch under way, by its id.
    columns: Mutex<Option<(i64, Arc<Columns>)>>,
    totals: Totals,
    figures: monitor::Figures,
}

/// More parts than this at once help nobody: the cores are busy and the database has its bound.
const MOST_WORKERS: usize = 8;

impl Matching {
    pub fn new(db: Db, outbox: Outbox, clock: Clock, options: MatchingOptions, postman: Box<dyn Postman>) -> Self {
        let hands = Semaphore::new(options.workers.clamp(1, MOST_WORKERS));
        Self(Arc::new(Inner {
            db,
            outbox,
            clock,
            options,
            postman,
            hands,
            columns: Mutex::new(None),
            totals: Totals::default(),
            figures: monitor::Figures::default(),
        }))
    }

    /// Runs its background work in `tasks`.
    pub fn spawn(&self, queue: &Queue, tasks: &Tasks) {
        for (name, topic) in [
            ("job scoring", SCORING_TOPIC),
            ("batches", PART_TOPIC),
            ("match mails", MAIL_TOPIC),
            ("imports", IMPORT_TOPIC),
        ] {
            tasks.spawn(name, self.clone().work(queue.clone(), topic, tasks.stop()));
        }
        tasks.spawn("batch schedule", self.clone().keep_schedule(tasks.stop()));
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
            PART_TOPIC => self.matching.handle_part(item).await,
            MAIL_TOPIC => self.matching.handle_mails(item).await,
            IMPORT_TOPIC => self.matching.handle_import(item).await,
            other => Outcome::Dead(format!("nobody works on {other}")),
        }
    }
}

//! Learning progress: events in, a class's state out.
//!
//! An event is accepted when it is in the journal (`queue`), and takes effect when a worker applies it: rows, latest
//! states, signals and messages in one transaction, once for each event id.

mod apply; // what events do to the tables and tell the stream
mod event; // a learning event
mod messages; // what dashboards are told
mod options;
mod pioneer; // the other exporter's format
mod point; // an execution as a point of a time series
mod read; // from what clients send to an event
pub mod report; // what instructors ask
mod cells_sql;
mod report_sql;
pub mod routes;
mod rows; // the rows that a batch makes
mod signals; // stuck, idle, calls for help
mod state_sql;
mod store_sql;
mod traced; // traces through the journal

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use self::apply::Effects;
pub use self::event::Event;
pub use self::options::{JournalChoice, ProgressOptions, ProgressOptionsError};
pub use self::read::{Context, Refusal, event as read_event};
pub use self::signals::Watch;
use super::outbox::Outbox;
use crate::clock::Clock;
use crate::db::Db;
use crate::queue::{Intake, IntakeError, Journal, Queue};
use crate::series::Writer;
use crate::telemetry::{Registry, name, trace};

/// The queue's topic for events.
pub const TOPIC: &str = "progress";

/// The instructors' and the students' way in. Cloning shares it.
#[derive(Clone)]
pub struct Progress(Arc<Inner>);

struct Inner {
    db: Db,
    clock: Clock,
    intake: Intake,
    options: ProgressOptions,
    received: Family<OutcomeLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// What became of a batch.
#[derive(Debug)]
pub struct Taken {
    pub accepted: usize,
    /// Those that were not taken, by their place in the batch.
    pub refused: Vec<(usize, Refusal)>,
}

impl Progress {
    pub fn new(db: Db, clock: Clock, intake: Intake, options: ProgressOptions, registry: &mut Registry) -> Self {
        let received = Family::default();
        registry.register(name::PROGRESS_RECEIVED, "Learning events received, by what came of them", received.clone());
        Self(Arc::new(Inner { db, clock, intake, options, received }))
    }

    /// Reads a batch and puts what is good of it into the journal. `Ok`: that is durable.
    pub async fn take(&self, batch: Vec<Value>, class: Option<String>) -> Result<Taken, IntakeError> {
        let (context, trace) = (self.context(class), trace::current().map(|parent| parent.to_string()));
        let (mut events, mut refused) = (Vec::with_capacity(batch.len()), Vec::new());
        for (index, value) in batch.into_iter().enumerate() {
            match read::event(value, &context) {
                Ok(event) => events.push(Event { traceparent: trace.clone(), ..event }),
                Err(refusal) => refused.push((index, refusal)),
            }
        }
        self.count("invalid", refused.len());
        let accepted = events.len();
        if !events.is_empty() {
            let stored = self.0.intake.store(&entries(events)).await;
            self.count(if stored.is_ok() { "accepted" } else { "refused" }, accepted);
            stored?;
        }
        Ok(Taken { accepted, refused })
    }

    /// The same for one event of `jupyterlab-pioneer`.
    pub async fn take_pioneer(&self, body: &Value, class: Option<String>) -> Result<Taken, IntakeError> {
        match pioneer::translate(body) {
            Ok(event) => self.take(vec![event], class).await,
            Err(refusal) => {
                self.count("invalid", 1);
                Ok(Taken { accepted: 0, refused: vec![(0, refusal)] })
            }
        }
    }

    fn context(&self, class: Option<String>) -> Context {
        Context {
            received_at: self.0.clock.now(),
            class,
            zone_offset_minutes: self.0.options.zone_offset_minutes,
            max_text_bytes: self.0.options.max_text_bytes,
        }
    }

    fn count(&self, outcome: &'static str, events: usize) {
        if events > 0 {
            self.0.received.get_or_create(&OutcomeLabel { outcome }).inc_by(events as u64);
        }
    }
}

/// Cuts a batch into entries of the journal of about this many bytes, so that a worker, which takes many entries at once,
/// knows how much memory that is.
const ENTRY_BYTES: usize = 256 * 1024;

fn entries(events: Vec<Event>) -> Vec<Vec<Event>> {
    let (mut entries, mut bytes) = (vec![Vec::new()], 0);
    for event in events {
        let size = event.size_bytes();
        if bytes > 0 && bytes + size > ENTRY_BYTES {
            entries.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(entry) = entries.last_mut() {
            entry.push(event);
        }
    }
    entries
}

impl Effects {
    pub fn new(
        clock: Clock,
        outbox: Outbox,
        writer: Writer,
        options: ProgressOptions,
        registry: &mut Registry,
    ) -> Self {
        let stored = Family::<OutcomeLabel, Counter>::default();
        registry.register(name::PROGRESS_STORED, "Learning events applied: stored, or seen before", stored.clone());
        let counter = |outcome| stored.get_or_create(&OutcomeLabel { outcome }).clone();
        Self { clock, outbox, writer, options, stored: counter("stored"), duplicates: counter("duplicate") }
    }

    /// Applies events until `stop`: those of the journal, and those of the table, where what failed before waits in any
    /// case.
    pub async fn run(self, queue: Queue, journal: Journal, stop: CancellationToken) {
        let limit = self.options.batch_entries;
        let table = queue.run_batches(TOPIC, &self, limit, stop.clone());
        match journal {
            Journal::Redis(stream) => {
                tokio::join!(table, stream.run(&queue, TOPIC, &self, stop));
            }
            Journal::File(file) => {
                tokio::join!(table, file.run(&queue, TOPIC, &self, stop));
            }
            Journal::Table(_) => table.await,
        }
    }
}

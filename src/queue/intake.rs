//! A journal's way in: what arrives together is stored together, and a full journal says so.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::sql::{self, Text};
use super::{FileJournal, JournalOptions, Queue, RedisStream};
use crate::tasks::Tasks;
use crate::telemetry::{Registry, name};

/// Offers that may wait for the one that is being stored.
const WAITING: usize = 1024;
/// Bytes that are stored in one go, so that no statement grows without bound.
const GATHER_BYTES: usize = 4 * 1024 * 1024;
const GATHER_OFFERS: usize = 256;
/// How often a table is counted that may be full.
const COUNT_EVERY: Duration = Duration::from_millis(500);

/// Where entries wait until they are applied. Cloning shares it.
#[derive(Clone)]
pub enum Journal {
    /// The queue's own table.
    Table(Queue),
    Redis(Box<RedisStream>),
    File(FileJournal),
}

/// Why an entry was not taken. Nothing of it was kept, unless the journal's answer was lost.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IntakeError {
    #[error("the queue is full")]
    Full,
    #[error("the queue is unavailable: {0}")]
    Unavailable(String),
}

/// Takes entries. Cloning shares it.
#[derive(Clone)]
pub struct Intake {
    offers: mpsc::Sender<Offer>,
    refused: Counter,
}

/// Entries that are stored together or not at all.
struct Offer {
    payloads: Vec<String>,
    bytes: usize,
    stored: oneshot::Sender<Result<(), IntakeError>>,
}

impl Intake {
    /// Starts the task that stores for everybody.
    pub fn start(
        journal: Journal,
        topic: &'static str,
        options: &JournalOptions,
        tasks: &Tasks,
        registry: &mut Registry,
    ) -> Self {
        let refused = Counter::default();
        registry.register(name::JOURNAL_REFUSED, "Entries refused because too many waited", refused.clone());
        let (offers, queue) = mpsc::channel(WAITING);
        let gatherer = Gatherer { journal, topic, max_entries: options.max_entries, counted: None };
        tasks.spawn("journal intake", gatherer.run(queue, tasks.stop()));
        Self { offers, refused }
    }

    /// `Ok`: the entries are in the journal's durable store, all of them; otherwise none is.
    pub async fn store<W: Serialize>(&self, entries: &[W]) -> Result<(), IntakeError> {
        let payloads: Result<Vec<String>, _> = entries.iter().map(serde_json::to_string).collect();
        let payloads = payloads.map_err(|error| IntakeError::Unavailable(error.to_string()))?;
        let bytes = payloads.iter().map(String::len).sum();
        let (stored, answer) = oneshot::channel();
        let gone = || IntakeError::Unavailable("the server is stopping".into());
        let result = match self.offers.try_send(Offer { payloads, bytes, stored }) {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(gone())),
            Err(mpsc::error::TrySendError::Full(_)) => Err(IntakeError::Full),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(gone()),
        };
        if matches!(result, Err(IntakeError::Full)) {
            self.refused.inc();
        }
        result
    }
}

struct Gatherer {
    journal: Journal,
    topic: &'static str,
    max_entries: usize,
    /// How many waited, and when that was counted.
    counted: Option<(Instant, usize)>,
}

impl Gatherer {
    async fn run(mut self, mut queue: mpsc::Receiver<Offer>, stop: CancellationToken) {
        loop {
            let first = tokio::select! {
                offer = queue.recv() => offer,
                // Whoever waits by then is still served.
                () = stop.cancelled() => {
                    queue.close();
                    queue.recv().await
                }
            };
            let Some(first) = first else { return };
            let mut bytes = first.bytes;
            let mut offers = vec![first];
            while offers.len() < GATHER_OFFERS && bytes < GATHER_BYTES {
                let Ok(offer) = queue.try_recv() else { break };
                bytes += offer.bytes;
                offers.push(offer);
            }
            let (payloads, waiting): (Vec<_>, Vec<_>) = offers.into_iter().map(|it| (it.payloads, it.stored)).unzip();
            let stored = self.store(payloads.concat()).await;
            for answer in waiting {
                // Who has gone away does not need the answer.
                let _ = answer.send(stored.clone());
            }
        }
    }

    async fn store(&mut self, payloads: Vec<String>) -> Result<(), IntakeError> {
        match &self.journal {
            Journal::Redis(stream) => stream.append(payloads, self.max_entries).await,
            Journal::File(file) => file.append(&payloads, self.max_entries).await,
            Journal::Table(queue) => {
                let queue = queue.clone();
                if self.waiting(&queue, payloads.len()).await? > self.max_entries {
                    return Err(IntakeError::Full);
                }
                let unavailable = |error: crate::db::DbError| IntakeError::Unavailable(error.to_string());
                let now = queue.inner.clock.now();
                let mut tx = queue.inner.db.begin().await.map_err(unavailable)?;
                let texts: Vec<Text> = payloads.into_iter().map(|payload| Text { payload, key: None }).collect();
                let inserted = sql::insert_texts(&mut tx, self.topic, &texts, 0, None, (now, now)).await;
                inserted.map_err(unavailable)?;
                tx.commit().await.map_err(unavailable)?;
                queue.wake();
                Ok(())
            }
        }
    }

    /// About how many entries wait, with `more`: counted now and then, and added up in between.
    async fn waiting(&mut self, queue: &Queue, more: usize) -> Result<usize, IntakeError> {
        let known = self.counted.filter(|(at, _)| at.elapsed() < COUNT_EVERY);
        let (at, waiting) = match known {
            Some(known) => known,
            None => {
                let counted = sql::count(&queue.inner.db, self.topic).await;
                let counted = counted.map_err(|error| IntakeError::Unavailable(error.to_string()))?;
                (Instant::now(), usize::try_from(counted.pending).unwrap_or(0))
            }
        };
        self.counted = Some((at, waiting + more));
        Ok(waiting + more)
    }
}

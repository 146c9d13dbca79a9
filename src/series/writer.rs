//! What feeds hold: takes points, in no time and without failing, and has one thread bring them to the spool.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore, oneshot};

use super::{Point, SeriesMetrics, Spool};

/// Points of one record of the spool.
const RECORD_POINTS: usize = 1_000;

/// Takes points for the store. Cheap to clone; the clones share one queue.
#[derive(Clone)]
pub struct Writer(Option<Arc<Inner>>);

struct Inner {
    entries: mpsc::Sender<Entry>,
    /// One permit a point that may still be queued.
    room: Arc<Semaphore>,
    queue_points: usize,
    metrics: SeriesMetrics,
}

struct Entry {
    points: Vec<Point>,
    /// Told when the points are in the spool.
    kept: Option<oneshot::Sender<bool>>,
}

/// The disk did not take the points. They are counted as dropped; whoever has them may offer them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the points could not be written to the spool")]
pub struct NotKept;

impl Writer {
    /// A writer that keeps nothing, for tests of feeds and for tools.
    pub fn nowhere() -> Self {
        Self(None)
    }

    /// Starts the thread that appends to `spool`; it ends with the last clone. `news` is notified of points.
    pub(super) fn start(
        spool: Arc<Spool>,
        news: Arc<Notify>,
        queue_points: usize,
        sync_every: Duration,
        metrics: SeriesMetrics,
    ) -> std::io::Result<Self> {
        let (entries, queue) = mpsc::channel();
        let room = Arc::new(Semaphore::new(queue_points.min(Semaphore::MAX_PERMITS)));
        let appender = Appender { spool, news, room: room.clone(), metrics: metrics.clone(), unsynced_since: None };
        std::thread::Builder::new().name("series".into()).spawn(move || appender.run(&queue, sync_every))?;
        Ok(Self(Some(Arc::new(Inner { entries, room, queue_points, metrics }))))
    }

    /// Hands a point over, after the commit of what it tells of. Never waits and never fails its caller: a point that
    /// no store would take, and one for which the queue has no room, is dropped and counted.
    pub fn write(&self, point: Point) {
        let Some(inner) = &self.0 else { return };
        inner.metrics.accepted.inc();
        if let Err(error) = point.check() {
            inner.refuse(&point, &error);
        } else if let Ok(permit) = inner.room.try_acquire() {
            permit.forget();
            inner.queue(vec![point], None);
        } else {
            inner.metrics.drop_points("queue_full", 1);
        }
    }

    /// Hands points over and returns when they are on disk, where the end of this process cannot take them; waits
    /// while the queue is full. For workers that may let go of their work only then. Points that no store would take
    /// are dropped and counted.
    pub async fn record(&self, points: Vec<Point>) -> Result<(), NotKept> {
        let Some(inner) = &self.0 else { return Ok(()) };
        inner.metrics.accepted.inc_by(points.len() as u64);
        let mut good = Vec::with_capacity(points.len());
        for point in points {
            match point.check() {
                Ok(()) => good.push(point),
                Err(error) => inner.refuse(&point, &error),
            }
        }
        let mut answers = Vec::new();
        let mut good = good.into_iter().peekable();
        while good.peek().is_some() {
            let part: Vec<Point> = good.by_ref().take(RECORD_POINTS.min(inner.queue_points)).collect();
            if let Ok(permits) = inner.room.acquire_many(part.len() as u32).await {
                permits.forget();
            }
            let (kept, answer) = oneshot::channel();
            inner.queue(part, Some(kept));
            answers.push(answer);
        }
        for answer in answers {
            if answer.await != Ok(true) {
                return Err(NotKept);
            }
        }
        Ok(())
    }

    /// Returns when everything that was handed over before is in the spool, and synced.
    pub async fn flush(&self) {
        let Some(inner) = &self.0 else { return };
        let (kept, answer) = oneshot::channel();
        inner.queue(Vec::new(), Some(kept));
        let _ = answer.await;
    }
}

impl Inner {
    fn refuse(&self, point: &Point, error: &super::PointError) {
        tracing::warn!(measurement = point.measurement(), %error, "a point that no store would take");
        self.metrics.drop_points("invalid", 1);
    }

    fn queue(&self, points: Vec<Point>, kept: Option<oneshot::Sender<bool>>) {
        let count = points.len() as u64;
        if self.entries.send(Entry { points, kept }).is_err() {
            // The thread has gone, which a panic alone can bring about.
            self.metrics.drop_points("disk", count);
        }
    }
}

/// The thread that appends what has queued up.
struct Appender {
    spool: Arc<Spool>,
    news: Arc<Notify>,
    room: Arc<Semaphore>,
    metrics: SeriesMetrics,
    unsynced_since: Option<Instant>,
}

/// However the thread ends, nobody waits for it.
impl Drop for Appender {
    fn drop(&mut self) {
        self.room.close();
    }
}

impl Appender {
    fn run(mut self, queue: &mpsc::Receiver<Entry>, sync_every: Duration) {
        loop {
            let first = match self.unsynced_since {
                None => queue.recv().ok(),
                Some(since) => match queue.recv_timeout(sync_every.saturating_sub(since.elapsed())) {
                    Err(mpsc::RecvTimeoutError::Timeout) => {
                        self.sync();
                        continue;
                    }
                    received => received.ok(),
                },
            };
            let Some(first) = first else { break };
            self.turn(first, queue);
            if self.unsynced_since.is_some_and(|since| since.elapsed() >= sync_every) {
                self.sync();
            }
        }
        self.sync();
    }

    /// Appends what has queued up as one record.
    fn turn(&mut self, first: Entry, queue: &mpsc::Receiver<Entry>) {
        let (mut points, mut waiting) = (first.points, Vec::from_iter(first.kept));
        let mut flush = points.is_empty();
        while points.len() < RECORD_POINTS
            && let Ok(entry) = queue.try_recv()
        {
            flush |= entry.points.is_empty();
            points.extend(entry.points);
            waiting.extend(entry.kept);
        }
        let mut kept = true;
        if !points.is_empty() {
            kept = self.append(&points);
            self.room.add_permits(points.len());
        }
        if flush {
            self.sync();
        }
        for waiting in waiting {
            let _ = waiting.send(kept);
        }
    }

    fn append(&mut self, points: &[Point]) -> bool {
        if let Err(error) = self.spool.append(points) {
            tracing::error!(%error, points = points.len(), "points could not be written to the spool");
            self.metrics.drop_points("disk", points.len() as u64);
            return false;
        }
        self.unsynced_since.get_or_insert_with(Instant::now);
        self.news.notify_one();
        true
    }

    fn sync(&mut self) {
        if self.unsynced_since.take().is_some()
            && let Err(error) = self.spool.sync()
        {
            tracing::error!(%error, "the spool could not be synced");
        }
    }
}

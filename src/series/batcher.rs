//! From the spool to the store, in order, for as long as that takes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::dead::{DeadLetter, DeadLetters};
use super::store::{Series, WriteError};
use super::{Batch, Point, SeriesMetrics, SeriesOptions, Spool, Writer, encode_all};
use crate::clock::Clock;

/// A store that asks for a longer pause than this is asked again after it.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// Sends batches until the process ends; what is left then waits in the spool for the next one.
pub struct Batcher {
    pub(super) spool: Arc<Spool>,
    pub(super) store: Arc<dyn Series>,
    pub(super) writer: Writer,
    /// Notified when points have come into the spool.
    pub(super) news: Arc<Notify>,
    pub(super) dead: DeadLetters,
    pub(super) options: SeriesOptions,
    pub(super) metrics: SeriesMetrics,
    pub(super) clock: Clock,
}

impl Batcher {
    /// Runs until `stop`, then sends what is there as long as the store takes it at once.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.gather(&stop).await;
            while let Some(batch) = self.next().await {
                let more = batch.full;
                if !self.deliver(batch, &stop).await || !more {
                    break;
                }
            }
        }
        self.writer.flush().await;
        while let Some(batch) = self.next().await {
            if !self.deliver(batch, &stop).await {
                let left = self.spool.waiting_points();
                tracing::info!(points = left, "points stay in the spool until the next start");
                break;
            }
        }
    }

    /// Returns when there is enough for a batch, or when something has waited long enough.
    async fn gather(&self, stop: &CancellationToken) {
        while self.spool.waiting_points() == 0 {
            tokio::select! {
                () = self.news.notified() => {}
                () = stop.cancelled() => return,
            }
        }
        let due = Instant::now() + Duration::from_millis(self.options.batch_age_ms);
        while self.spool.waiting_points() < self.options.batch_points as u64 {
            tokio::select! {
                () = self.news.notified() => {}
                () = sleep_until(due) => return,
                () = stop.cancelled() => return,
            }
        }
    }

    /// Reading the disk may block.
    async fn next(&self) -> Option<Batch> {
        let (spool, most_points, most_bytes) =
            (self.spool.clone(), self.options.batch_points, self.options.batch_bytes);
        let read = tokio::task::spawn_blocking(move || spool.next(most_points, most_bytes)).await;
        match read.map_err(std::io::Error::other).and_then(|batch| batch) {
            Ok(batch) => batch,
            Err(error) => {
                tracing::error!(%error, "the spool cannot be read");
                sleep(Duration::from_millis(self.options.backoff_max_ms)).await;
                None
            }
        }
    }

    /// Sends a batch until the store has it, part by part where it must be; false when `stop` came first.
    async fn deliver(&self, batch: Batch, stop: &CancellationToken) -> bool {
        let points = &batch.points;
        // Last in, first out: the earlier half of what was cut lies on top.
        let mut parts = Vec::from([(0, points.len())]);
        let (mut pause, mut buried) = (Duration::ZERO, 0);
        while let Some((from, to)) = parts.pop() {
            let part = &points[from..to];
            let begun = Instant::now();
            let written = self.store.write(part).await;
            self.metrics.batch_seconds.observe(begun.elapsed().as_secs_f64(), 1);
            let middle = from + part.len() / 2;
            match written {
                Ok(stored) => {
                    self.metrics.stored.inc_by(stored);
                    if self.up(true) {
                        tracing::info!(store = self.store.name(), "points are taken again");
                    }
                    pause = Duration::ZERO;
                }
                Err(WriteError::Refused(_) | WriteError::TooLarge(_)) if part.len() > 1 => {
                    parts.push((middle, to));
                    parts.push((from, middle));
                }
                Err(WriteError::Refused(detail) | WriteError::TooLarge(detail)) => {
                    buried += self.bury(1, Some(part), detail);
                }
                Err(WriteError::Partial { dropped, detail }) => {
                    let dropped = dropped.min(part.len() as u64);
                    self.metrics.stored.inc_by(part.len() as u64 - dropped);
                    buried += self.bury(dropped, None, detail);
                }
                Err(WriteError::Later { reason, after, detail }) => {
                    self.metrics.retry(reason);
                    if self.up(false) {
                        tracing::warn!(store = self.store.name(), reason, detail, "points wait for their store");
                    }
                    pause = self.longer(pause);
                    let pause = after.map_or(pause, |after| after.min(LONGEST_PAUSE) + jitter(after / 10));
                    parts.push((from, to));
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = stop.cancelled() => return false,
                    }
                }
            }
        }
        if buried > 0 {
            tracing::warn!(
                points = buried,
                store = self.store.name(),
                "the store refuses points; they are dead letters"
            );
        }
        if let Err(error) = self.spool.commit(batch) {
            // They will be sent again, which does no harm.
            tracing::error!(%error, "how far the store has come could not be noted");
        }
        true
    }

    /// Notes whether the store takes points; true when that has changed.
    fn up(&self, up: bool) -> bool {
        let before = self.metrics.store_up.set(up.into());
        before != i64::from(up)
    }

    /// Doubles the pause, and takes up to a fifth of it off at random.
    fn longer(&self, pause: Duration) -> Duration {
        let (least, most) = (self.options.backoff_initial_ms, self.options.backoff_max_ms);
        let doubled = (pause * 2).clamp(Duration::from_millis(least), Duration::from_millis(most));
        doubled - jitter(doubled / 5)
    }

    /// Keeps a dead letter; answers for how many points it stands.
    fn bury(&self, points: u64, point: Option<&[Point]>, reason: String) -> u64 {
        self.metrics.dead_letters.inc_by(points);
        let line = point.map(|point| encode_all(point).trim_end().to_owned());
        let letter = DeadLetter { at: self.clock.now(), reason, points, line };
        if let Err(error) = self.dead.keep(&letter) {
            tracing::error!(%error, line = letter.line, "a dead letter could not be kept");
        }
        points
    }
}

fn jitter(most: Duration) -> Duration {
    most.mul_f64(fastrand::f64())
}

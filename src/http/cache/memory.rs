//! Answers in this process's memory: bounded in bytes, the least recently used go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::Answer;
use crate::db::{Depends, Moment};
use crate::telemetry::{Registry, name};

pub(super) struct Memory {
    pub(super) kept: Mutex<Kept>,
    /// Who makes which answer now.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    max_bytes: usize,
    expiry: Duration,
    size: Gauge,
    evicted: Counter,
}

#[derive(Default)]
pub(super) struct Kept {
    pub(super) answers: HashMap<String, Entry>,
    pub(super) bytes: usize,
}

pub(super) struct Entry {
    /// Where the tables stood before it was made.
    pub since: Moment,
    /// Before its making began.
    pub began: Instant,
    pub depends: Depends,
    used: Instant,
    answer: Arc<Answer>,
    /// Counted for it: with compressed forms, that may be made later.
    bytes: usize,
}

/// What an entry takes beside its bytes, and room for its compressed forms.
const OVERHEAD_BYTES: usize = 256;

impl Entry {
    pub fn new(since: Moment, began: Instant, depends: Depends, answer: &Arc<Answer>) -> Self {
        // Twice: compressed forms come later and are smaller than the whole.
        let bytes = 2 * answer.size_bytes() + depends.size_bytes() + OVERHEAD_BYTES;
        Self { since, began, depends, used: began, answer: answer.clone(), bytes }
    }
}

impl Memory {
    pub fn new(max_bytes: usize, expiry: Duration, registry: &mut Registry) -> Self {
        let (size, evicted) = (Gauge::default(), Counter::default());
        registry.register(name::CACHE_BYTES, "Answers kept in memory, in bytes", size.clone());
        registry.register(name::CACHE_EVICTED, "Answers that made room for others", evicted.clone());
        Self { kept: Mutex::default(), turns: Mutex::default(), max_bytes, expiry, size, evicted }
    }

    /// The answer under `key`, if it holds and has not expired.
    pub fn find(&self, key: &str, holds: impl Fn(&Entry) -> bool) -> Option<Arc<Answer>> {
        let (mut kept, now) = (lock(&self.kept), Instant::now());
        let entry = kept.answers.get_mut(key)?;
        if now.duration_since(entry.began) > self.expiry || !holds(entry) {
            return None;
        }
        entry.used = now;
        Some(entry.answer.clone())
    }

    /// Held by whoever makes this answer.
    pub fn turn(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = lock(&self.turns);
        if turns.len() >= 1024 {
            // Those that nobody holds are of no use any more.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        turns.entry(key.to_owned()).or_default().clone()
    }

    pub fn keep(&self, key: &str, mut entry: Entry) {
        entry.bytes += key.len();
        let bytes = entry.bytes;
        if bytes > self.max_bytes / 4 {
            return;
        }
        let mut kept = lock(&self.kept);
        if let Some(before) = kept.answers.insert(key.to_owned(), entry) {
            kept.bytes -= before.bytes;
        }
        kept.bytes += bytes;
        if kept.bytes > self.max_bytes {
            self.make_room(&mut kept);
        }
        self.size.set(kept.bytes as i64);
    }

    /// Down to three quarters, so that this is done now and then and not each time.
    fn make_room(&self, kept: &mut Kept) {
        let mut by_use: Vec<(Instant, String)> =
            kept.answers.iter().map(|(key, entry)| (entry.used, key.clone())).collect();
        by_use.sort_unstable();
        for (_, key) in by_use {
            if kept.bytes <= self.max_bytes / 4 * 3 {
                break;
            }
            if let Some(entry) = kept.answers.remove(&key) {
                kept.bytes -= entry.bytes;
                self.evicted.inc();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

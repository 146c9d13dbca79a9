//! Answers that are kept, and never given to somebody who could know better.
//!
//! An answer is kept together with what it [`Depends`] on and the [`Moment`] at which the tables stood before it was made.
//! Each request looks for what has changed since the last look (one statement, shared by all requests of a moment), so an
//! answer is used as long as nothing in it has changed and not a moment longer, whichever node changed it, and whether or
//! not a message about it arrived. What does not depend on that is expiry, a bound on how long anything is kept.
//!
//! One request makes an answer; those that want the same meanwhile wait for it, and take it where its making began after
//! they had come. With Redis, nodes share answers; it is asked behind the node's own memory.

mod answer; // what is kept: bytes, tag, compressed forms
mod memory;
mod redis;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use serde::{Deserialize, Serialize};

pub use answer::Answer;
pub(super) use answer::FRESHNESS;

use self::memory::{Entry, Memory};
use self::redis::Shared;
use crate::db::{Db, Depends, Moment};
use crate::telemetry::{Registry, name};

/// How answers are kept.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheOptions {
    /// Bytes of answers in this process's memory; the least recently used go. 0: no answer is kept.
    pub memory_bytes: usize,
    /// Nothing is kept longer, in seconds.
    pub expires_s: u64,
    /// For Redis to answer, in milliseconds; then the answer is made here.
    pub redis_timeout_ms: u64,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self { memory_bytes: 32 * 1024 * 1024, expires_s: 300, redis_timeout_ms: 50 }
    }
}

/// The kept answers. Cloning shares them.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    enabled: bool,
    memory: Memory,
    shared: Option<Shared>,
    requests: Family<[(&'static str, &'static str); 1], Counter>,
}

/// What `make` has made.
#[derive(Debug)]
pub struct Made {
    pub body: Vec<u8>,
    pub depends: Depends,
}

/// Who may use an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// This node alone.
    None,
    /// All nodes on one Redis.
    Nodes,
}

/// Whoever knows whether answers still hold; see [`Db`] for what each says.
pub trait Tables: Sync {
    fn moment(&self) -> impl Future<Output = Option<Moment>> + Send;
    fn has_changed(&self, depends: &Depends, since: &Moment) -> bool;
    fn stamp(&self, moment: &Moment) -> Option<String>;
    fn holds(&self, depends: &Depends, stamp: &str) -> bool;
}

impl Tables for Db {
    async fn moment(&self) -> Option<Moment> {
        Db::moment(self).await
    }

    fn has_changed(&self, depends: &Depends, since: &Moment) -> bool {
        Db::has_changed(self, depends, since)
    }

    fn stamp(&self, moment: &Moment) -> Option<String> {
        Db::stamp(self, moment)
    }

    fn holds(&self, depends: &Depends, stamp: &str) -> bool {
        Db::holds(self, depends, stamp)
    }
}

impl Cache {
    /// With a `redis_url` nodes share their answers.
    pub async fn new(options: &CacheOptions, redis_url: Option<&str>, registry: &mut Registry) -> Result<Self, String> {
        let requests = Family::default();
        let help = "Requests for answers that may be kept, by where the answer came from: memory, redis, wait (made for \
                    another meanwhile), made, bypass (nobody could say whether a kept one holds)";
        registry.register(name::CACHE_REQUESTS, help, Family::clone(&requests));
        let expiry = Duration::from_secs(options.expires_s.max(1));
        let memory = Memory::new(options.memory_bytes, expiry, registry);
        let shared = match redis_url.filter(|_| options.memory_bytes > 0) {
            Some(url) => Some(Shared::connect(url, Duration::from_millis(options.redis_timeout_ms), expiry).await?),
            None => None,
        };
        Ok(Self(Arc::new(Inner { enabled: options.memory_bytes > 0, memory, shared, requests })))
    }

    /// Without Redis and with the usual bounds.
    pub fn in_memory() -> Self {
        let options = CacheOptions::default();
        let memory =
            Memory::new(options.memory_bytes, Duration::from_secs(options.expires_s), &mut Registry::default());
        Self(Arc::new(Inner { enabled: true, memory, shared: None, requests: Family::default() }))
    }

    /// The answer under `key`: a kept one while it holds, otherwise what `make` makes, which is then kept. `make` is told
    /// where the tables stood before it was called; `None` when nobody can say.
    pub async fn answer<E, F: Future<Output = Result<Made, E>>>(
        &self,
        key: &str,
        sharing: Sharing,
        tables: &impl Tables,
        make: impl FnOnce(Option<Moment>) -> F,
    ) -> Result<Arc<Answer>, E> {
        let (cache, came) = (&*self.0, Instant::now());
        let seen = if cache.enabled { tables.moment().await } else { None };
        let Some(mut now) = seen else {
            self.count("bypass");
            return Ok(Arc::new(Answer::new(make(None).await?.body)));
        };
        if let Some(answer) = cache.memory.find(key, |entry| !tables.has_changed(&entry.depends, &entry.since)) {
            self.count("memory");
            return Ok(answer);
        }
        let turn = cache.memory.turn(key);
        let mut began = came;
        let _held = match turn.try_lock() {
            Ok(held) => held,
            Err(_) => {
                let held = turn.lock().await;
                // What somebody began to make after this request came is as new as what this one would make.
                let holds = |entry: &Entry| entry.began >= came || !tables.has_changed(&entry.depends, &entry.since);
                if let Some(answer) = cache.memory.find(key, holds) {
                    self.count("wait");
                    return Ok(answer);
                }
                // It has been a while; whoever waits behind this one is served best by the newest.
                began = Instant::now();
                match tables.moment().await {
                    Some(newest) => now = newest,
                    None => return Ok(Arc::new(Answer::new(make(None).await?.body))),
                }
                held
            }
        };
        let shared = cache.shared.as_ref().filter(|_| sharing == Sharing::Nodes);
        if let Some(shared) = shared.filter(|shared| shared.is_worth_asking()) {
            let found = shared.get(key).await.filter(|found| tables.holds(&found.depends, &found.stamp));
            shared.note(found.is_some());
            if let Some(found) = found {
                let answer = Arc::new(Answer::new(found.body));
                cache.memory.keep(key, Entry::new(now, began, found.depends, &answer));
                self.count("redis");
                return Ok(answer);
            }
        }
        let made = make(Some(now)).await?;
        let answer = Arc::new(Answer::new(made.body));
        self.count("made");
        if let (Some(shared), Some(stamp)) = (shared, tables.stamp(&now)) {
            shared.set(key, &stamp, &made.depends, answer.body()).await;
        }
        cache.memory.keep(key, Entry::new(now, began, made.depends, &answer));
        Ok(answer)
    }

    fn count(&self, from: &'static str) {
        self.0.requests.get_or_create(&[("from", from)]).inc();
    }
}

#[cfg(test)]
mod tests;

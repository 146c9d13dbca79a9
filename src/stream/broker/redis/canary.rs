//! The canary: each channel is asked through itself, again and again, where it stands. A channel that does not answer is
//! stale, whatever the connection says of itself.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use futures_util::StreamExt;
use tokio::sync::oneshot;

use super::super::super::Channel;
use super::super::super::position::new_epoch;
use super::super::SharedSink;
use super::RedisOptions;
use super::link::Link;
use crate::tasks::Tasks;

/// Channels asked in one interval. With more of them each has its turn every few intervals, and its patience grows.
const CHANNELS_A_TURN: usize = 256;
/// Questions under way at once.
const AT_ONCE: usize = 64;

/// What channels this node listens to, and when each was last heard of.
pub(super) struct Pulses {
    /// A channel that only this node uses: what says whether the backbone works when nobody listens to anything.
    own: Channel,
    interval: Duration,
    stale_after: Duration,
    watched: DashMap<Channel, Pulse>,
    /// Who waits for which nonce.
    expected: Mutex<HashMap<String, oneshot::Sender<()>>>,
}

#[derive(Clone, Copy)]
struct Pulse {
    heard_at: Instant,
    stale: bool,
}

impl Pulses {
    pub fn new(options: &RedisOptions) -> Self {
        let own = format!("canary-{}", new_epoch());
        Self {
            own: Channel::new(&own).unwrap_or_else(|error| unreachable!("{error}")),
            interval: Duration::from_millis(options.canary_interval_ms.max(10)),
            stale_after: Duration::from_millis(options.stale_after_ms),
            watched: DashMap::new(),
            expected: Mutex::default(),
        }
    }

    pub fn own(&self) -> &Channel {
        &self.own
    }

    pub fn watch(&self, channel: &Channel) {
        self.watched.entry(channel.clone()).or_insert_with(|| Pulse { heard_at: Instant::now(), stale: false });
    }

    pub fn unwatch(&self, channel: &Channel) {
        self.watched.remove(channel);
    }

    pub fn is_watched(&self, channel: &Channel) -> bool {
        self.watched.contains_key(channel)
    }

    /// Notes that something came through the channel; answers whether it had been stale.
    pub fn heard(&self, channel: &Channel) -> bool {
        self.watched.get_mut(channel).is_some_and(|mut pulse| {
            pulse.heard_at = Instant::now();
            std::mem::take(&mut pulse.stale)
        })
    }

    pub fn silent_for(&self, channel: &Channel) -> Duration {
        self.watched.get(channel).map_or(Duration::MAX, |pulse| pulse.heard_at.elapsed())
    }

    /// A nonce, and what ends when it has come back.
    pub fn expect(&self) -> (String, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        let nonce = new_epoch();
        self.expected().insert(nonce.clone(), sender);
        (nonce, receiver)
    }

    pub fn forget(&self, nonce: &str) {
        self.expected().remove(nonce);
    }

    pub fn came_back(&self, nonce: &str) {
        if let Some(waiting) = self.expected().remove(nonce) {
            let _ = waiting.send(());
        }
    }

    fn expected(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<()>>> {
        self.expected.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn longest_silence(&self) -> Duration {
        self.watched.iter().map(|pulse| pulse.heard_at.elapsed()).max().unwrap_or_default()
    }

    /// Channels that have just become stale, and for how long nothing has been heard of each.
    fn newly_stale(&self) -> Vec<(Channel, Duration)> {
        let turns = u32::try_from(self.watched.len() / CHANNELS_A_TURN).unwrap_or(u32::MAX);
        let patience = self.stale_after + self.interval.saturating_mul(turns);
        let mut stale = Vec::new();
        for mut pulse in self.watched.iter_mut() {
            let silent = pulse.heard_at.elapsed();
            if !pulse.stale && silent > patience {
                pulse.stale = true;
                stale.push((pulse.key().clone(), silent));
            }
        }
        stale
    }
}

pub(super) fn start(link: &Link, pulses: &std::sync::Arc<Pulses>, tasks: &Tasks, sink: SharedSink) {
    let (asking_link, asking, stop) = (link.clone(), pulses.clone(), tasks.stop());
    tasks.spawn("redis canary", async move {
        let mut next = 0;
        let mut ticks = tokio::time::interval(asking.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let mut channels: Vec<Channel> = asking.watched.iter().map(|pulse| pulse.key().clone()).collect();
            channels.sort();
            let (count, turn) = (channels.len().max(1), channels.len().min(CHANNELS_A_TURN));
            channels.rotate_left(next % count);
            next = (next + turn) % count;
            let asked = channels.into_iter().take(turn).map(|channel| {
                let link = asking_link.clone();
                async move {
                    if let Err(error) = link.canary(&channel, "-").await {
                        tracing::debug!(%error, %channel, "a canary could not be sent");
                    }
                }
            });
            let all = futures_util::stream::iter(asked).buffer_unordered(AT_ONCE).for_each(|()| async {});
            tokio::select! {
                () = stop.cancelled() => return,
                () = all => {}
            }
        }
    });
    let (pulses, stop, link) = (pulses.clone(), tasks.stop(), link.clone());
    tasks.spawn("redis silence", async move {
        let mut looked_at = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            // Before anybody has to be told: on a cluster it may be a slot that has moved.
            if pulses.longest_silence() > pulses.stale_after / 2 && looked_at.elapsed() > pulses.stale_after / 2 {
                looked_at = Instant::now();
                link.find_moved_slots().await;
            }
            for (channel, silent) in pulses.newly_stale() {
                if channel == *pulses.own() {
                    tracing::warn!(silent_ms = silent.as_millis() as u64, "nothing comes back from Redis");
                } else {
                    sink.stale(&channel, Some(silent)).await;
                }
            }
        }
    });
}

//! An audience: the connections that are to get exactly the same bytes. Filters run once an audience, not once a client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::{Channel, Filter};
use crate::wire::Dialect;

/// What makes two subscribers equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AudienceSpec {
    /// The label in metrics.
    pub feed: &'static str,
    pub dialect: Dialect,
    pub channels: Vec<Channel>,
    pub filter: Filter,
}

/// One spec, shared by all its connections. While it lives, its channels are subscribed at the broker.
pub struct Audience {
    pub(super) id: u64,
    pub(super) spec: AudienceSpec,
    pub(super) watches: Vec<Watch>,
}

impl Audience {
    pub(super) fn new(spec: AudienceSpec, watches: Vec<Watch>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), spec, watches }
    }

    pub fn spec(&self) -> &AudienceSpec {
        &self.spec
    }
}

/// A channel that somebody on this node listens to.
pub(super) struct ActiveChannel {
    pub channel: Channel,
    /// Small and stable while the channel is active: the shards index by it.
    pub id: u64,
    /// Connections a shard has, or is about to have, on this channel: where a publication must go.
    pub on_shard: Box<[AtomicU32]>,
    /// Audiences that hold this channel.
    watchers: AtomicUsize,
    /// Whether the broker has confirmed the subscription; held across the broker call, so that nobody asks twice.
    pub subscribed: tokio::sync::Mutex<bool>,
}

impl ActiveChannel {
    pub fn new(channel: Channel, shards: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            channel,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            on_shard: (0..shards).map(|_| AtomicU32::new(0)).collect(),
            watchers: AtomicUsize::new(0),
            subscribed: tokio::sync::Mutex::new(false),
        }
    }

    pub fn watched(&self) -> bool {
        self.watchers.load(Ordering::SeqCst) > 0
    }
}

/// Keeps a channel subscribed at the broker; the last one to go wakes whoever unsubscribes idle channels.
pub(super) struct Watch {
    pub active: Arc<ActiveChannel>,
    idle: Arc<Notify>,
}

impl Watch {
    pub fn new(active: Arc<ActiveChannel>, idle: Arc<Notify>) -> Self {
        active.watchers.fetch_add(1, Ordering::SeqCst);
        Self { active, idle }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.active.watchers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.idle.notify_one();
        }
    }
}

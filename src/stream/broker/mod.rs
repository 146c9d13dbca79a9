//! Where publications are ordered and numbered. Every publish goes out through a broker and comes back from it, so one
//! node and ten run the same code.

mod envelope;
mod memory;
mod redis;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use memory::{Memory, MemoryOptions};
pub use redis::{Redis, RedisOptions};

use super::{Channel, MapStore, Mark, Position, PresenceOptions, Publication, SharedPresence, Tags};

/// A broker of messages.
///
/// - **Order**: what `publish` has accepted for one channel reaches every node's [`Sink`] in one order, with offsets that
///   grow by one. What others publish past Fanfare (plain `PUBLISH`) comes in the same order, numbered by each node.
/// - **Delivery**: everything that was accepted, once to each node, or [`Sink::gap`] in its place. What a node missed
///   while its connection was down is fetched from the history first; only what is no longer there is a gap.
/// - **Subscription**: after `subscribe` has returned `Ok`, the sink knows where the channel stands ([`Sink::begin`]) and
///   gets everything after that, until `unsubscribe`. Both may be repeated.
/// - **Silence**: a channel of which nothing could be heard for 2 s, not even the broker's own canary, is told to be
///   stale, and live again once everything missed has been delivered.
/// - **Blocking**: `publish` waits while the sink is full (memory) or while Redis does not answer, up to a time-out.
#[async_trait]
pub trait Broker: Send + Sync {
    fn name(&self) -> &'static str;
    /// Whether other nodes hear what is published.
    fn is_shared(&self) -> bool {
        true
    }
    /// With a key that the history still holds, nothing is published again and the first one's position is answered.
    async fn publish(&self, channel: &Channel, message: Outgoing) -> Result<Position, BrokerError>;
    /// Tells what nobody keeps: whoever listens now gets it, without a number that all nodes share.
    async fn tell(&self, channel: &Channel, data: Bytes) -> Result<(), BrokerError>;
    /// Several of one channel, in order; the same as one after the other until one is refused. Answers where each stands,
    /// and why there are fewer than asked for, in which case some of those may have been published all the same.
    async fn publish_all(&self, channel: &Channel, messages: Vec<Outgoing>) -> (Vec<Position>, Option<BrokerError>) {
        let mut positions = Vec::with_capacity(messages.len());
        for message in messages {
            match self.publish(channel, message).await {
                Ok(position) => positions.push(position),
                Err(error) => return (positions, Some(error)),
            }
        }
        (positions, None)
    }
    async fn subscribe(&self, channel: &Channel) -> Result<(), BrokerError>;
    async fn unsubscribe(&self, channel: &Channel) -> Result<(), BrokerError>;
    /// What is kept after `offset`, and where the channel stands now.
    async fn history(&self, channel: &Channel, after: u64) -> Result<Past, BrokerError>;
    /// Drops what is kept of the channel; its numbering goes on.
    async fn forget(&self, channel: &Channel) -> Result<(), BrokerError>;
    /// Where the channel stands now.
    async fn position(&self, channel: &Channel) -> Result<Position, BrokerError>;
    /// Whether the broker answers now.
    async fn ping(&self) -> Result<(), BrokerError>;
    /// For how long nothing has been heard of the backbone, canary included. Zero within one process.
    fn silent_for(&self) -> Duration;
    /// Where `node` keeps its clients for the other nodes to see; `None` where one process is all there is.
    fn presence(&self, _node: &Arc<str>, _options: &PresenceOptions) -> Option<SharedPresence> {
        None
    }
    /// Where maps are kept that all nodes share; `None` where one process is all there is.
    fn maps(&self) -> Option<Arc<dyn MapStore>> {
        None
    }
    /// Ends its tasks; nothing is delivered afterwards.
    async fn stop(&self);
}

/// What is to be published.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    /// JSON.
    pub data: Bytes,
    pub tags: Tags,
    /// The publisher's own name for it: published once, however often it is tried.
    pub key: Option<Arc<str>>,
    /// Which of several states of one thing it is: after a newer one it is not published.
    pub version: Option<Version>,
}

/// States of a thing are numbered by whoever publishes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub number: u64,
    /// Numbers of another name do not count.
    pub of: String,
}

/// A channel's kept publications after some offset.
pub struct Past {
    /// Where the channel stood when they were read.
    pub position: Position,
    /// In order. Complete when the first follows the offset that was asked for.
    pub publications: Vec<Arc<Publication>>,
}

/// Where a broker delivers to: the hub, and the recorder in tests. Called one at a time per channel, in order.
#[async_trait]
pub trait Sink: Send + Sync {
    /// The subscription holds from here on. Said again, it changes nothing.
    async fn begin(&self, channel: &Channel, mark: Mark);
    /// Waits while the receiver is full: that is the back-pressure.
    async fn deliver(&self, publication: Arc<Publication>);
    async fn gap(&self, gap: Gap);
    /// Nothing has been heard of the channel for `silent`; `None`: it is live again.
    async fn stale(&self, channel: &Channel, silent: Option<Duration>);
    /// A message that is not JSON: counted and logged, never fatal.
    fn invalid(&self, channel: &Channel, problem: &str);
    fn connected(&self, connected: bool);
}

/// Messages of a channel may be missing.
#[derive(Clone, Debug)]
pub struct Gap {
    pub channel: Channel,
    pub reason: &'static str,
    /// From where on everything arrives again.
    pub mark: Mark,
}

#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("{0}")]
    Unavailable(String),
    #[error("no more than {0} channels are kept")]
    TooManyChannels(usize),
}

pub type SharedSink = Arc<dyn Sink>;

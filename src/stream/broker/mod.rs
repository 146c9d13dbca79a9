//! Where publications are ordered and numbered. Every publish goes out through a broker and comes back from it, so one
//! node and ten run the same code.

mod envelope;
mod memory;
mod redis;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use memory::{Memory, MemoryOptions};
pub use redis::{Redis, RedisOptions};

use super::{Channel, Position, Publication, Tags};

/// A broker of messages.
///
/// - **Order**: what `publish` has accepted for one channel reaches every node's [`Sink`] in one order.
/// - **Delivery**: at most once to each node. When the broker may have lost something it says so by [`Sink::gap`].
/// - **Subscription**: after `subscribe` has returned `Ok`, everything accepted from then on reaches the sink, until
///   `unsubscribe`. Both may be repeated.
/// - **Blocking**: `publish` waits while the sink is full (memory) or while Redis does not answer, up to a time-out.
#[async_trait]
pub trait Broker: Send + Sync {
    fn name(&self) -> &'static str;
    async fn publish(&self, channel: &Channel, data: Bytes, tags: Tags) -> Result<Position, BrokerError>;
    async fn subscribe(&self, channel: &Channel) -> Result<(), BrokerError>;
    async fn unsubscribe(&self, channel: &Channel) -> Result<(), BrokerError>;
    /// Whether the broker answers now.
    async fn ping(&self) -> Result<(), BrokerError>;
    /// Ends its tasks; nothing is delivered afterwards.
    async fn stop(&self);
}

/// Where a broker delivers to: the hub, and the recorder in tests.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Called one at a time per channel, in order. Waits while the receiver is full: that is the back-pressure.
    async fn deliver(&self, publication: Publication);
    async fn gap(&self, gap: Gap);
    /// A message that is not JSON: counted and logged, never fatal.
    fn invalid(&self, channel: &Channel, problem: &str);
    fn connected(&self, connected: bool);
}

/// Messages may be missing.
#[derive(Clone, Debug)]
pub struct Gap {
    /// `None`: on every channel.
    pub channel: Option<Channel>,
    pub reason: &'static str,
}

#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("{0}")]
    Unavailable(String),
    #[error("no more than {0} channels are kept")]
    TooManyChannels(usize),
}

pub type SharedSink = Arc<dyn Sink>;

//! The broker within the process.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dashmap::DashMap;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::super::publication::Kind;
use super::super::{Channel, Position, Publication, Tags};
use super::{Broker, BrokerError, SharedSink};

/// Settings of the broker within the process.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryOptions {
    /// Channels whose numbering is kept. A publish to one more is refused.
    pub max_channels: usize,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { max_channels: 1_000_000 }
    }
}

/// Numbers publications and hands them to the sink under the channel's lock, so that both orders are one.
pub struct Memory {
    options: MemoryOptions,
    sink: SharedSink,
    epoch: String,
    /// The inner lock is held while the sink takes the publication.
    channels: DashMap<Channel, Arc<Mutex<Line>>>,
}

/// One channel.
#[derive(Default)]
struct Line {
    last_offset: u64,
    subscribed: bool,
}

impl Memory {
    pub fn new(options: MemoryOptions, sink: SharedSink) -> Self {
        sink.connected(true);
        Self { options, sink, epoch: super::envelope::new_epoch(), channels: DashMap::new() }
    }

    /// The map's guard ends here: it must not be held across an await.
    fn channel(&self, channel: &Channel) -> Result<Arc<Mutex<Line>>, BrokerError> {
        if let Some(found) = self.channels.get(channel) {
            return Ok(found.clone());
        }
        if self.channels.len() >= self.options.max_channels {
            return Err(BrokerError::TooManyChannels(self.options.max_channels));
        }
        Ok(self.channels.entry(channel.clone()).or_default().clone())
    }
}

#[async_trait]
impl Broker for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn publish(&self, channel: &Channel, data: Bytes, tags: Tags) -> Result<Position, BrokerError> {
        let entry = self.channel(channel)?;
        let mut line = entry.lock().await;
        line.last_offset += 1;
        let position = Position { offset: line.last_offset, epoch: self.epoch.clone() };
        if line.subscribed {
            self.sink.deliver(Publication::new(channel.clone(), Kind::Data, data, tags, Some(position.clone()))).await;
        }
        Ok(position)
    }

    async fn subscribe(&self, channel: &Channel) -> Result<(), BrokerError> {
        self.channel(channel)?.lock().await.subscribed = true;
        Ok(())
    }

    async fn unsubscribe(&self, channel: &Channel) -> Result<(), BrokerError> {
        // Not made for this: what was never there is not subscribed.
        let found = self.channels.get(channel).map(|found| found.clone());
        if let Some(line) = found {
            line.lock().await.subscribed = false;
        }
        Ok(())
    }

    async fn ping(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn stop(&self) {}
}

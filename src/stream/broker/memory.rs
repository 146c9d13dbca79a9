//! The broker within the process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dashmap::DashMap;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::super::history::{History, HistoryOptions};
use super::super::publication::Kind;
use super::super::{Channel, Mark, Position, Publication};
use super::{Broker, BrokerError, Outgoing, Past, SharedSink};

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
    history: HistoryOptions,
    sink: SharedSink,
    /// The inner lock is held while the sink takes the publication.
    channels: DashMap<Channel, Arc<Mutex<Line>>>,
}

/// One channel.
struct Line {
    /// Everybody publishes through this process: the local numbering stays where it is.
    mark: Mark,
    subscribed: bool,
    history: History,
    /// Keys of what the history holds.
    keys: HashMap<Arc<str>, u64>,
}

impl Memory {
    pub fn new(options: MemoryOptions, history: HistoryOptions, sink: SharedSink) -> Self {
        sink.connected(true);
        Self { options, history, sink, channels: DashMap::new() }
    }

    /// The map's guard ends here: it must not be held across an await.
    fn channel(&self, channel: &Channel) -> Result<Arc<Mutex<Line>>, BrokerError> {
        if let Some(found) = self.channels.get(channel) {
            return Ok(found.clone());
        }
        if self.channels.len() >= self.options.max_channels {
            return Err(BrokerError::TooManyChannels(self.options.max_channels));
        }
        let fresh = || Line {
            mark: Mark { shared: Position::start(), local: Position::local_start() },
            subscribed: false,
            history: History::new(self.history.clone()),
            keys: HashMap::new(),
        };
        Ok(self.channels.entry(channel.clone()).or_insert_with(|| Arc::new(Mutex::new(fresh()))).clone())
    }
}

#[async_trait]
impl Broker for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn publish(&self, channel: &Channel, message: Outgoing) -> Result<Position, BrokerError> {
        let entry = self.channel(channel)?;
        let mut line = entry.lock().await;
        let line = &mut *line;
        if let Some(offset) = message.key.as_ref().and_then(|key| line.keys.get(key)) {
            return Ok(Position { offset: *offset, epoch: line.mark.shared.epoch.clone() });
        }
        let position = line.mark.shared.next();
        line.mark.reach(&position);
        if let Some(key) = &message.key {
            line.keys.insert(key.clone(), position.offset);
        }
        let Outgoing { data, tags, key } = message;
        let publication = Publication::new(channel.clone(), Kind::Data, data, tags, Some(position.clone()));
        let publication = Arc::new(publication.with_key(key));
        if line.subscribed {
            self.sink.deliver(publication.clone()).await;
        }
        for gone in line.history.push(publication) {
            if let Some(key) = &gone.key {
                line.keys.remove(key);
            }
        }
        Ok(position)
    }

    async fn subscribe(&self, channel: &Channel) -> Result<(), BrokerError> {
        let entry = self.channel(channel)?;
        let mut line = entry.lock().await;
        line.subscribed = true;
        self.sink.begin(channel, line.mark.clone()).await;
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

    async fn history(&self, channel: &Channel, after: u64) -> Result<Past, BrokerError> {
        let entry = self.channel(channel)?;
        let line = entry.lock().await;
        let publications = line.history.iter().filter(|kept| kept.offset() > after).cloned().collect();
        Ok(Past { position: line.mark.shared.clone(), publications })
    }

    async fn forget(&self, channel: &Channel) -> Result<(), BrokerError> {
        let found = self.channels.get(channel).map(|found| found.clone());
        if let Some(line) = found {
            let mut line = line.lock().await;
            line.history.clear();
            line.keys.clear();
        }
        Ok(())
    }

    async fn position(&self, channel: &Channel) -> Result<Position, BrokerError> {
        Ok(self.channel(channel)?.lock().await.mark.shared.clone())
    }

    async fn ping(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    fn silent_for(&self) -> Duration {
        Duration::ZERO
    }

    async fn stop(&self) {}
}

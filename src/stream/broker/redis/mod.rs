//! The broker on Redis: pub/sub for what is live, a stream a channel for what was missed.
//!
//! Two clients: one subscribes and does nothing else, one publishes (an error reply to SUBSCRIBE would otherwise be
//! given to another command). The subscriber's events are drained by a task that does nothing else, because the
//! library's own buffer drops silently; whatever is dropped anywhere is fetched from the history, or becomes a gap.

mod canary; // notices a backbone that has gone silent
mod link; // commands and scripts
mod map; // the newest value of each key
mod presence; // who watches a channel, on all nodes
mod router; // what Redis pushes, in order, to the sink

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::interfaces::ClientLike;
use serde::Deserialize;
use tokio::sync::mpsc;

use self::canary::Pulses;
use self::link::Link;
use self::router::Event;
use super::super::history::HistoryOptions;
use super::super::{Channel, MapStore, Position, PresenceOptions, SharedPresence};
use super::{Broker, BrokerError, Outgoing, Past, SharedSink};
use crate::tasks::Tasks;

/// Of messages that are published together: the most that one script handles.
const MESSAGES_A_SCRIPT: usize = 100;
const BYTES_A_SCRIPT: usize = 256 << 10;

/// Settings of the broker on Redis.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedisOptions {
    /// Messages from Redis that may wait in this process. What comes on top is fetched from the history later.
    pub queue_messages: usize,
    /// How long a command may take.
    pub command_timeout_ms: u64,
    /// How long the first connection may take before the start is refused.
    pub connect_timeout_ms: u64,
    /// How often each channel is asked through itself whether it works.
    pub canary_interval_ms: u64,
    /// After how long without an answer a channel counts as stale.
    pub stale_after_ms: u64,
    /// How long the numbering of a channel that nobody uses is kept.
    pub idle_epoch_s: u64,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            queue_messages: 65_536,
            command_timeout_ms: 5_000,
            connect_timeout_ms: 5_000,
            canary_interval_ms: 500,
            stale_after_ms: 2_000,
            idle_epoch_s: 30 * 86_400,
        }
    }
}

pub struct Redis {
    link: Link,
    pulses: Arc<Pulses>,
    events: mpsc::Sender<Event>,
    tasks: Tasks,
}

impl Redis {
    /// Connects both clients; an error here means that Redis could not be reached in time.
    pub async fn connect(
        url: &str,
        options: RedisOptions,
        history: HistoryOptions,
        sink: SharedSink,
    ) -> Result<Self, BrokerError> {
        let link = Link::new(url, &options, history)?;
        let tasks = Tasks::new();
        let pulses = Arc::new(Pulses::new(&options));
        let events = router::start(&link, &pulses, &tasks, &options, sink.clone());
        let within = Duration::from_millis(options.connect_timeout_ms);
        let connecting = tokio::time::timeout(within, link.connect()).await;
        let refused = match connecting {
            Ok(result) => result.err(),
            Err(_) => Some(BrokerError::Unavailable(format!("no connection within {within:?}"))),
        };
        let redis = Self { link, pulses, events, tasks };
        if let Some(error) = refused {
            redis.stop().await;
            return Err(error);
        }
        sink.connected(true);
        redis.subscribe(redis.pulses.own()).await?;
        canary::start(&redis.link, &redis.pulses, &redis.tasks, sink);
        Ok(redis)
    }
}

#[async_trait]
impl Broker for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn publish(&self, channel: &Channel, message: Outgoing) -> Result<Position, BrokerError> {
        self.link.publish(channel, message).await
    }

    async fn tell(&self, channel: &Channel, data: Bytes) -> Result<(), BrokerError> {
        self.link.tell(channel, data).await
    }

    async fn publish_all(
        &self,
        channel: &Channel,
        mut messages: Vec<Outgoing>,
    ) -> (Vec<Position>, Option<BrokerError>) {
        let mut positions = Vec::with_capacity(messages.len());
        while !messages.is_empty() {
            // A script runs alone: everybody else waits for it, so it is kept short.
            let (mut some, mut bytes) = (0, 0);
            while some < messages.len().min(MESSAGES_A_SCRIPT) && bytes < BYTES_A_SCRIPT {
                bytes += messages[some].data.len();
                some += 1;
            }
            let rest = messages.split_off(some);
            match self.link.publish_all(channel, std::mem::replace(&mut messages, rest)).await {
                Ok(told) => positions.extend(told),
                Err(error) => return (positions, Some(error)),
            }
        }
        (positions, None)
    }

    /// The library answers when SUBSCRIBE has been written, not when it holds; and only Redis knows where the channel
    /// stood then. Both are learned from a canary that comes back through the channel.
    async fn subscribe(&self, channel: &Channel) -> Result<(), BrokerError> {
        self.pulses.watch(channel);
        let confirmed = tokio::time::timeout(self.link.command_timeout, async {
            self.link.subscribe(channel).await?;
            let mut pause = Duration::from_millis(2);
            loop {
                let (nonce, heard) = self.pulses.expect();
                let sent = self.link.canary(channel, &nonce).await;
                let came = tokio::time::timeout(pause, heard).await.is_ok_and(|heard| heard.is_ok());
                self.pulses.forget(&nonce);
                match sent {
                    Ok(_) if came => return Ok(()),
                    Ok(_) => {}
                    Err(error) => return Err(error),
                }
                pause = (pause * 2).min(Duration::from_millis(500));
                if pause > Duration::from_millis(100) {
                    // A connection that was replaced meanwhile has taken the command with it.
                    self.link.subscribe(channel).await?;
                }
            }
        });
        let result = match confirmed.await {
            Ok(result) => result,
            Err(_) => Err(BrokerError::Unavailable(format!("no subscription within {:?}", self.link.command_timeout))),
        };
        if result.is_err() {
            self.pulses.unwatch(channel);
        }
        result
    }

    async fn unsubscribe(&self, channel: &Channel) -> Result<(), BrokerError> {
        self.link.unsubscribe(channel).await?;
        self.pulses.unwatch(channel);
        // Full: the router drops what it knows of channels that nobody watches when it comes across them.
        let _ = self.events.try_send(Event::Forget(channel.clone()));
        Ok(())
    }

    async fn history(&self, channel: &Channel, after: u64) -> Result<Past, BrokerError> {
        self.link.history(channel, after).await
    }

    async fn forget(&self, channel: &Channel) -> Result<(), BrokerError> {
        self.link.forget(channel).await
    }

    async fn position(&self, channel: &Channel) -> Result<Position, BrokerError> {
        self.link.position(channel).await
    }

    async fn ping(&self) -> Result<(), BrokerError> {
        self.link.publisher.ping::<String>(None).await.map(|_| ()).map_err(link::unavailable)
    }

    fn silent_for(&self) -> Duration {
        self.pulses.silent_for(self.pulses.own())
    }

    fn presence(&self, node: &Arc<str>, options: &PresenceOptions) -> Option<SharedPresence> {
        Some(presence::store(self.link.clone(), node.clone(), options.clone()))
    }

    fn maps(&self) -> Option<Arc<dyn MapStore>> {
        Some(map::store(self.link.clone()))
    }

    async fn stop(&self) {
        self.tasks.drain(Duration::from_secs(1)).await;
        self.link.quit().await;
    }
}

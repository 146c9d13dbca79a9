//! The broker on Redis pub/sub.
//!
//! Two clients: one subscribes and does nothing else, one publishes (an error reply to SUBSCRIBE would otherwise be
//! given to another command). The subscriber's events are drained by a task that does nothing else, because the
//! library's own buffer drops silently; whatever is dropped anywhere becomes a gap that clients are told about.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::clients::{Client, SubscriberClient};
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::config::{Config, ReconnectPolicy, UnresponsiveConfig};
use fred::types::scripts::Script;
use fred::types::{Builder, Message};
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::super::publication::Kind;
use super::super::{Channel, Position, Publication, Tags};
use super::envelope::{Envelope, PREFIX, new_epoch};
use super::{Broker, BrokerError, Gap, SharedSink};
use crate::tasks::Tasks;
use crate::wire::is_json;

/// Settings of the broker on Redis.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedisOptions {
    /// Messages from Redis that may wait in this process. One more is a gap.
    pub queue_messages: usize,
    /// How long a command may take.
    pub command_timeout_ms: u64,
    /// How long the first connection may take before the start is refused.
    pub connect_timeout_ms: u64,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self { queue_messages: 65_536, command_timeout_ms: 5_000, connect_timeout_ms: 5_000 }
    }
}

pub struct Redis {
    clients: Clients,
    script: Script,
    tasks: Tasks,
}

#[derive(Clone)]
struct Clients {
    publisher: Client,
    subscriber: SubscriberClient,
    command_timeout: Duration,
}

/// What the drain hands to the router.
enum Event {
    Message(Message),
    Gap(&'static str),
}

impl Redis {
    /// Connects both clients; an error here means that Redis could not be reached in time.
    pub async fn connect(url: &str, options: RedisOptions, sink: SharedSink) -> Result<Self, BrokerError> {
        let config = Config::from_url(url).map_err(unavailable)?;
        let mut builder = Builder::from_config(config);
        builder
            .set_policy(ReconnectPolicy::new_exponential(0, 100, 5_000, 2))
            .with_performance_config(|performance| {
                performance.default_command_timeout = Duration::from_millis(options.command_timeout_ms);
                performance.broadcast_channel_capacity = 4096;
            })
            .with_connection_config(|connection| {
                connection.connection_timeout = Duration::from_millis(options.connect_timeout_ms);
                connection.max_command_buffer_len = 100_000;
                connection.tcp.nodelay = Some(true);
                connection.unresponsive =
                    UnresponsiveConfig { max_timeout: Some(Duration::from_secs(10)), interval: Duration::from_secs(2) };
            });
        let publisher = builder.build().map_err(unavailable)?;
        let subscriber = builder.build_subscriber_client().map_err(unavailable)?;
        let tasks = Tasks::new();
        let clients =
            Clients { publisher, subscriber, command_timeout: Duration::from_millis(options.command_timeout_ms) };
        start_router(&clients, &tasks, &options, sink.clone());
        let within = Duration::from_millis(options.connect_timeout_ms);
        let late = |_| BrokerError::Unavailable(format!("no connection within {within:?}"));
        tokio::time::timeout(within, clients.publisher.init()).await.map_err(late)?.map_err(unavailable)?;
        tokio::time::timeout(within, clients.subscriber.init()).await.map_err(late)?.map_err(unavailable)?;
        sink.connected(true);
        let script = Script::from_lua(include_str!("publish.lua"));
        Ok(Self { clients, script, tasks })
    }
}

#[async_trait]
impl Broker for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn publish(&self, channel: &Channel, data: Bytes, tags: Tags) -> Result<Position, BrokerError> {
        let tags = serde_json::to_string(&tags).map_err(|error| BrokerError::Unavailable(error.to_string()))?;
        let meta = format!("{PREFIX}{{{channel}}}:meta");
        let (plain, nodes) = (channel.as_str(), format!("{PREFIX}{channel}"));
        let args = vec![
            fred::types::Value::from(plain),
            nodes.into(),
            new_epoch().into(),
            tags.into(),
            fred::types::Value::Bytes(data),
        ];
        let (offset, epoch): (u64, String) =
            self.script.evalsha_with_reload(&self.clients.publisher, meta, args).await.map_err(unavailable)?;
        Ok(Position { offset, epoch })
    }

    async fn subscribe(&self, channel: &Channel) -> Result<(), BrokerError> {
        self.clients.subscribe(vec![format!("{PREFIX}{channel}"), channel.as_str().to_owned()]).await
    }

    async fn unsubscribe(&self, channel: &Channel) -> Result<(), BrokerError> {
        let names = vec![channel.as_str().to_owned(), format!("{PREFIX}{channel}")];
        self.clients.subscriber.unsubscribe(names).await.map_err(unavailable)
    }

    async fn ping(&self) -> Result<(), BrokerError> {
        self.clients.publisher.ping::<String>(None).await.map(|_| ()).map_err(unavailable)
    }

    async fn stop(&self) {
        self.tasks.drain(Duration::from_secs(1)).await;
        let _ = self.clients.subscriber.quit().await;
        let _ = self.clients.publisher.quit().await;
    }
}

impl Clients {
    /// The library answers when SUBSCRIBE has been written, not when it holds. So a channel of our own rides in the same
    /// command, and the subscription is there when a message to that one finds a receiver.
    async fn subscribe(&self, mut names: Vec<String>) -> Result<(), BrokerError> {
        let probe = format!("{PREFIX}probe:{}", new_epoch());
        names.push(probe.clone());
        let heard = async {
            self.subscriber.subscribe(names).await?;
            let mut pause = Duration::from_millis(1);
            loop {
                match self.publisher.publish::<u64, _, _>(probe.as_str(), "").await {
                    Ok(0) => tokio::time::sleep(pause).await,
                    other => return other.map(|_| ()),
                }
                pause = (pause * 2).min(Duration::from_millis(100));
            }
        };
        let confirmed = tokio::time::timeout(self.command_timeout, heard).await;
        let _ = self.subscriber.unsubscribe(probe).await;
        match confirmed {
            Ok(result) => result.map_err(unavailable),
            Err(_) => Err(BrokerError::Unavailable(format!("no subscription within {:?}", self.command_timeout))),
        }
    }

    /// Returns when everything that was subscribed holds on the new connection. The library's own way of doing this
    /// tells nobody when, nor that it failed.
    async fn subscribe_again(&self) {
        let names = || {
            let tracked = self.subscriber.tracked_channels();
            tracked.iter().map(|name| name.to_string()).filter(|name| !is_probe(name)).collect()
        };
        while let Err(error) = self.subscribe(names()).await {
            tracing::warn!(%error, "the channels could not be subscribed again; trying once more");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn is_probe(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|name| name.starts_with("probe:"))
}

fn unavailable(error: fred::error::Error) -> BrokerError {
    // The library puts the operating system's error as its debug text.
    let details = error.details();
    let plain = details.split("message: \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or(details);
    BrokerError::Unavailable(plain.to_owned())
}

/// One task that only empties the library's buffer into our own bounded queue, one that handles the queue in order.
fn start_router(clients: &Clients, tasks: &Tasks, options: &RedisOptions, sink: SharedSink) {
    let (queue, mut events) = mpsc::channel(options.queue_messages);
    let mut messages = clients.subscriber.message_rx();
    let mut reconnects = clients.subscriber.reconnect_rx();
    let mut errors = clients.subscriber.error_rx();
    let clients = clients.clone();
    let (stop, drain_sink) = (tasks.stop(), sink.clone());
    tasks.spawn("redis drain", async move {
        let mut pending_gap = None;
        let mut connected_once = false;
        loop {
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                room = queue.reserve(), if pending_gap.is_some() => match (room, pending_gap.take()) {
                    (Ok(room), Some(reason)) => {
                        room.send(Event::Gap(reason));
                        continue;
                    }
                    _ => return,
                },
                message = messages.recv() => match message {
                    Ok(message) => Event::Message(message),
                    Err(RecvError::Lagged(_)) => Event::Gap("lagged"),
                    Err(RecvError::Closed) => return,
                },
                // Before the reconnects: each is followed by one, which has the last word.
                error = errors.recv() => {
                    if let Ok((error, _)) = error {
                        drain_sink.connected(false);
                        tracing::warn!(%error, "the connection to Redis failed; reconnecting");
                    }
                    continue;
                }
                _ = reconnects.recv() => {
                    // The first event is the first connection: nothing was subscribed before it.
                    if !std::mem::replace(&mut connected_once, true) {
                        continue;
                    }
                    // The gap is told when it has ended, and before anything that came after it: until then the
                    // library keeps what arrives. Told earlier, it would send clients for state that ages at once.
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = clients.subscribe_again() => drain_sink.connected(true),
                    }
                    Event::Gap("reconnected")
                }
            };
            // While a gap waits to be told, later messages belong to it.
            if pending_gap.is_some() || queue.try_send(event).is_err() {
                pending_gap = Some("queue full");
            }
        }
    });
    let stop = tasks.stop();
    tasks.spawn("redis router", async move {
        let mut echoes = HashMap::new();
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = events.recv() => event,
            };
            match event {
                None => return,
                Some(Event::Message(message)) => route(message, &mut echoes, &sink).await,
                Some(Event::Gap(reason)) => {
                    echoes.clear();
                    sink.gap(Gap { channel: None, reason }).await;
                }
            }
        }
    });
}

/// A node's publish arrives twice, side by side: with its envelope, then plain. `echoes` holds the plain data that is
/// expected next on a channel; it is skipped once.
async fn route(message: Message, echoes: &mut HashMap<Channel, Bytes>, sink: &SharedSink) {
    let data = match message.value {
        fred::types::Value::Bytes(bytes) => bytes,
        fred::types::Value::String(text) => text.into_inner(),
        _ => return,
    };
    let (name, from_node) = match message.channel.strip_prefix(PREFIX) {
        Some(_) if is_probe(&message.channel) => return,
        Some(name) => (name, true),
        None => (&*message.channel, false),
    };
    let Ok(channel) = Channel::new(name) else { return };
    let publication = if from_node {
        let Some(envelope) = Envelope::parse(&data) else {
            sink.invalid(&channel, "an envelope that cannot be read");
            return;
        };
        echoes.insert(channel.clone(), envelope.data.clone());
        Publication::new(channel, Kind::Data, envelope.data, envelope.tags, Some(envelope.position))
    } else {
        if echoes.remove(&channel).is_some_and(|echo| echo == data) {
            return;
        }
        if let Err(problem) = is_json(&data) {
            sink.invalid(&channel, &problem.to_string());
            return;
        }
        Publication::new(channel, Kind::Data, data, Tags::new(), None)
    };
    sink.deliver(publication).await;
}

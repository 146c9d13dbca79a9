//! The two clients, and every command that goes through them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fred::clients::{Client, SubscriberClient};
use fred::interfaces::{ClientLike, ClusterInterface, KeysInterface, PubsubInterface};
use fred::types::config::{Config, ReconnectPolicy, UnresponsiveConfig};
use fred::types::scripts::Script;
use fred::types::{Builder, Value};

use super::super::super::history::HistoryOptions;
use super::super::super::position::new_epoch;
use super::super::super::publication::Kind;
use super::super::super::{Channel, Position, Publication};
use super::super::envelope::{Envelope, keys, nodes_channel, of_nodes_channel};
use super::super::{BrokerError, Outgoing, Past};
use super::RedisOptions;

/// How long a canary or a look into the history may take: much less than a command of a client's.
const PROBE_TIMEOUT: Duration = Duration::from_millis(1_000);

#[derive(Clone)]
pub(super) struct Link {
    pub publisher: Client,
    pub subscriber: SubscriberClient,
    pub command_timeout: Duration,
    /// Nodes use sharded pub/sub there; what others `PUBLISH` is heard as ever.
    clustered: bool,
    history: HistoryOptions,
    idle_epoch_ms: i64,
    scripts: Arc<Scripts>,
}

struct Scripts {
    publish: Script,
    publish_all: Script,
    canary: Script,
    history: Script,
    renew: Script,
}

impl Link {
    pub fn new(url: &str, options: &RedisOptions, history: HistoryOptions) -> Result<Self, BrokerError> {
        let config = Config::from_url(url).map_err(unavailable)?;
        let clustered = config.server.is_clustered();
        let mut builder = Builder::from_config(config);
        builder
            .set_policy(ReconnectPolicy::new_exponential(0, 100, 2_000, 2))
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
        Ok(Self {
            publisher: builder.build().map_err(unavailable)?,
            subscriber: builder.build_subscriber_client().map_err(unavailable)?,
            command_timeout: Duration::from_millis(options.command_timeout_ms),
            clustered,
            history,
            idle_epoch_ms: i64::try_from(options.idle_epoch_s.saturating_mul(1000)).unwrap_or(i64::MAX),
            scripts: Arc::new(Scripts {
                publish: Script::from_lua(include_str!("publish.lua")),
                publish_all: Script::from_lua(format!(
                    "local function publish(KEYS, ARGV)\n{}end\n{}",
                    include_str!("publish.lua"),
                    include_str!("publish_all.lua")
                )),
                canary: Script::from_lua(include_str!("canary.lua")),
                history: Script::from_lua(include_str!("history.lua")),
                renew: Script::from_lua(include_str!("renew.lua")),
            }),
        })
    }

    pub async fn connect(&self) -> Result<(), BrokerError> {
        self.publisher.init().await.map_err(unavailable)?;
        self.subscriber.init().await.map_err(unavailable)?;
        Ok(())
    }

    pub async fn quit(&self) {
        let _ = self.subscriber.quit().await;
        let _ = self.publisher.quit().await;
    }

    /// What messages are published with by nodes.
    fn verb(&self) -> &'static str {
        if self.clustered { "SPUBLISH" } else { "PUBLISH" }
    }

    /// Whether a node's publication comes once more as a plain message: on a cluster the plain one goes to sharded
    /// subscribers only, and nodes are not among them.
    pub fn echoes(&self) -> bool {
        !self.clustered
    }

    /// What is kept of a channel and how nodes are told: the end of what `publish.lua` is called with.
    pub fn keeping(&self) -> [Value; 5] {
        let age_ms = i64::try_from(self.history.age_s.saturating_mul(1000)).unwrap_or(i64::MAX);
        let (messages, bytes) = (number(self.history.messages), number(self.history.bytes));
        [messages, bytes, Value::Integer(age_ms), self.idle_epoch(), self.verb().into()]
    }

    pub fn idle_epoch(&self) -> Value {
        Value::Integer(self.idle_epoch_ms)
    }

    pub async fn publish(&self, channel: &Channel, message: Outgoing) -> Result<Position, BrokerError> {
        let tags = serde_json::to_string(&message.tags).map_err(|error| BrokerError::Unavailable(error.to_string()))?;
        let args: Vec<Value> = vec![
            channel.as_str().into(),
            nodes_channel(channel).into(),
            new_epoch().into(),
            tags.into(),
            Value::Bytes(message.data),
            message.key.as_deref().unwrap_or("").into(),
        ];
        let args = args.into_iter().chain(self.keeping()).collect::<Vec<_>>();
        let script = self.scripts.publish.evalsha_with_reload(&self.publisher, keys(channel), args).await;
        let (offset, epoch, _repeated): (u64, String, i64) = script.map_err(unavailable)?;
        Ok(Position { offset, epoch: epoch.into() })
    }

    /// All of them in one step. After an error some may have been published: their keys keep that from happening twice.
    pub async fn publish_all(&self, channel: &Channel, messages: Vec<Outgoing>) -> Result<Vec<Position>, BrokerError> {
        let mut args: Vec<Value> = vec![channel.as_str().into(), nodes_channel(channel).into(), new_epoch().into()];
        args.extend(self.keeping());
        for message in messages {
            let tags =
                serde_json::to_string(&message.tags).map_err(|error| BrokerError::Unavailable(error.to_string()))?;
            args.extend([tags.into(), Value::Bytes(message.data), message.key.as_deref().unwrap_or("").into()]);
        }
        let script = self.scripts.publish_all.evalsha_with_reload(&self.publisher, keys(channel), args).await;
        let told: Vec<String> = script.map_err(unavailable)?;
        let unreadable = || BrokerError::Unavailable("an answer that cannot be read".into());
        let position = |pair: &[String]| {
            let offset = pair[0].parse().map_err(|_| unreadable())?;
            Ok(Position { offset, epoch: pair[1].as_str().into() })
        };
        told.chunks_exact(2).map(position).collect()
    }

    /// Sends `nonce` through the channel with where it stands.
    pub async fn canary(&self, channel: &Channel, nonce: &str) -> Result<Position, BrokerError> {
        let args: Vec<Value> = vec![
            nodes_channel(channel).into(),
            new_epoch().into(),
            nonce.into(),
            Value::Integer(self.idle_epoch_ms),
            self.verb().into(),
        ];
        let keys = keys(channel)[..1].to_vec();
        let sent = self.scripts.canary.evalsha_with_reload(&self.publisher, keys, args);
        let (offset, epoch): (u64, String) = within(PROBE_TIMEOUT, sent).await?;
        Ok(Position { offset, epoch: epoch.into() })
    }

    pub async fn history(&self, channel: &Channel, after: u64) -> Result<Past, BrokerError> {
        self.read(channel, after, self.history.messages).await
    }

    /// What is kept, and the publishers' names for it; the numbering stays.
    pub async fn forget(&self, channel: &Channel) -> Result<(), BrokerError> {
        let kept = keys(channel).split_off(1);
        within(self.command_timeout, self.publisher.del::<(), _>(kept)).await
    }

    pub async fn position(&self, channel: &Channel) -> Result<Position, BrokerError> {
        Ok(self.read(channel, 0, 0).await?.position)
    }

    async fn read(&self, channel: &Channel, after: u64, most: usize) -> Result<Past, BrokerError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let args: Vec<Value> =
            vec![Value::Integer(after), new_epoch().into(), number(most), Value::Integer(self.idle_epoch_ms)];
        let read = self.scripts.history.evalsha_with_reload(&self.publisher, keys(channel)[..2].to_vec(), args);
        let (offset, epoch, envelopes): (u64, String, Vec<Bytes>) = within(self.command_timeout, read).await?;
        let publications = envelopes.iter().filter_map(|envelope| match Envelope::parse(envelope)? {
            Envelope::Publication { position, tags, key, data } => {
                let publication = Publication::new(channel.clone(), Kind::Data, data, tags, Some(position));
                Some(Arc::new(publication.with_key(key)))
            }
            Envelope::Canary { .. } => None,
        });
        Ok(Past { position: Position { offset, epoch: epoch.into() }, publications: publications.collect() })
    }

    /// Gives the channel a new epoch, unless somebody has done so since `old`: its numbers have been given out twice.
    pub async fn renew(&self, channel: &Channel, old: &str) -> Result<(), BrokerError> {
        let args: Vec<Value> = vec![old.into(), new_epoch().into()];
        let renewed = self.scripts.renew.evalsha_with_reload(&self.publisher, keys(channel), args);
        within(self.command_timeout, renewed).await.map(|_: i64| ())
    }

    pub async fn subscribe(&self, channel: &Channel) -> Result<(), BrokerError> {
        let (plain, nodes) = (channel.as_str().to_owned(), nodes_channel(channel));
        if self.clustered {
            self.subscriber.subscribe(plain).await.map_err(unavailable)?;
            return self.subscriber.ssubscribe(nodes).await.map_err(unavailable);
        }
        // In this order: where the nodes' channel holds, the plain one does too.
        self.subscriber.subscribe(vec![plain, nodes]).await.map_err(unavailable)
    }

    pub async fn unsubscribe(&self, channel: &Channel) -> Result<(), BrokerError> {
        let (plain, nodes) = (channel.as_str().to_owned(), nodes_channel(channel));
        if self.clustered {
            self.subscriber.unsubscribe(plain).await.map_err(unavailable)?;
            return self.subscriber.sunsubscribe(nodes).await.map_err(unavailable);
        }
        self.subscriber.unsubscribe(vec![plain, nodes]).await.map_err(unavailable)
    }

    /// Returns when everything that was subscribed holds on the new connection. The library's own way of doing this
    /// tells nobody when, nor that it failed.
    pub async fn subscribe_again(&self) {
        loop {
            let again = async {
                if self.clustered {
                    // Which node holds which slot is the library's to know; canaries notice what does not hold.
                    return self.subscribe_shards().await;
                }
                let tracked = self.subscriber.tracked_channels();
                let names = tracked.iter().map(|name| name.to_string()).filter(|name| !is_probe(name)).collect();
                self.subscribe_with_probe(names).await
            };
            match tokio::time::timeout(self.command_timeout, again).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the channels could not be subscribed again; trying once more")
                }
                Err(_) => tracing::warn!("the channels could not be subscribed again in time; trying once more"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A slot that moves to another server takes its subscriptions with it silently, and the library does not notice.
    pub async fn find_moved_slots(&self) {
        if !self.clustered {
            return;
        }
        let again = async {
            self.subscriber.sync_cluster().await.map_err(unavailable)?;
            self.subscribe_shards().await
        };
        match tokio::time::timeout(self.command_timeout, again).await {
            Ok(Ok(())) => tracing::info!("subscribed again: a slot may have moved"),
            Ok(Err(error)) => tracing::warn!(%error, "the cluster's slots could not be looked up"),
            Err(_) => tracing::warn!("the cluster's slots could not be looked up in time"),
        }
    }

    /// Everything once more. The library's own way sends a SUBSCRIBE without names when there are none, whose error it
    /// then takes for the answer to something else.
    async fn subscribe_shards(&self) -> Result<(), BrokerError> {
        let names = |names: BTreeSet<fred::bytes_utils::Str>| names.into_iter().map(|name| name.to_string());
        let plain: Vec<String> = names(self.subscriber.tracked_channels()).collect();
        if !plain.is_empty() {
            self.subscriber.subscribe(plain).await.map_err(unavailable)?;
        }
        for name in names(self.subscriber.tracked_shard_channels()) {
            self.subscriber.ssubscribe(name).await.map_err(unavailable)?;
        }
        Ok(())
    }

    /// A channel of our own rides in the same command, and the subscriptions are there when a message to that one finds
    /// a receiver.
    async fn subscribe_with_probe(&self, mut names: Vec<String>) -> Result<(), BrokerError> {
        let probe = format!("fanfare:{{probe-{}}}", new_epoch());
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
        let result = heard.await;
        let _ = self.subscriber.unsubscribe(probe).await;
        result.map_err(unavailable)
    }
}

pub(super) fn is_probe(name: &str) -> bool {
    of_nodes_channel(name).is_some_and(|name| name.starts_with("probe-"))
}

fn number(value: usize) -> Value {
    Value::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

pub(super) async fn within<T>(
    time: Duration,
    command: impl Future<Output = Result<T, fred::error::Error>>,
) -> Result<T, BrokerError> {
    match tokio::time::timeout(time, command).await {
        Ok(result) => result.map_err(unavailable),
        Err(_) => Err(BrokerError::Unavailable(format!("no answer within {time:?}"))),
    }
}

pub(super) fn unavailable(error: fred::error::Error) -> BrokerError {
    // The library puts the operating system's error as its debug text.
    let details = error.details();
    let plain = details.split("message: \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or(details);
    BrokerError::Unavailable(plain.to_owned())
}

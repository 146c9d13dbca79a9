//! The journal on Redis Streams: a bounded stream, read by one consumer group.
//!
//! An entry is deleted when its effects are committed, so the stream's length is what waits. The entries of a worker that
//! vanished are claimed by another. Effects are idempotent, so an entry that two workers have takes effect once.
//! Reading blocks its connection; each reader therefore has a client of its own.

use std::collections::HashMap;
use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::{ClientLike, StreamsInterface};
use fred::types::config::{Config, ReconnectPolicy, UnresponsiveConfig};
use fred::types::scripts::Script;
use fred::types::{Builder, Value};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::batch::{self, LONGEST_PAUSE};
use super::portion::Portion;
use super::{BatchHandler, IntakeError, JournalOptions, Queue};

const GROUP: &str = "workers";
/// How long one read waits for entries; it bounds how long a stop takes.
const BLOCK_MS: u64 = 500;
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
/// Consumers that have been silent for so long, and have nothing in hand, are forgotten.
const FORGET_CONSUMER_MS: i64 = 3_600_000;

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RedisStreamError(String);

/// One stream. Cloning shares its connection.
#[derive(Clone)]
pub struct RedisStream {
    client: Client,
    builder: Builder,
    key: String,
    append: Script,
    finish: Script,
    forget: Script,
    claim_idle_ms: u64,
    batch_entries: usize,
}

/// Entries by id, in the order of the stream.
type Entries = Vec<(String, HashMap<String, String>)>;

impl RedisStream {
    /// Connects; an error means that Redis could not be reached in time.
    pub async fn connect(url: &str, topic: &str, options: &JournalOptions) -> Result<Self, RedisStreamError> {
        let mut builder = Builder::from_config(Config::from_url(url).map_err(told)?);
        builder
            .set_policy(ReconnectPolicy::new_exponential(0, 100, 2_000, 2))
            .with_performance_config(|performance| performance.default_command_timeout = COMMAND_TIMEOUT)
            .with_connection_config(|connection| {
                connection.connection_timeout = COMMAND_TIMEOUT;
                connection.max_command_buffer_len = 10_000;
                connection.tcp.nodelay = Some(true);
                connection.unresponsive =
                    UnresponsiveConfig { max_timeout: Some(Duration::from_secs(10)), interval: Duration::from_secs(2) };
            });
        let client = builder.build().map_err(told)?;
        init(&client).await?;
        let stream = Self {
            client,
            builder,
            key: format!("fanfare:{{{topic}}}:journal"),
            append: Script::from_lua(include_str!("append.lua")),
            finish: Script::from_lua(include_str!("finish.lua")),
            forget: Script::from_lua(include_str!("forget.lua")),
            claim_idle_ms: options.claim_idle_ms,
            batch_entries: options.batch_entries,
        };
        stream.warn_without_persistence().await;
        Ok(stream)
    }

    /// What Redis keeps in memory only is gone with its process.
    async fn warn_without_persistence(&self) {
        let appendonly = fred::cmd!("CONFIG");
        let answer: Result<Vec<String>, _> = self.client.custom(appendonly, vec!["GET", "appendonly"]).await;
        match answer {
            Ok(answer) if answer.get(1).is_some_and(|value| value == "yes") => {}
            Ok(_) => tracing::warn!("Redis keeps no append-only file: accepted events are lost if it ends"),
            Err(error) => tracing::debug!(%error, "Redis does not say whether it keeps an append-only file"),
        }
    }

    /// Appends all, or none when more than `max_entries` would wait.
    pub(super) async fn append(&self, payloads: Vec<String>, max_entries: usize) -> Result<(), IntakeError> {
        let mut args = Vec::with_capacity(payloads.len() + 1);
        args.push(Value::from(i64::try_from(max_entries).unwrap_or(i64::MAX)));
        args.extend(payloads.into_iter().map(Value::from));
        let appended: Result<i64, _> = self.append.evalsha_with_reload(&self.client, self.key.as_str(), args).await;
        match appended {
            Ok(1) => Ok(()),
            Ok(_) => Err(IntakeError::Full),
            Err(error) => Err(IntakeError::Unavailable(error.details().to_owned())),
        }
    }

    /// How many entries wait, those in hand included.
    pub async fn waiting(&self) -> Result<u64, RedisStreamError> {
        self.client.xlen(self.key.as_str()).await.map_err(told)
    }

    /// Reads and applies until `stop`. What cannot be applied moves into `queue`.
    pub async fn run<H: BatchHandler>(&self, queue: &Queue, topic: &'static str, handler: &H, stop: CancellationToken) {
        let name = Uuid::new_v4().to_string();
        let mut pause = Duration::ZERO;
        while !stop.is_cancelled() {
            let worked = match self.builder.build() {
                Ok(client) => {
                    let reader = Reader { stream: self, client, name: &name };
                    let worked = reader.work(queue, topic, handler, &stop).await;
                    let _ = reader.client.quit().await;
                    worked
                }
                Err(error) => Err(told(error)),
            };
            let Err(error) = worked else { return };
            pause = (pause * 2).clamp(Duration::from_millis(100), LONGEST_PAUSE);
            tracing::warn!(topic, %error, ?pause, "the journal cannot be read; trying again");
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// One blocking reader.
struct Reader<'a> {
    stream: &'a RedisStream,
    client: Client,
    name: &'a str,
}

/// What was read together.
struct Part<W> {
    ids: Vec<String>,
    payloads: Vec<String>,
    work: Result<Vec<W>, String>,
}

impl Reader<'_> {
    /// `Ok` when it was told to stop.
    async fn work<H: BatchHandler>(
        &self,
        queue: &Queue,
        topic: &'static str,
        handler: &H,
        stop: &CancellationToken,
    ) -> Result<(), RedisStreamError> {
        init(&self.client).await?;
        self.create_group().await?;
        let claim_every = Duration::from_millis((self.stream.claim_idle_ms / 2).max(50));
        let (mut claimed_at, mut portion) = (None::<Instant>, Portion::new(self.stream.batch_entries));
        // What was read while the part before was applied.
        let mut ahead: Option<Part<H::Work>> = None;
        loop {
            let claims = claimed_at.is_none_or(|at| at.elapsed() >= claim_every);
            let part = match ahead.take() {
                Some(part) => part,
                None if stop.is_cancelled() => break,
                None if claims => {
                    let abandoned = self.claim(portion.limit()).await?;
                    // Where there were some there may be more.
                    if abandoned.is_empty() {
                        claimed_at = Some(Instant::now());
                        self.forget("").await?;
                        let waiting = i64::try_from(self.stream.waiting().await?).unwrap_or(i64::MAX);
                        queue.set_pending(topic, "journal", waiting);
                    }
                    parse(abandoned).await?
                }
                None => parse(self.read(portion.limit(), Some(BLOCK_MS)).await?).await?,
            };
            if part.ids.is_empty() {
                continue;
            }
            // There is more only if as much came as was asked for.
            let more = part.ids.len() >= portion.limit() && !claims && !stop.is_cancelled();
            portion.note(part.payloads.iter().map(String::len));
            let (applied, next) = tokio::join!(apply(queue, topic, handler, &part, stop), async {
                let limit = portion.limit();
                if more { Ok(Some(parse(self.read(limit, None).await?).await?)) } else { Ok(None) }
            });
            if !applied {
                break;
            }
            self.finish(part.ids).await?;
            ahead = next?;
        }
        self.forget(self.name).await
    }

    async fn finish(&self, ids: Vec<String>) -> Result<(), RedisStreamError> {
        let args: Vec<Value> = std::iter::once(GROUP.into()).chain(ids.into_iter().map(Value::from)).collect();
        let script = &self.stream.finish;
        let ended: Result<i64, _> = script.evalsha_with_reload(&self.client, self.stream.key.as_str(), args).await;
        ended.map(|_| ()).map_err(told)
    }

    /// The group is gone when Redis lost its data; whatever is in the stream then is new to it.
    async fn create_group(&self) -> Result<(), RedisStreamError> {
        let made: Result<(), _> = self.client.xgroup_create(self.stream.key.as_str(), GROUP, "0", true).await;
        match made {
            Err(error) if !error.details().contains("BUSYGROUP") => Err(told(error)),
            _ => Ok(()),
        }
    }

    /// Up to `limit` entries that nobody has; `block_ms`: how long to wait for the first.
    async fn read(&self, limit: usize, block_ms: Option<u64>) -> Result<Entries, RedisStreamError> {
        let (count, key) = (Some(limit as u64), self.stream.key.as_str());
        let read = self.client.xreadgroup::<Value, _, _, _, _>(GROUP, self.name, count, block_ms, false, key, ">");
        let value = read.await.map_err(told)?;
        if value.is_null() {
            return Ok(Vec::new());
        }
        let streams = value.into_xread_response::<String, String, String, String>().map_err(told)?;
        Ok(streams.into_values().flatten().collect())
    }

    /// Takes over what others have had in hand for too long, and what this worker itself did not end.
    async fn claim(&self, limit: usize) -> Result<Entries, RedisStreamError> {
        let (idle_ms, count) = (self.stream.claim_idle_ms, Some(limit as u64));
        let key = self.stream.key.as_str();
        let claimed = self.client.xautoclaim_values(key, GROUP, self.name, idle_ms, "0-0", count, false);
        let (_cursor, entries): (String, Entries) = claimed.await.map_err(told)?;
        Ok(entries)
    }

    /// Each process brings a consumer of its own; those that ended without a word are removed here, and `own` at its end.
    async fn forget(&self, own: &str) -> Result<(), RedisStreamError> {
        let args: Vec<Value> = vec![GROUP.into(), FORGET_CONSUMER_MS.into(), own.into()];
        let script = &self.stream.forget;
        let removed: Result<i64, _> = script.evalsha_with_reload(&self.client, self.stream.key.as_str(), args).await;
        removed.map(|_| ()).map_err(told)
    }
}

/// Parses entries on another thread: the statements of the part before go on meanwhile.
async fn parse<W: DeserializeOwned + Send + 'static>(entries: Entries) -> Result<Part<W>, RedisStreamError> {
    if entries.is_empty() {
        return Ok(Part { ids: Vec::new(), payloads: Vec::new(), work: Ok(Vec::new()) });
    }
    let parsed = tokio::task::spawn_blocking(move || {
        let (ids, mut fields): (Vec<String>, Vec<_>) = entries.into_iter().unzip();
        let payloads: Vec<String> = fields.iter_mut().filter_map(|fields| fields.remove("p")).collect();
        Part { ids, work: batch::parse(&payloads), payloads }
    });
    parsed.await.map_err(|error| RedisStreamError(error.to_string()))
}

/// Tries until it is done; `false` when it was told to stop before. Then the entries stay in the stream, for the next worker.
async fn apply<H: BatchHandler>(
    queue: &Queue,
    topic: &'static str,
    handler: &H,
    part: &Part<H::Work>,
    stop: &CancellationToken,
) -> bool {
    let mut pause = Duration::ZERO;
    while let Err(error) = queue.apply_parsed(topic, handler, &part.payloads, &part.work).await {
        pause = (pause * 2).clamp(Duration::from_millis(50), LONGEST_PAUSE);
        tracing::warn!(topic, %error, ?pause, "events cannot be applied now; trying again");
        tokio::select! {
            () = stop.cancelled() => return false,
            () = tokio::time::sleep(pause) => {}
        }
    }
    true
}

/// Starts the connection and waits for it.
async fn init(client: &Client) -> Result<(), RedisStreamError> {
    let late = |_| RedisStreamError(format!("no connection within {COMMAND_TIMEOUT:?}"));
    tokio::time::timeout(COMMAND_TIMEOUT, client.init()).await.map_err(late)?.map_err(told)?;
    Ok(())
}

fn told(error: fred::error::Error) -> RedisStreamError {
    RedisStreamError(error.details().to_owned())
}

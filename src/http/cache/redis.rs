//! Answers that nodes on one Redis share. While Redis is away or slow, each node makes its own.
//!
//! An answer stands under its key and the version of its rows, so one of other rows is never found; what is out of date
//! expires by itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::config::{Config, ReconnectPolicy, UnresponsiveConfig};
use fred::types::{Builder, Expiration};
use sha2::{Digest, Sha256};

use crate::db::Version;

/// After a failure Redis is left alone this long, so that not every request waits for it.
const LEFT_ALONE: Duration = Duration::from_secs(1);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Larger answers stay with the node that made them.
const MAX_BYTES: usize = 256 * 1024;

pub(super) struct Shared {
    client: Client,
    timeout: Duration,
    expiry: Duration,
    started: Instant,
    /// Milliseconds after `started`.
    away_until_ms: AtomicU64,
}

impl Shared {
    pub async fn connect(url: &str, timeout: Duration, expiry: Duration) -> Result<Self, String> {
        let text = |error: fred::error::Error| error.details().to_owned();
        let mut builder = Builder::from_config(Config::from_url(url).map_err(text)?);
        builder
            .set_policy(ReconnectPolicy::new_exponential(0, 100, 5_000, 2))
            .with_performance_config(|performance| performance.default_command_timeout = timeout)
            .with_connection_config(|connection| {
                connection.connection_timeout = CONNECT_WITHIN;
                connection.internal_command_timeout = CONNECT_WITHIN;
                connection.max_command_buffer_len = 10_000;
                connection.tcp.nodelay = Some(true);
                connection.unresponsive =
                    UnresponsiveConfig { max_timeout: Some(Duration::from_secs(10)), interval: Duration::from_secs(2) };
            });
        let client = builder.build().map_err(text)?;
        let connected = tokio::time::timeout(CONNECT_WITHIN, client.init()).await;
        connected.map_err(|_| format!("no connection within {CONNECT_WITHIN:?}"))?.map_err(text)?;
        Ok(Self { client, timeout, expiry, started: Instant::now(), away_until_ms: AtomicU64::new(0) })
    }

    pub async fn get(&self, key: &str, version: &Version) -> Option<Vec<u8>> {
        let found: Option<Bytes> = self.ask(self.client.get(name(key, version))).await?;
        found.map(|body| body.to_vec())
    }

    pub async fn set(&self, key: &str, version: &Version, body: &Bytes) {
        if body.len() <= MAX_BYTES {
            let expiry = Some(Expiration::EX(self.expiry.as_secs() as i64));
            let _: Option<()> = self.ask(self.client.set(name(key, version), body.clone(), expiry, None, false)).await;
        }
    }

    async fn ask<T>(&self, asked: impl Future<Output = Result<T, fred::error::Error>>) -> Option<T> {
        let now_ms = self.started.elapsed().as_millis() as u64;
        if now_ms < self.away_until_ms.load(Ordering::Relaxed) {
            return None;
        }
        // The library's own time-out does not cover a command that waits for a connection.
        let error = match tokio::time::timeout(self.timeout, asked).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => error.details().to_owned(),
            Err(_) => "no answer in time".to_owned(),
        };
        let until_ms = now_ms + LEFT_ALONE.as_millis() as u64;
        if self.away_until_ms.swap(until_ms, Ordering::Relaxed) + 60_000 < until_ms {
            tracing::warn!(error, "Redis does not share answers; every node makes its own");
        }
        None
    }
}

/// Hashed: keys hold what clients ask for, of any length.
fn name(key: &str, version: &Version) -> String {
    let hash = Sha256::digest(format!("{version} {key}").as_bytes());
    let mut name = "fanfare:answer:".to_owned();
    hash.iter().take(16).for_each(|byte| name.push_str(&format!("{byte:02x}")));
    name
}

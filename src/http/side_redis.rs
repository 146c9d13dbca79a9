//! A Redis that helps but is not needed: what it does not answer in time, this node does by itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::Builder;
use fred::types::config::{Config, ReconnectPolicy, UnresponsiveConfig};

/// After a failure Redis is left alone this long, so that not every request waits for it.
const LEFT_ALONE: Duration = Duration::from_secs(1);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

pub(super) struct SideRedis {
    pub client: Client,
    timeout: Duration,
    started: Instant,
    /// Milliseconds after `started`.
    away_until_ms: AtomicU64,
}

impl SideRedis {
    /// Every question is given `timeout`.
    pub async fn connect(url: &str, timeout: Duration) -> Result<Self, String> {
        let text = |error: Error| error.details().to_owned();
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
        Ok(Self { client, timeout, started: Instant::now(), away_until_ms: AtomicU64::new(0) })
    }

    /// What Redis answers; `None` when it does not, or has not a moment ago. `instead` is what this node does then, for
    /// the log.
    pub async fn ask<T>(&self, asked: impl Future<Output = Result<T, Error>>, instead: &str) -> Option<T> {
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
            tracing::warn!(error, instead, "Redis does not answer in time");
        }
        None
    }
}

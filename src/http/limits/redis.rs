//! Counts shared by all nodes on one Redis. While Redis is away or slow, each node counts for itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::Builder;
use fred::types::config::{Config, ReconnectPolicy, UnresponsiveConfig};
use fred::types::scripts::Script;
use governor::Quota;
use prometheus_client::metrics::counter::Counter;

/// After a failure Redis is left alone this long, so that not every request waits for it.
const LEFT_ALONE: Duration = Duration::from_secs(1);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const PREFIX: &str = "fanfare:rate:";

pub(super) struct Shared {
    client: Client,
    script: Script,
    timeout: Duration,
    started: Instant,
    /// Milliseconds after `started`.
    away_until_ms: AtomicU64,
    fallbacks: Counter,
}

impl Shared {
    pub async fn connect(url: &str, timeout: Duration, fallbacks: Counter) -> Result<Self, String> {
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
        let script = Script::from_lua(include_str!("gcra.lua"));
        let (started, away_until_ms) = (Instant::now(), AtomicU64::new(0));
        Ok(Self { client, script, timeout, started, away_until_ms, fallbacks })
    }

    /// How long to wait, zero for not at all; `None` when Redis does not say.
    pub async fn wait(&self, class: &'static str, key: u128, quota: Quota) -> Option<Duration> {
        let now_ms = self.started.elapsed().as_millis() as u64;
        if now_ms < self.away_until_ms.load(Ordering::Relaxed) {
            self.fallbacks.inc();
            return None;
        }
        let cost_us = quota.replenish_interval().as_micros().max(1) as u64;
        let burst_us = cost_us * u64::from(quota.burst_size().get() - 1);
        let bucket = format!("{PREFIX}{class}:{key:032x}");
        let args = vec![cost_us.to_string(), burst_us.to_string()];
        let asked = self.script.evalsha_with_reload::<u64, _, _>(&self.client, bucket, args);
        // The library's own time-out does not cover a command that waits for a connection.
        let error = match tokio::time::timeout(self.timeout, asked).await {
            Ok(Ok(wait_us)) => return Some(Duration::from_micros(wait_us)),
            Ok(Err(error)) => error.details().to_owned(),
            Err(_) => "no answer in time".to_owned(),
        };
        self.fallbacks.inc();
        let until_ms = now_ms + LEFT_ALONE.as_millis() as u64;
        if self.away_until_ms.swap(until_ms, Ordering::Relaxed) + 60_000 < until_ms {
            tracing::warn!(error, "Redis does not count requests; every node counts for itself");
        }
        None
    }

    pub async fn stop(&self) {
        let _ = self.client.quit().await;
    }
}

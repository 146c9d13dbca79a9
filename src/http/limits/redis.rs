//! Counts shared by all nodes on one Redis. While Redis is away or slow, each node counts for itself.

use std::time::Duration;

use fred::interfaces::ClientLike;
use fred::types::scripts::Script;
use governor::Quota;
use prometheus_client::metrics::counter::Counter;

use crate::http::side_redis::SideRedis;

const PREFIX: &str = "fanfare:rate:";

pub(super) struct Shared {
    redis: SideRedis,
    script: Script,
    fallbacks: Counter,
}

impl Shared {
    pub async fn connect(url: &str, timeout: Duration, fallbacks: Counter) -> Result<Self, String> {
        let redis = SideRedis::connect(url, timeout).await?;
        Ok(Self { redis, script: Script::from_lua(include_str!("gcra.lua")), fallbacks })
    }

    /// How long to wait, zero for not at all; `None` when Redis does not say.
    pub async fn wait(&self, class: &'static str, key: u128, quota: Quota) -> Option<Duration> {
        let cost_us = quota.replenish_interval().as_micros().max(1) as u64;
        let burst_us = cost_us * u64::from(quota.burst_size().get() - 1);
        let bucket = format!("{PREFIX}{class}:{key:032x}");
        let args = vec![cost_us.to_string(), burst_us.to_string()];
        let asked = self.script.evalsha_with_reload::<u64, _, _>(&self.redis.client, bucket, args);
        let wait_us = self.redis.ask(asked, "every node counts requests for itself").await;
        if wait_us.is_none() {
            self.fallbacks.inc();
        }
        wait_us.map(Duration::from_micros)
    }

    pub async fn stop(&self) {
        let _ = self.redis.client.quit().await;
    }
}

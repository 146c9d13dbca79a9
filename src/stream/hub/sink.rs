//! What the broker delivers, to the shards that have somebody for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::json;
use tokio::sync::mpsc::error::TrySendError;

use super::inbox::Command;
use super::{ActiveChannel, Hub};
use crate::stream::broker::{Gap, Sink};
use crate::stream::metrics::ReasonLabel;
use crate::stream::{Channel, Mark, Publication};

impl Hub {
    /// With the channel's line held, so that a connection takes its place before it or after it.
    async fn route(&self, active: &ActiveChannel, publication: Arc<Publication>) {
        // Encoded here, so that no shard ever waits for another that is encoding.
        let mut wanted = active.forms();
        while wanted != 0 {
            if let Some(form) = self.0.forms[wanted.trailing_zeros() as usize] {
                publication.frame(form, &self.0.metrics);
            }
            wanted &= wanted - 1;
        }
        for (shard, listening) in self.0.shards.iter().zip(&active.on_shard) {
            if listening.load(Ordering::SeqCst) > 0 {
                let command = Command::Publish { channel: active.id, publication: publication.clone() };
                if shard.send(command).await {
                    self.0.metrics.inbox_full.inc();
                }
            }
        }
    }
}

#[async_trait]
impl Sink for Hub {
    async fn begin(&self, channel: &Channel, mark: Mark) {
        if let Some(active) = self.active(channel) {
            active.line.lock().await.begin(mark);
        }
    }

    async fn deliver(&self, publication: Arc<Publication>) {
        if !publication.channel.is_control() {
            self.0.metrics.publications.inc();
        }
        let Some(active) = self.active(&publication.channel) else {
            self.0.metrics.publications_unheard.inc();
            return;
        };
        let mut line = active.line.lock().await;
        if active.wants_patches()
            && let Some(base) = line.base_of(&publication)
        {
            publication.set_base(base.data.clone());
        }
        if let Some(ear) = active.ear.get() {
            // Whoever listens within the process is behind by that much, or gone.
            if let Err(TrySendError::Full(_)) = ear.try_send(publication.clone()) {
                self.0.metrics.listeners_behind.inc();
                tracing::warn!(channel = %publication.channel, "too many messages wait within the process; one is lost");
            }
        }
        self.route(&active, publication.clone()).await;
        line.push(publication);
    }

    async fn gap(&self, gap: Gap) {
        self.0.metrics.gaps.get_or_create(&ReasonLabel { reason: gap.reason }).inc();
        tracing::warn!(channel = %gap.channel, reason = gap.reason, "messages may be missing; clients are told");
        let Some(active) = self.active(&gap.channel) else { return };
        let mut line = active.line.lock().await;
        let notice = Publication::gap(gap.channel.clone(), gap.reason, &gap.mark);
        line.restart(gap.mark);
        self.route(&active, Arc::new(notice)).await;
    }

    async fn stale(&self, channel: &Channel, silent: Option<Duration>) {
        let Some(active) = self.active(channel) else { return };
        let mut line = active.line.lock().await;
        let notice = match silent {
            Some(silent) => {
                line.stale_since = Instant::now().checked_sub(silent);
                tracing::warn!(%channel, silent_ms = silent.as_millis() as u64, "stale: clients are told");
                json!({ "message_type": "stale", "channel": channel.as_str(), "silent_ms": silent.as_millis() as u64 })
            }
            None => {
                let silent = line.stale_since.take().map_or(0, |since| since.elapsed().as_millis() as u64);
                tracing::info!(%channel, silent, "live again: clients are told");
                json!({ "message_type": "live", "channel": channel.as_str(), "silent_ms": silent })
            }
        };
        self.route(&active, Arc::new(Publication::notice(channel.clone(), &notice))).await;
    }

    fn invalid(&self, channel: &Channel, problem: &str) {
        self.0.metrics.publications_invalid.inc();
        tracing::warn!(%channel, problem, "a message from the broker is not JSON; it is not delivered");
    }

    fn connected(&self, connected: bool) {
        self.0.metrics.broker_connected.set(i64::from(connected));
    }
}

//! The node: the one way into the stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

use super::audience::Watch;
use super::map::{self, Local};
use super::{Audience, AudienceSpec, Broker, BrokerError, Channel, Hub, Maps, Outgoing, Position, Presence, Tags};
use crate::tasks::Tasks;
use crate::telemetry::trace::{self, Kind};
use crate::wire::is_json;

/// Cloning shares the node.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    hub: Hub,
    broker: Arc<dyn Broker>,
    audiences: Mutex<HashMap<AudienceSpec, Weak<Audience>>>,
    /// Notified when a channel has lost its last listener.
    idle: Arc<Notify>,
    presence: OnceLock<Presence>,
    maps: Maps,
}

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The data is not one JSON value.
    #[error("data is not JSON: {0}")]
    NotJson(String),
    /// The broker did not take it; the caller keeps the message and tries again.
    #[error("the broker is unavailable: {0}")]
    Unavailable(String),
}

impl Node {
    /// `tasks` runs the one background task: channels that fell idle are unsubscribed.
    pub fn start(hub: Hub, broker: Arc<dyn Broker>, tasks: &Tasks) -> Self {
        let store = broker.maps().unwrap_or_else(|| Arc::new(Local::new(broker.clone())));
        let maps = map::start(store, hub.clone(), tasks);
        let node = Self(Arc::new(Inner {
            hub,
            broker,
            audiences: Mutex::default(),
            idle: Arc::default(),
            presence: OnceLock::new(),
            maps,
        }));
        let (this, stop) = (node.clone(), tasks.stop());
        let linger = Duration::from_millis(node.0.hub.options().linger_ms);
        tasks.spawn("unsubscribe idle channels", async move {
            loop {
                let tidy = async {
                    this.0.idle.notified().await;
                    tokio::time::sleep(linger).await;
                    this.unsubscribe_idle().await;
                };
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tidy => {}
                }
            }
        });
        node
    }

    /// Publishes through the broker. `Ok` means that the broker has accepted it and gave it a position.
    /// `tags` serve filters whose value does not stand in the data itself.
    pub async fn publish(&self, channel: &Channel, data: Bytes, tags: Tags) -> Result<Position, PublishError> {
        self.publish_message(channel, Outgoing { data, tags, ..Outgoing::default() }).await
    }

    /// The same; a message with a key is published once, however often it is tried while the channel's history has it.
    pub async fn publish_message(&self, channel: &Channel, mut message: Outgoing) -> Result<Position, PublishError> {
        is_json(&message.data).map_err(|error| PublishError::NotJson(error.to_string()))?;
        trace::tag(&mut message.tags);
        let (began, traced) = (Instant::now(), trace::of_tags(&message.tags));
        let published = self.0.broker.publish(channel, message).await;
        if let Some(above) = traced {
            trace::span(above, "broker.publish", Kind::Producer, began, &[("messaging.destination.name", channel)]);
        }
        published.map_err(|error| PublishError::Unavailable(error.to_string()))
    }

    /// Tells whoever listens now; it is not kept, and has no position.
    pub async fn tell(&self, channel: &Channel, data: Bytes) -> Result<(), PublishError> {
        is_json(&data).map_err(|error| PublishError::NotJson(error.to_string()))?;
        self.0.broker.tell(channel, data).await.map_err(|error| PublishError::Unavailable(error.to_string()))
    }

    /// Several messages of one channel, in order. One that is not JSON is refused alone; where the broker refuses, the
    /// answers end with that, and the rest is to be tried again.
    pub async fn publish_all(&self, channel: &Channel, messages: Vec<Outgoing>) -> Vec<Result<Position, PublishError>> {
        let checks: Vec<_> = messages.iter().map(|message| is_json(&message.data).err()).collect();
        let good = messages.into_iter().zip(&checks).filter(|(_, check)| check.is_none());
        let good = good.map(|(mut message, _)| {
            trace::tag(&mut message.tags);
            message
        });
        let good: Vec<Outgoing> = good.collect();
        let (began, traced): (_, Vec<_>) =
            (Instant::now(), good.iter().filter_map(|message| trace::of_tags(&message.tags)).collect());
        let (positions, refused) = self.0.broker.publish_all(channel, good).await;
        for above in traced {
            trace::span(above, "broker.publish", Kind::Producer, began, &[("messaging.destination.name", channel)]);
        }
        let (mut positions, mut answers) = (positions.into_iter(), Vec::with_capacity(checks.len()));
        for check in checks {
            match check {
                Some(error) => answers.push(Err(PublishError::NotJson(error.to_string()))),
                None => match positions.next() {
                    Some(position) => answers.push(Ok(position)),
                    None => break,
                },
            }
        }
        answers.extend(refused.map(|error| Err(PublishError::Unavailable(error.to_string()))));
        answers
    }

    /// The audience for `spec`: shared with whoever has asked for the same. When it is there, its channels are
    /// subscribed at the broker.
    pub async fn audience(&self, spec: AudienceSpec) -> Result<Arc<Audience>, BrokerError> {
        if let Some(audience) = self.audiences().get(&spec).and_then(Weak::upgrade) {
            return Ok(audience);
        }
        let mut watches = Vec::with_capacity(spec.channels.len());
        for channel in &spec.channels {
            watches.push(self.watch(channel).await?);
        }
        let mut audiences = self.audiences();
        // Many may have asked at once; one audience for all keeps them in one cohort.
        if let Some(audience) = audiences.get(&spec).and_then(Weak::upgrade) {
            return Ok(audience);
        }
        let audience = Arc::new(Audience::new(spec.clone(), watches));
        if audiences.len() >= 64 && audiences.len().is_power_of_two() {
            audiences.retain(|_, audience| audience.strong_count() > 0);
        }
        audiences.insert(spec, Arc::downgrade(&audience));
        Ok(audience)
    }

    /// Keeps a channel subscribed at the broker; it is when this answers.
    pub(super) async fn watch(&self, channel: &Channel) -> Result<Watch, BrokerError> {
        let active = self.0.hub.activate(channel);
        // Counted as watched before the lock, so that no one unsubscribes in between.
        let watch = Watch::new(active, self.0.idle.clone());
        let mut subscribed = watch.active.subscribed.lock().await;
        if !*subscribed {
            self.0.broker.subscribe(channel).await?;
            tracing::debug!(%channel, "subscribed");
            *subscribed = true;
        }
        drop(subscribed);
        Ok(watch)
    }

    pub fn hub(&self) -> &Hub {
        &self.0.hub
    }

    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.0.broker
    }

    /// The maps of channels that have one.
    pub fn maps(&self) -> &Maps {
        &self.0.maps
    }

    /// Who watches what; `None` until it was started.
    pub fn presence(&self) -> Option<&Presence> {
        self.0.presence.get()
    }

    /// Answers false when it was started before.
    pub(super) fn set_presence(&self, presence: Presence) -> bool {
        self.0.presence.set(presence).is_ok()
    }

    fn audiences(&self) -> std::sync::MutexGuard<'_, HashMap<AudienceSpec, Weak<Audience>>> {
        self.0.audiences.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    async fn unsubscribe_idle(&self) {
        for active in self.0.hub.all_active() {
            if active.watched() {
                continue;
            }
            let mut subscribed = active.subscribed.lock().await;
            if *subscribed && !active.watched() {
                match self.0.broker.unsubscribe(&active.channel).await {
                    Ok(()) => {
                        *subscribed = false;
                        active.line.lock().await.end();
                    }
                    Err(error) => tracing::warn!(%error, channel = %active.channel, "could not unsubscribe"),
                }
            }
        }
        self.0.hub.forget_idle();
    }
}

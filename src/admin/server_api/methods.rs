//! What each method does.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{Refusal, ServerApi};
use crate::auth::{Identity, Overrides, Permission};
use crate::session::centrifuge::{Order, Span, Target, clients, control_channel};
use crate::stream::{CLIENT_INFO, Channel, MAP_TAG, Outgoing, PublishError, Version};
use crate::wire::centrifuge::{Fault, StreamPosition, Unsubscribed};

/// Codes of close frames that a back end may choose.
const CODES: std::ops::RangeInclusive<u16> = 3000..=4999;
pub(super) const MOST_KEY_BYTES: usize = 255;
const MOST_CHANNELS: usize = 10_000;

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Publishing {
    channel: String,
    channels: Vec<String>,
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    tags: BTreeMap<String, String>,
    idempotency_key: Option<String>,
    /// Whoever listens now gets it, and nobody else.
    skip_history: bool,
    version: u64,
    version_epoch: String,
}

#[derive(Deserialize)]
struct Subscribing {
    channel: String,
    /// What others see of the client.
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    /// What the client gets with the subscription.
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    #[serde(rename = "override")]
    overrides: Option<Box<RawValue>>,
    recover_since: Option<StreamPosition>,
    /// Seconds since 1970.
    expire_at: Option<i64>,
}

#[derive(Deserialize)]
struct Refreshing {
    #[serde(default)]
    expired: bool,
    expire_at: Option<i64>,
    info: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Disconnecting {
    disconnect: Option<Ending>,
}

#[derive(Deserialize)]
struct Ending {
    code: u16,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
struct OfChannel {
    channel: String,
}

#[derive(Deserialize)]
struct Looking {
    channel: String,
    #[serde(default)]
    limit: i32,
    since: Option<StreamPosition>,
    #[serde(default)]
    reverse: bool,
}

#[derive(Deserialize)]
struct Naming {
    #[serde(default)]
    pattern: String,
}

impl ServerApi {
    pub(super) async fn call(&self, caller: &Identity, method: &str, request: &[u8]) -> Result<Value, Refusal> {
        match method {
            "publish" => self.publish(caller, read(request)?).await,
            "broadcast" => self.broadcast(caller, read(request)?).await,
            "subscribe" | "unsubscribe" | "disconnect" | "refresh" => {
                may(caller, caller.may(Permission::Write))?;
                self.order(method, request).await
            }
            "presence" | "presence_stats" => {
                let (channel, options) = self.channel(caller, &read::<OfChannel>(request)?.channel)?;
                if !options {
                    return Err(Fault::NotAvailable.into());
                }
                let present = self.0.channels.present(&channel).await?;
                Ok(match method {
                    "presence" => json!({ "presence": clients(&present) }),
                    _ => json!({ "num_clients": present.num_clients, "num_users": present.num_users }),
                })
            }
            "history" => self.history(caller, read(request)?).await,
            "history_remove" => {
                let (channel, _) = self.channel(caller, &read::<OfChannel>(request)?.channel)?;
                may(caller, caller.may_publish(channel.as_str()))?;
                let broker = self.0.channels.node().broker();
                broker.forget(&channel).await.map_err(|error| {
                    tracing::warn!(%error, %channel, "a history could not be removed");
                    Refusal::from(Fault::Internal)
                })?;
                Ok(json!({}))
            }
            "channels" => {
                may(caller, caller.may(Permission::Write))?;
                let pattern = read::<Naming>(request)?.pattern;
                let listened = self.0.channels.listened(&pattern).await.into_iter();
                let all: Map<String, Value> =
                    listened.map(|(channel, count)| (channel, json!({ "num_clients": count }))).collect();
                Ok(json!({ "channels": all }))
            }
            "info" => {
                may(caller, caller.may(Permission::Write))?;
                Ok(json!({ "nodes": self.0.channels.nodes() }))
            }
            method if method.starts_with("map_") => self.map(caller, method, request).await,
            "shared_poll_publish" => self.poll_publish(caller, request).await,
            _ => Err(Fault::MethodNotFound.into()),
        }
    }

    async fn publish(&self, caller: &Identity, publishing: Publishing) -> Result<Value, Refusal> {
        let kept = !publishing.skip_history;
        let name = publishing.channel.clone();
        self.publish_on(caller, &name, message(publishing)?, kept).await
    }

    async fn broadcast(&self, caller: &Identity, mut publishing: Publishing) -> Result<Value, Refusal> {
        let (kept, channels) = (!publishing.skip_history, std::mem::take(&mut publishing.channels));
        if channels.is_empty() || channels.len() > MOST_CHANNELS {
            return Err(Fault::BadRequest.into());
        }
        let message = message(publishing)?;
        let mut responses = Vec::with_capacity(channels.len());
        for channel in &channels {
            responses.push(match self.publish_on(caller, channel, message.clone(), kept).await {
                Ok(result) => json!({ "result": result }),
                Err(refusal) => json!({ "error": refusal }),
            });
        }
        Ok(json!({ "responses": responses }))
    }

    async fn publish_on(&self, caller: &Identity, name: &str, message: Outgoing, kept: bool) -> Result<Value, Refusal> {
        let channel = Channel::new(name).map_err(|_| Fault::BadRequest)?;
        may(caller, caller.may_publish(name) && channel != control_channel())?;
        // What changes a map, or is polled for, has a key.
        if self.0.channels.is_keyed(name) || !self.0.channels.fits(name, &message.data) {
            return Err(Fault::BadRequest.into());
        }
        let node = self.0.channels.node();
        let failed = |error| match error {
            PublishError::NotJson(_) => Fault::BadRequest,
            PublishError::Unavailable(_) => {
                tracing::warn!(%error, %channel, "a publish failed");
                Fault::Internal
            }
        };
        if !kept {
            node.tell(&channel, message.data).await.map_err(failed)?;
            return Ok(json!({}));
        }
        let position = node.publish_message(&channel, message).await.map_err(failed)?;
        Ok(json!({ "offset": position.offset, "epoch": position.epoch.as_ref() }))
    }

    async fn order(&self, method: &str, request: &[u8]) -> Result<Value, Refusal> {
        let target: Target = read(request)?;
        let at_ms = |seconds: Option<i64>| seconds.filter(|at| *at > 0).map(|at| at.saturating_mul(1000));
        let order = match method {
            "subscribe" => {
                let wish: Subscribing = read(request)?;
                self.0.channels.options_of(&wish.channel)?;
                if let Some(overrides) = &wish.overrides {
                    read::<Overrides>(overrides.get().as_bytes())?;
                }
                Order::Subscribe {
                    channel: wish.channel,
                    info: json_of(wish.info, wish.b64info)?,
                    data: json_of(wish.data, wish.b64data)?,
                    overrides: wish.overrides,
                    since: wish.recover_since.map(|since| (since.epoch, since.offset)),
                    expire_at_ms: at_ms(wish.expire_at),
                }
            }
            "unsubscribe" => {
                let channel = read::<OfChannel>(request)?.channel;
                let why = Unsubscribed::Server;
                Order::Unsubscribe { channel, code: why.code(), reason: why.reason().to_owned() }
            }
            "disconnect" => {
                let ending = read::<Disconnecting>(request)?.disconnect;
                let Ending { code, reason } =
                    ending.unwrap_or_else(|| Ending { code: 3503, reason: "force disconnect".to_owned() });
                if !CODES.contains(&code) {
                    return Err(Fault::BadRequest.into());
                }
                Order::Disconnect { code, reason }
            }
            _ => {
                let Refreshing { expired, expire_at, info } = read(request)?;
                Order::Refresh { expired, expire_at_ms: at_ms(expire_at), info }
            }
        };
        self.0.channels.tell(target, order).await.map_err(|error| {
            tracing::warn!(%error, method, "an order could not be told");
            Refusal::from(Fault::Internal)
        })?;
        Ok(json!({}))
    }

    async fn history(&self, caller: &Identity, looking: Looking) -> Result<Value, Refusal> {
        let Looking { channel: name, limit, since, reverse } = looking;
        self.channel(caller, &name)?;
        let (channel, options) = self.0.channels.options_of(&name)?;
        if options.history_size == 0 {
            return Err(Fault::NotAvailable.into());
        }
        let past = self.0.channels.past(&channel, options, Span { limit, since, reverse }).await?;
        let publications = past.publications.iter().map(|one| {
            let told = one.told(&name);
            let mut publication = json!({ "offset": told.offset });
            publication["data"] = serde_json::from_slice(&one.data).unwrap_or_default();
            if !told.tags.is_empty() {
                publication["tags"] = told.tags.iter().cloned().collect::<BTreeMap<_, _>>().into_iter().collect();
            }
            if let Some(info) = told.info.and_then(|info| serde_json::from_str::<Value>(info).ok()) {
                publication["info"] = info;
            }
            publication
        });
        let publications: Vec<Value> = publications.collect();
        Ok(json!({ "publications": publications, "offset": past.offset, "epoch": past.epoch }))
    }

    /// The channel, where the caller may look at it, and whether it is known who is there.
    fn channel(&self, caller: &Identity, name: &str) -> Result<(Channel, bool), Refusal> {
        let (channel, options) = self.0.channels.options_of(name)?;
        may(caller, caller.may_publish(name) || caller.may_subscribe(name))?;
        Ok((channel, options.presence))
    }
}

pub(super) fn read<T: DeserializeOwned>(request: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(request).map_err(|_| Fault::BadRequest.into())
}

pub(super) fn may(caller: &Identity, may: bool) -> Result<(), Refusal> {
    if may {
        return Ok(());
    }
    tracing::warn!(target: "security", subject = %caller.subject, "a call of the server API was refused");
    Err(Fault::PermissionDenied.into())
}

fn message(publishing: Publishing) -> Result<Outgoing, Refusal> {
    let Publishing { data, b64data, tags, idempotency_key, skip_history, version, version_epoch, .. } = publishing;
    let data = json_of(data, b64data)?.ok_or(Fault::BadRequest)?;
    let key: Option<Arc<str>> = idempotency_key.map(Into::into);
    if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > MOST_KEY_BYTES) {
        return Err(Fault::BadRequest.into());
    }
    // Who published is the server's to say. And what nobody keeps is the data alone, known to nobody by name or number.
    let more_than_data = !tags.is_empty() || key.is_some() || version > 0;
    let own = [CLIENT_INFO, MAP_TAG].iter().any(|tag| tags.contains_key(*tag));
    if own || (skip_history && more_than_data) {
        return Err(Fault::BadRequest.into());
    }
    let version = (version > 0).then_some(Version { number: version, of: version_epoch });
    Ok(Outgoing { data: String::from(Box::<str>::from(data)).into(), tags: tags.into_iter().collect(), key, version })
}

/// What is given as it is or in base64; JSON in either case.
fn json_of(plain: Option<Box<RawValue>>, in_base64: Option<String>) -> Result<Option<Box<RawValue>>, Refusal> {
    let Some(text) = in_base64.filter(|text| plain.is_none() && !text.is_empty()) else { return Ok(plain) };
    let bytes = BASE64_STANDARD.decode(text).map_err(|_| Fault::BadRequest)?;
    read(&bytes).map(Some)
}

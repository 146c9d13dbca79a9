//! What each method does.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{Refusal, ServerApi};
use crate::admin::VERSION;
use crate::auth::{Identity, Permission};
use crate::session::centrifuge::{Order, Span, Target, clients, control_channel};
use crate::stream::{CLIENT_INFO, Channel, MAP_TAG, Outgoing, PublishError};
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
    data: Option<Value>,
    b64data: Option<String>,
    tags: BTreeMap<String, String>,
    idempotency_key: Option<String>,
    skip_history: bool,
}

#[derive(Deserialize)]
struct Subscribing {
    channel: String,
    info: Option<Value>,
    data: Option<Value>,
    recover_since: Option<StreamPosition>,
    /// Seconds since 1970.
    expire_at: Option<i64>,
}

#[derive(Deserialize)]
struct Refreshing {
    #[serde(default)]
    expired: bool,
    expire_at: Option<i64>,
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
    pub(super) async fn call(
        &self,
        caller: &Identity,
        method: &str,
        request: Map<String, Value>,
    ) -> Result<Value, Refusal> {
        match method {
            "publish" => self.publish(caller, read(&request)?).await,
            "broadcast" => self.broadcast(caller, read(&request)?).await,
            "subscribe" | "unsubscribe" | "disconnect" | "refresh" => {
                may(caller, caller.may(Permission::Write))?;
                self.order(method, &request).await
            }
            "presence" | "presence_stats" => {
                let (channel, options) = self.channel(caller, &read::<OfChannel>(&request)?.channel)?;
                if !options {
                    return Err(Fault::NotAvailable.into());
                }
                let present = self.0.channels.present(&channel).await?;
                Ok(match method {
                    "presence" => json!({ "presence": clients(&present) }),
                    _ => json!({ "num_clients": present.num_clients, "num_users": present.num_users }),
                })
            }
            "history" => self.history(caller, read(&request)?).await,
            "history_remove" => {
                let (channel, _) = self.channel(caller, &read::<OfChannel>(&request)?.channel)?;
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
                let pattern = read::<Naming>(&request)?.pattern;
                let listened = self.0.channels.node().hub().listened();
                let passing = listened.iter().filter(|(channel, _)| {
                    !channel.is_presence() && (pattern.is_empty() || matches(&pattern, channel.as_str()))
                });
                let all: Map<String, Value> =
                    passing.map(|(channel, count)| (channel.to_string(), json!({ "num_clients": count }))).collect();
                Ok(json!({ "channels": all }))
            }
            "info" => {
                may(caller, caller.may(Permission::Write))?;
                Ok(self.info())
            }
            method if method.starts_with("map_") => self.map(caller, method, &request).await,
            _ => Err(Fault::MethodNotFound.into()),
        }
    }

    async fn publish(&self, caller: &Identity, publishing: Publishing) -> Result<Value, Refusal> {
        let message = message(&publishing)?;
        self.publish_on(caller, &publishing.channel, message).await
    }

    async fn broadcast(&self, caller: &Identity, publishing: Publishing) -> Result<Value, Refusal> {
        let message = message(&publishing)?;
        if publishing.channels.is_empty() || publishing.channels.len() > MOST_CHANNELS {
            return Err(Fault::BadRequest.into());
        }
        let mut responses = Vec::with_capacity(publishing.channels.len());
        for channel in &publishing.channels {
            responses.push(match self.publish_on(caller, channel, message.clone()).await {
                Ok(result) => json!({ "result": result }),
                Err(refusal) => json!({ "error": refusal }),
            });
        }
        Ok(json!({ "responses": responses }))
    }

    async fn publish_on(&self, caller: &Identity, name: &str, message: Outgoing) -> Result<Value, Refusal> {
        let channel = Channel::new(name).map_err(|_| Fault::BadRequest)?;
        may(caller, caller.may_publish(name) && channel != control_channel())?;
        // What changes a map has a key.
        if self.0.channels.map_of(name).is_ok() {
            return Err(Fault::BadRequest.into());
        }
        let published = self.0.channels.node().publish_message(&channel, message).await;
        let position = published.map_err(|error| match error {
            PublishError::NotJson(_) => Fault::BadRequest,
            PublishError::Unavailable(_) => {
                tracing::warn!(%error, %channel, "a publish failed");
                Fault::Internal
            }
        })?;
        Ok(json!({ "offset": position.offset, "epoch": position.epoch.as_ref() }))
    }

    async fn order(&self, method: &str, request: &Map<String, Value>) -> Result<Value, Refusal> {
        let target: Target = read(request)?;
        let raw = |value: Option<Value>| value.and_then(|value| serde_json::value::to_raw_value(&value).ok());
        let at_ms = |seconds: Option<i64>| seconds.filter(|at| *at > 0).map(|at| at.saturating_mul(1000));
        let order = match method {
            "subscribe" => {
                let Subscribing { channel, info, data, recover_since, expire_at } = read(request)?;
                self.0.channels.options_of(&channel)?;
                let since = recover_since.map(|since| (since.epoch, since.offset));
                let (info, data): (Option<Box<RawValue>>, _) = (raw(info), raw(data));
                Order::Subscribe { channel, info, data, since, expire_at_ms: at_ms(expire_at) }
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
                let Refreshing { expired, expire_at } = read(request)?;
                Order::Refresh { expired, expire_at_ms: at_ms(expire_at) }
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

    fn info(&self) -> Value {
        let (clients, users) = self.0.channels.connected();
        let hub = self.0.channels.node().hub();
        let listened = hub.listened();
        let subs: u64 = listened.iter().map(|(_, count)| u64::from(*count)).sum();
        json!({ "nodes": [{
            "uid": hub.node_id(), "name": self.0.node_name, "version": VERSION, "num_clients": clients,
            "num_users": users, "num_subs": subs, "num_channels": listened.len(),
            "uptime": self.0.started.elapsed().as_secs(),
        }] })
    }
}

pub(super) fn read<T: DeserializeOwned>(request: &Map<String, Value>) -> Result<T, Refusal> {
    serde_json::from_value(Value::Object(request.clone())).map_err(|_| Fault::BadRequest.into())
}

pub(super) fn may(caller: &Identity, may: bool) -> Result<(), Refusal> {
    if may {
        return Ok(());
    }
    tracing::warn!(target: "security", subject = %caller.subject, "a call of the server API was refused");
    Err(Fault::PermissionDenied.into())
}

fn message(publishing: &Publishing) -> Result<Outgoing, Refusal> {
    let data = match (&publishing.data, &publishing.b64data) {
        (Some(data), _) => Bytes::from(data.to_string()),
        (None, Some(text)) => BASE64_STANDARD.decode(text).map(Bytes::from).map_err(|_| Fault::BadRequest)?,
        (None, None) => return Err(Fault::BadRequest.into()),
    };
    let key: Option<Arc<str>> = publishing.idempotency_key.as_deref().map(Into::into);
    if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > MOST_KEY_BYTES) {
        return Err(Fault::BadRequest.into());
    }
    // Who published is the server's to say; and what has a number is kept.
    let own = [CLIENT_INFO, MAP_TAG].iter().any(|tag| publishing.tags.contains_key(*tag));
    if own || publishing.skip_history {
        return Err(Fault::BadRequest.into());
    }
    Ok(Outgoing { data, tags: publishing.tags.clone().into_iter().collect(), key })
}

/// `*` stands for anything, `?` for one character.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, n));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == name[n]) {
            (p, n) = (p + 1, n + 1);
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            (p, n) = (at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_shells_do() {
        for (pattern, name, expected) in [
            ("price:*", "price:updates", true),
            ("*", "", true),
            ("p*e:*s", "price:updates", true),
            ("price:?", "price:ab", false),
            ("price", "price:x", false),
            ("a*b*c", "a-b-b-c", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}

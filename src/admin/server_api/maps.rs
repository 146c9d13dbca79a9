//! What back ends do with maps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::methods::{MOST_KEY_BYTES, may, read};
use super::{Refusal, ServerApi};
use crate::auth::Identity;
use crate::session::centrifuge::{Span, check_key};
use crate::stream::{BrokerError, CLIENT_INFO, Channel, MAP_TAG, MapWrite, Only, Publication, Written};
use crate::wire::centrifuge::{Fault, StreamPosition};
use crate::wire::is_json;

/// Entries of one answer.
const MOST_ENTRIES: usize = 1_000;

#[derive(Deserialize)]
struct Writing {
    channel: String,
    key: String,
    data: Option<Value>,
    b64data: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    idempotency_key: Option<String>,
    #[serde(default)]
    version: u64,
    #[serde(default)]
    version_epoch: String,
    #[serde(default)]
    key_mode: KeyMode,
    /// What is published is what is kept: neither a payload apart nor an order of its own is known here.
    stream_data: Option<Value>,
    score: Option<Value>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeyMode {
    #[default]
    #[serde(rename = "")]
    Any,
    IfNew,
    IfExists,
}

#[derive(Deserialize)]
struct Reading {
    channel: String,
    #[serde(default)]
    limit: i32,
    #[serde(default)]
    cursor: String,
    since: Option<StreamPosition>,
    #[serde(default)]
    reverse: bool,
}

impl ServerApi {
    /// The methods whose names begin with `map_`.
    pub(super) async fn map(&self, caller: &Identity, method: &str, request: &[u8]) -> Result<Value, Refusal> {
        match method {
            "map_publish" => self.map_write(caller, read(request)?, false).await,
            "map_remove" => self.map_write(caller, read(request)?, true).await,
            "map_read_state" => self.map_state(caller, read(request)?).await,
            "map_read_stream" => self.map_stream(caller, read(request)?).await,
            "map_stats" | "map_clear" => {
                let Reading { channel: name, .. } = read(request)?;
                let (channel, kind, _) = self.0.channels.map_of(&name)?;
                let maps = self.0.channels.node().maps();
                if method == "map_clear" {
                    may(caller, caller.may_publish(&name))?;
                    maps.clear(&channel, kind).await.map_err(failed(&channel))?;
                    return Ok(json!({}));
                }
                may(caller, caller.may_publish(&name) || caller.may_subscribe(&name))?;
                Ok(json!({ "num_keys": maps.count(&channel, kind).await.map_err(failed(&channel))? }))
            }
            _ => Err(Fault::MethodNotFound.into()),
        }
    }

    async fn map_write(&self, caller: &Identity, writing: Writing, removes: bool) -> Result<Value, Refusal> {
        let (channel, kind, _) = self.0.channels.map_of(&writing.channel)?;
        may(caller, caller.may_publish(&writing.channel))?;
        check_key(&writing.key)?;
        let own = [MAP_TAG, CLIENT_INFO].iter().any(|tag| writing.tags.contains_key(*tag));
        let name_too_long = writing.idempotency_key.as_ref().is_some_and(|key| key.len() > MOST_KEY_BYTES);
        if own || name_too_long || writing.stream_data.is_some() || writing.score.is_some() {
            return Err(Fault::BadRequest.into());
        }
        let data = match (removes, writing.data, writing.b64data) {
            (true, ..) => None,
            (false, Some(data), _) => Some(Bytes::from(data.to_string())),
            (false, None, Some(text)) => {
                let data = BASE64_STANDARD.decode(text).map_err(|_| Fault::BadRequest)?;
                is_json(&data).map_err(|_| Fault::BadRequest)?;
                Some(data.into())
            }
            (false, None, None) => return Err(Fault::BadRequest.into()),
        };
        let idempotency_key: Option<Arc<str>> =
            writing.idempotency_key.filter(|key| !key.is_empty()).map(|key| key.into());
        let only = match writing.key_mode {
            KeyMode::Any => Only::Any,
            KeyMode::IfNew => Only::IfNew,
            KeyMode::IfExists => Only::IfExists,
        };
        let write = MapWrite {
            key: writing.key,
            data,
            tags: writing.tags.into_iter().collect(),
            idempotency_key,
            only,
            version: writing.version,
            version_epoch: writing.version_epoch,
            renew: false,
        };
        let written = self.0.channels.node().maps().write(&channel, kind, write).await.map_err(failed(&channel))?;
        if written.suppressed == Some(Written::FULL) {
            return Err(Fault::LimitExceeded.into());
        }
        let mut result = json!({ "offset": written.position.offset, "epoch": written.position.epoch.as_ref() });
        if let Some(why) = written.suppressed {
            result["suppressed"] = true.into();
            result["suppress_reason"] = why.into();
        }
        Ok(result)
    }

    async fn map_state(&self, caller: &Identity, reading: Reading) -> Result<Value, Refusal> {
        let Reading { channel: name, limit, cursor, .. } = reading;
        let (channel, kind, options) = self.0.channels.map_of(&name)?;
        may(caller, caller.may_publish(&name) || caller.may_subscribe(&name))?;
        let most = options.map.page(limit).min(MOST_ENTRIES);
        let page = self.0.channels.node().maps().read(&channel, kind, &cursor, most).await;
        let page = page.map_err(failed(&channel))?;
        let next = page.entries.last().filter(|_| page.more).map(|last| last.told(&name).key.to_owned());
        let publications: Vec<Value> = page.entries.iter().map(|one| told(one, &name)).collect();
        let (offset, epoch) = (page.position.offset, page.position.epoch.as_ref());
        let cursor = next.unwrap_or_default();
        Ok(json!({ "publications": publications, "offset": offset, "epoch": epoch, "cursor": cursor }))
    }

    async fn map_stream(&self, caller: &Identity, reading: Reading) -> Result<Value, Refusal> {
        let Reading { channel: name, limit, since, reverse, .. } = reading;
        let (channel, _, options) = self.0.channels.map_of(&name)?;
        may(caller, caller.may_publish(&name) || caller.may_subscribe(&name))?;
        if !options.map.streams() {
            return Err(Fault::NotAvailable.into());
        }
        let span = Span { limit, since, reverse };
        let past = self.0.channels.past_of(&channel, (options.map.stream_size, Duration::MAX), span).await?;
        let publications: Vec<Value> = past.publications.iter().map(|one| told(one, &name)).collect();
        Ok(json!({ "publications": publications, "offset": past.offset, "epoch": past.epoch }))
    }
}

fn told(one: &Publication, name: &str) -> Value {
    let told = one.told(name);
    let mut publication = json!({ "key": told.key });
    if told.offset > 0 {
        publication["offset"] = told.offset.into();
    }
    match told.removed {
        true => publication["removed"] = true.into(),
        false => publication["data"] = serde_json::from_slice(&one.data).unwrap_or_default(),
    }
    if !told.tags.is_empty() {
        publication["tags"] = told.tags.iter().cloned().collect::<BTreeMap<_, _>>().into_iter().collect();
    }
    if let Some(info) = told.info.and_then(|info| serde_json::from_str::<Value>(info).ok()) {
        publication["info"] = info;
    }
    publication
}

fn failed(channel: &Channel) -> impl FnOnce(BrokerError) -> Refusal {
    move |error| {
        tracing::warn!(%error, %channel, "a map cannot be reached");
        Fault::Internal.into()
    }
}

//! Maps in Redis: what is checked, written, numbered and published is one script.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::types::Value;
use fred::types::scripts::Script;

use super::super::super::map::{MapKind, MapPage, MapStore, MapWrite, Only, REMOVED, Written};
use super::super::super::position::new_epoch;
use super::super::super::publication::Kind;
use super::super::super::{Channel, Position, Publication};
use super::super::BrokerError;
use super::super::envelope::{Envelope, keys, map_keys, nodes_channel};
use super::link::{Link, within};

struct Store {
    link: Link,
    script: Script,
}

pub(super) fn store(link: Link) -> Arc<dyn MapStore> {
    let publish = include_str!("publish.lua");
    let script = format!("local function publish(KEYS, ARGV)\n{publish}\nend\n{}", include_str!("map.lua"));
    Arc::new(Store { link, script: Script::from_lua(script) })
}

/// What a script says.
struct Said {
    position: Position,
    why: String,
    number: i64,
    envelopes: Vec<Bytes>,
}

impl Store {
    /// `rest`: what the script is called with from the key on.
    async fn run(&self, what: &str, channel: &Channel, kind: MapKind, rest: Vec<Value>) -> Result<Said, BrokerError> {
        let ttl_ms = kind.key_ttl.map_or(0, |ttl| i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
        let mut args: Vec<Value> =
            vec![what.into(), channel.as_str().into(), nodes_channel(channel).into(), new_epoch().into()];
        args.extend(self.link.keeping());
        args.push(if kind.streams { "s".into() } else { "e".into() });
        args.push(Value::Integer(ttl_ms));
        args.push(Value::Integer(i64::try_from(kind.max_keys).unwrap_or(i64::MAX)));
        args.extend(rest);
        let mut all = keys(channel);
        all.extend(map_keys(channel));
        let said = self.script.evalsha_with_reload(&self.link.publisher, all, args);
        let said = within(self.link.command_timeout, said).await?;
        let (offset, epoch, why, number, envelopes): (u64, String, String, i64, Vec<Bytes>) = said;
        Ok(Said { position: Position { offset, epoch: epoch.into() }, why, number, envelopes })
    }
}

#[async_trait]
impl MapStore for Store {
    async fn write(&self, channel: &Channel, kind: MapKind, write: MapWrite) -> Result<Written, BrokerError> {
        let MapWrite { key, data, tags, idempotency_key, only, version, version_epoch, renew } = write;
        let tags = kind.tags(&key, data.is_none(), tags);
        let tags = serde_json::to_string(&tags).map_err(|error| BrokerError::Unavailable(error.to_string()))?;
        let what = match (&data, renew) {
            (None, _) => "remove",
            (Some(_), true) => "renew",
            (Some(_), false) => "write",
        };
        let only = match only {
            Only::Any => "any",
            Only::IfNew => "new",
            Only::IfExists => "old",
        };
        let rest: Vec<Value> = vec![
            key.into(),
            tags.into(),
            Value::Bytes(data.unwrap_or(REMOVED)),
            idempotency_key.as_deref().unwrap_or("").into(),
            only.into(),
            version.to_string().into(),
            version_epoch.into(),
        ];
        let said = self.run(what, channel, kind, rest).await?;
        Ok(Written { position: said.position, suppressed: Written::why(&said.why) })
    }

    async fn read(&self, channel: &Channel, kind: MapKind, after: &str, most: usize) -> Result<MapPage, BrokerError> {
        let most = Value::Integer(i64::try_from(most).unwrap_or(i64::MAX));
        let said = self.run("read", channel, kind, vec![after.into(), most]).await?;
        let entries = said.envelopes.iter().filter_map(|envelope| match Envelope::parse(envelope)? {
            Envelope::Publication { position, tags, data, .. } => {
                Some(Arc::new(Publication::new(channel.clone(), Kind::Data, data, tags, Some(position))))
            }
            Envelope::Canary { .. } => None,
        });
        Ok(MapPage { position: said.position, entries: entries.collect(), more: said.number > 0 })
    }

    async fn count(&self, channel: &Channel, kind: MapKind) -> Result<u64, BrokerError> {
        Ok(self.run("count", channel, kind, Vec::new()).await?.number.max(0) as u64)
    }

    async fn clear(&self, channel: &Channel, kind: MapKind) -> Result<u64, BrokerError> {
        Ok(self.run("clear", channel, kind, Vec::new()).await?.number.max(0) as u64)
    }

    async fn sweep(&self, channel: &Channel, kind: MapKind) -> Result<Option<Duration>, BrokerError> {
        let next = self.run("sweep", channel, kind, Vec::new()).await?.number;
        Ok(u64::try_from(next).ok().map(Duration::from_millis))
    }
}

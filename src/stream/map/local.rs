//! Maps within the process: gone with it, as its channels' numbering is.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use dashmap::DashMap;
use tokio::sync::{Mutex, MutexGuard};

use super::{MapKind, MapPage, MapStore, MapWrite, Only, REMOVED, Written};
use crate::stream::{Broker, BrokerError, Channel, Kind, Outgoing, Position, Publication};

/// Keys that one call removes: everybody else waits for it.
const AT_ONCE: usize = 1_000;

/// Over any broker: the lock of a map is held while its change is published, so that both have one order.
pub(in crate::stream) struct Local {
    broker: Arc<dyn Broker>,
    maps: DashMap<Channel, Arc<Mutex<Map>>>,
}

#[derive(Default)]
struct Map {
    entries: BTreeMap<String, Entry>,
    /// Keys that end, the first to end first: each of `entries` that has an end, and no other.
    ends: BTreeSet<(Instant, Arc<str>)>,
}

struct Entry {
    publication: Arc<Publication>,
    end: Option<(Instant, Arc<str>)>,
    version: (u64, String),
}

impl Map {
    fn insert(&mut self, key: &str, publication: Arc<Publication>, ends_at: Option<Instant>, version: (u64, String)) {
        let end = ends_at.map(|at| (at, Arc::<str>::from(key)));
        self.ends.extend(end.clone());
        if let Some(before) = self.entries.insert(key.to_owned(), Entry { publication, end: end.clone(), version })
            && before.end != end
        {
            before.end.map(|end| self.ends.remove(&end));
        }
    }

    /// The key lives on.
    fn renew(&mut self, key: &str, ends_at: Option<Instant>) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return false };
        if let Some(before) = std::mem::replace(&mut entry.end, ends_at.map(|at| (at, key.into()))) {
            self.ends.remove(&before);
        }
        self.ends.extend(entry.end.clone());
        true
    }

    fn remove(&mut self, key: &str) {
        if let Some(end) = self.entries.remove(key).and_then(|entry| entry.end) {
            self.ends.remove(&end);
        }
    }

    /// Keys whose time is over, some of them.
    fn ended(&self, now: Instant) -> Vec<String> {
        let ended = self.ends.iter().take_while(|(at, _)| *at <= now);
        ended.take(AT_ONCE).map(|(_, key)| key.to_string()).collect()
    }
}

impl Local {
    pub fn new(broker: Arc<dyn Broker>) -> Self {
        Self { broker, maps: DashMap::new() }
    }

    fn map(&self, channel: &Channel) -> Arc<Mutex<Map>> {
        self.maps.entry(channel.clone()).or_default().clone()
    }

    async fn publish(
        &self,
        channel: &Channel,
        kind: MapKind,
        write: &MapWrite,
    ) -> Result<Arc<Publication>, BrokerError> {
        let tags = kind.tags(&write.key, write.data.is_none(), write.tags.clone());
        let data = write.data.clone().unwrap_or(REMOVED);
        let key = write.idempotency_key.clone();
        let message = Outgoing { data: data.clone(), tags: tags.clone(), key, version: None };
        let position = self.broker.publish(channel, message).await?;
        Ok(Arc::new(Publication::new(channel.clone(), Kind::Data, data, tags, Some(position))))
    }

    async fn remove(
        &self,
        channel: &Channel,
        kind: MapKind,
        map: &mut Map,
        keys: Vec<String>,
    ) -> Result<(), BrokerError> {
        for key in keys {
            self.publish(channel, kind, &MapWrite { key: key.clone(), ..MapWrite::default() }).await?;
            map.remove(&key);
        }
        Ok(())
    }

    async fn remove_ended(&self, channel: &Channel, kind: MapKind, map: &mut Map) -> Result<(), BrokerError> {
        let ended = map.ended(Instant::now());
        self.remove(channel, kind, map, ended).await
    }

    async fn suppressed(&self, channel: &Channel, why: &'static str) -> Result<Written, BrokerError> {
        Ok(Written { position: self.broker.position(channel).await?, suppressed: Some(why) })
    }

    /// A map without keys is nothing to keep.
    fn tidy(&self, channel: &Channel, map: MutexGuard<'_, Map>) {
        if map.entries.is_empty() {
            drop(map);
            let unused = |map: &Arc<Mutex<Map>>| {
                Arc::strong_count(map) <= 2 && map.try_lock().is_ok_and(|map| map.entries.is_empty())
            };
            self.maps.remove_if(channel, |_, map| unused(map));
        }
    }
}

/// Why the write changes nothing.
fn held_back(map: &Map, kind: MapKind, write: &MapWrite) -> Option<&'static str> {
    let there = map.entries.get(&write.key);
    match (write.only, there) {
        _ if write.data.is_none() && there.is_none() => return Some(Written::NOT_FOUND),
        (Only::IfNew, Some(_)) => return Some(Written::EXISTS),
        (Only::IfExists, None) => return Some(Written::NOT_FOUND),
        (_, None) if map.entries.len() >= kind.max_keys => return Some(Written::FULL),
        _ => {}
    }
    let (version, epoch) = there.map(|entry| &entry.version).filter(|(version, _)| *version > 0)?;
    let older = write.version > 0 && *epoch == write.version_epoch && *version >= write.version;
    older.then_some(Written::VERSION)
}

#[async_trait]
impl MapStore for Local {
    async fn write(&self, channel: &Channel, kind: MapKind, write: MapWrite) -> Result<Written, BrokerError> {
        let entry = self.map(channel);
        let mut map = entry.lock().await;
        self.remove_ended(channel, kind, &mut map).await?;
        let ends_at = kind.key_ttl.map(|ttl| Instant::now() + ttl);
        if write.renew && map.renew(&write.key, ends_at) {
            self.tidy(channel, map);
            return self.suppressed(channel, Written::RENEWED).await;
        }
        if let Some(why) = held_back(&map, kind, &write) {
            self.tidy(channel, map);
            return self.suppressed(channel, why).await;
        }
        let before = self.broker.position(channel).await?;
        let publication = self.publish(channel, kind, &write).await?;
        let position = publication.position.clone().unwrap_or_else(Position::start);
        if position.offset <= before.offset {
            return Ok(Written { position, suppressed: Some(Written::REPEATED) });
        }
        if write.data.is_some() {
            let version = (write.version, write.version_epoch);
            map.insert(&write.key, publication, ends_at, version);
        } else {
            map.remove(&write.key);
        }
        self.tidy(channel, map);
        Ok(Written { position, suppressed: None })
    }

    async fn read(&self, channel: &Channel, kind: MapKind, after: &str, most: usize) -> Result<MapPage, BrokerError> {
        let entry = self.map(channel);
        let mut map = entry.lock().await;
        self.remove_ended(channel, kind, &mut map).await?;
        let position = self.broker.position(channel).await?;
        let from = if after.is_empty() { Bound::Unbounded } else { Bound::Excluded(after) };
        let mut behind =
            map.entries.range::<str, _>((from, Bound::Unbounded)).map(|(_, entry)| entry.publication.clone());
        let entries = behind.by_ref().take(most).collect();
        let more = behind.next().is_some();
        self.tidy(channel, map);
        Ok(MapPage { position, entries, more })
    }

    async fn count(&self, channel: &Channel, kind: MapKind) -> Result<u64, BrokerError> {
        let entry = self.map(channel);
        let mut map = entry.lock().await;
        self.remove_ended(channel, kind, &mut map).await?;
        let count = map.entries.len() as u64;
        self.tidy(channel, map);
        Ok(count)
    }

    async fn clear(&self, channel: &Channel, kind: MapKind) -> Result<u64, BrokerError> {
        let entry = self.map(channel);
        let mut map = entry.lock().await;
        let some: Vec<String> = map.entries.keys().take(AT_ONCE).cloned().collect();
        self.remove(channel, kind, &mut map, some).await?;
        let left = map.entries.len() as u64;
        self.tidy(channel, map);
        Ok(left)
    }

    async fn sweep(&self, channel: &Channel, kind: MapKind) -> Result<Option<Duration>, BrokerError> {
        let entry = self.map(channel);
        let mut map = entry.lock().await;
        self.remove_ended(channel, kind, &mut map).await?;
        let next = map.ends.first().map(|(at, _)| *at);
        self.tidy(channel, map);
        Ok(next.map(|at| at.saturating_duration_since(Instant::now())))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The index and the keys say the same, whatever is written, renewed and removed.
        #[test]
        fn the_index_of_ends_is_that_of_the_keys(steps in proptest::collection::vec((0u8..4, 0u8..6, 0u64..9), 0..60)) {
            let (began, mut map) = (Instant::now(), Map::default());
            let channel = Channel::new("c").unwrap();
            for (what, key, at) in steps {
                let (key, ends_at) = (key.to_string(), Some(began + Duration::from_secs(at)).filter(|_| at > 0));
                match what {
                    0 | 1 => {
                        let publication = Publication::new(channel.clone(), Kind::Data, REMOVED, Vec::new(), None);
                        map.insert(&key, Arc::new(publication), ends_at, (0, String::new()));
                    }
                    2 => prop_assert_eq!(map.renew(&key, ends_at), map.entries.contains_key(&key)),
                    _ => map.remove(&key),
                }
                let by_key: BTreeSet<_> = map.entries.values().filter_map(|entry| entry.end.clone()).collect();
                prop_assert_eq!(&by_key, &map.ends);
                prop_assert!(map.entries.iter().all(|(key, entry)| entry.end.iter().all(|(_, end)| **end == **key)));
                let now = began + Duration::from_secs(at);
                let slow = map.entries.values().filter(|entry| entry.end.as_ref().is_some_and(|(at, _)| *at <= now)).count();
                prop_assert_eq!(map.ended(now).len(), slow);
            }
        }
    }
}

//! Keys whose time is over are removed, and that is published, by whichever node comes first: each looks after the maps
//! that it has written to and those that its clients listen to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;

use super::{MapKind, MapPage, MapStore, MapWrite, Written};
use crate::stream::{BrokerError, Channel, Hub};
use crate::tasks::Tasks;

/// How often it is looked for maps that are due.
const TURN: Duration = Duration::from_millis(100);
/// How long a map that is listened to goes without being looked at: another node may have written to it, and died.
const LISTENED: Duration = Duration::from_secs(1);

const AN_HOUR: Duration = Duration::from_secs(3_600);

/// The maps, as this node uses them. Cloning shares them.
#[derive(Clone)]
pub struct Maps {
    store: Arc<dyn MapStore>,
    /// When each is to be looked at; only those with keys that end.
    due: Arc<DashMap<Channel, (MapKind, Instant)>>,
}

/// Begins to look after maps.
pub(in crate::stream) fn start(store: Arc<dyn MapStore>, hub: Hub, tasks: &Tasks) -> Maps {
    let maps = Maps { store, due: Arc::default() };
    let (this, stop) = (maps.clone(), tasks.stop());
    tasks.spawn("sweep maps", async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(TURN) => this.sweep(&hub).await,
            }
        }
    });
    maps
}

impl Maps {
    pub async fn write(&self, channel: &Channel, kind: MapKind, write: MapWrite) -> Result<Written, BrokerError> {
        let written = self.store.write(channel, kind, write).await?;
        if let Some(ttl) = kind.key_ttl {
            self.look(channel, kind, ttl);
        }
        Ok(written)
    }

    pub async fn read(
        &self,
        channel: &Channel,
        kind: MapKind,
        after: &str,
        most: usize,
    ) -> Result<MapPage, BrokerError> {
        self.store.read(channel, kind, after, most).await
    }

    pub async fn count(&self, channel: &Channel, kind: MapKind) -> Result<u64, BrokerError> {
        self.store.count(channel, kind).await
    }

    /// Removes every key and tells it.
    pub async fn clear(&self, channel: &Channel, kind: MapKind) -> Result<(), BrokerError> {
        while self.store.clear(channel, kind).await? > 0 {}
        Ok(())
    }

    /// From now on somebody here listens: the map is looked after even if its writers are gone.
    pub fn attend(&self, channel: &Channel, kind: MapKind) {
        if kind.key_ttl.is_some() {
            self.look(channel, kind, LISTENED);
        }
    }

    fn look(&self, channel: &Channel, kind: MapKind, within: Duration) {
        let at = Instant::now() + within;
        let mut entry = self.due.entry(channel.clone()).or_insert((kind, at));
        entry.1 = entry.1.min(at);
    }

    async fn sweep(&self, hub: &Hub) {
        let now = Instant::now();
        // What is written while a map is swept brings its own time, and is known by that.
        let (claimed, later) = (now + 2 * AN_HOUR, now + AN_HOUR);
        let due = self.due.iter().filter(|entry| entry.1 <= now).map(|entry| (entry.key().clone(), entry.0));
        for (channel, kind) in due.collect::<Vec<_>>() {
            if let Some(mut entry) = self.due.get_mut(&channel) {
                entry.1 = claimed;
            }
            let listened = hub.listeners(&channel) > 0;
            let wait = match self.store.sweep(&channel, kind).await {
                Ok(None) if !listened => {
                    self.due.remove_if(&channel, |_, (_, at)| *at > later);
                    continue;
                }
                Ok(next) if listened => next.map_or(LISTENED, |next| next.min(LISTENED)),
                Ok(next) => next.unwrap_or(LISTENED),
                Err(error) => {
                    tracing::warn!(%error, %channel, "a map could not be swept");
                    LISTENED
                }
            };
            self.look(&channel, kind, wait);
        }
    }
}

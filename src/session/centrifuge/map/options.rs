//! Settings of maps: how they are kept, who may write, and how they are told.

use std::time::Duration;

use serde::Deserialize;

use crate::stream::{HistoryOptions, MapKind};

/// What subscribers of a namespace's channels get.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionType {
    #[default]
    Stream,
    Map,
    /// A map that the server itself writes: who is on another channel, by connection.
    MapClients,
    /// The same by user.
    MapUsers,
    /// What a back end answers about the keys that the client names, and what changes.
    SharedPoll,
}

impl SubscriptionType {
    /// As the protocol numbers it.
    pub fn number(self) -> i32 {
        self as i32
    }

    pub fn is_map(self) -> bool {
        matches!(self, SubscriptionType::Map | SubscriptionType::MapClients | SubscriptionType::MapUsers)
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum MapMode {
    /// Keys end by themselves; who comes back begins anew.
    #[default]
    Ephemeral,
    /// Keys end by themselves; who comes back gets what it missed.
    Recoverable,
    /// Keys stay until they are removed; who comes back gets what it missed.
    Persistent,
}

/// Which key a client writes under.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ClientKey {
    /// The one that it names.
    #[default]
    Any,
    ClientId,
    UserId,
}

/// Who is on a channel is written down anew about every half of this.
const MOST_RENEWAL_MS: u64 = 60_000;

/// Settings of a namespace's maps.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct MapOptions {
    pub mode: MapMode,
    /// How long a key lives that is not written again. 0: for good, and only in the mode `persistent`.
    pub key_ttl_ms: u64,
    /// Keys of one map; one more is refused.
    pub max_keys: usize,
    /// Changes that clients can catch up with, at most `stream.history.messages`. Not of ephemeral maps.
    pub stream_size: usize,
    /// Keys of one page of the state, or changes of one of the stream, where the client does not say.
    pub page_size: usize,
    pub min_page_size: usize,
    pub max_page_size: usize,
    pub client_key: ClientKey,
    /// Whether a client's own key is removed when it unsubscribes. Needs `client_key = "client_id"`.
    pub remove_client_on_unsubscribe: bool,
    pub allow_publish_for_client: bool,
    pub allow_publish_for_subscriber: bool,
    pub allow_publish_for_anonymous: bool,
    pub allow_remove_for_client: bool,
    pub allow_remove_for_subscriber: bool,
    pub allow_remove_for_anonymous: bool,
}

impl Default for MapOptions {
    fn default() -> Self {
        Self {
            mode: MapMode::Ephemeral,
            key_ttl_ms: 60_000,
            max_keys: 100_000,
            stream_size: 1_000,
            page_size: 100,
            min_page_size: 100,
            max_page_size: 1_000,
            client_key: ClientKey::Any,
            remove_client_on_unsubscribe: false,
            allow_publish_for_client: false,
            allow_publish_for_subscriber: false,
            allow_publish_for_anonymous: false,
            allow_remove_for_client: false,
            allow_remove_for_subscriber: false,
            allow_remove_for_anonymous: false,
        }
    }
}

impl MapOptions {
    pub fn kind(&self) -> MapKind {
        let ends = self.mode != MapMode::Persistent;
        MapKind {
            streams: self.streams(),
            key_ttl: ends.then(|| Duration::from_millis(self.key_ttl_ms)),
            max_keys: self.max_keys,
        }
    }

    pub fn streams(&self) -> bool {
        self.mode != MapMode::Ephemeral
    }

    /// What a client that asks for `limit` is given. 0: it does not say.
    pub fn page(&self, limit: i32) -> usize {
        match usize::try_from(limit) {
            Ok(limit) if limit > 0 => limit.clamp(self.min_page_size, self.max_page_size),
            _ => self.page_size,
        }
    }

    /// Why this cannot work.
    pub(in crate::session::centrifuge) fn check(
        &self,
        of: SubscriptionType,
        history: &HistoryOptions,
    ) -> Result<(), &'static str> {
        let by_server = of != SubscriptionType::Map;
        if by_server && (self.mode == MapMode::Persistent || self.key_ttl_ms < MOST_RENEWAL_MS) {
            return Err("of who is on a channel, keys end, and not before key_ttl_ms = 60000");
        }
        if self.mode != MapMode::Persistent && self.key_ttl_ms == 0 {
            return Err("key_ttl_ms is 0, which is for the mode \"persistent\" only");
        }
        if self.max_keys == 0 || self.min_page_size == 0 {
            return Err("max_keys and min_page_size are at least 1");
        }
        if self.page_size < self.min_page_size || self.page_size > self.max_page_size || self.max_page_size > 5_000 {
            return Err("page_size is from min_page_size to max_page_size, and that at most 5000");
        }
        if self.streams() && (self.stream_size == 0 || self.stream_size > history.messages) {
            return Err("stream_size is at least 1 and at most stream.history.messages");
        }
        if history.messages == 0 {
            return Err("a map needs stream.history.messages");
        }
        if self.remove_client_on_unsubscribe && self.client_key != ClientKey::ClientId {
            return Err("remove_client_on_unsubscribe needs client_key = \"client_id\"");
        }
        Ok(())
    }
}

//! Maps: the newest value of each key of a channel, beside the channel's publications. What changes a map is published on
//! the channel in the same step, so a state with its position and the publications behind it are the map at any later time.

mod local; // within the process
mod sweep; // keys whose time is over

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use self::sweep::Maps;
use super::{BrokerError, Channel, Position, Publication, Tags};

pub(super) use self::local::Local;
pub(super) use self::sweep::start;

/// The first tag of what changes a map: how it is numbered, whether it is a removal, and the key. Nobody else may set it.
pub const MAP_TAG: &str = "_map";

/// What a map's changes are to those who listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MapKind {
    /// Subscribers are told the numbers and can recover by them.
    pub streams: bool,
    /// How long a key lives that is not written again; `None`: for good.
    pub key_ttl: Option<Duration>,
    /// Keys of one map; one more is refused.
    pub max_keys: usize,
}

/// One change.
#[derive(Clone, Debug, Default)]
pub struct MapWrite {
    pub key: String,
    /// JSON; `None`: the key is removed.
    pub data: Option<Bytes>,
    pub tags: Tags,
    /// The publisher's own name for it: done once, however often it is tried.
    pub idempotency_key: Option<Arc<str>>,
    pub only: Only,
    /// Older than what is there, or the same: nothing is changed. 0: not asked.
    pub version: u64,
    /// Versions can be compared within one.
    pub version_epoch: String,
    /// A key that is there lives on, and nothing is told.
    pub renew: bool,
}

/// Which keys are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Only {
    #[default]
    Any,
    IfNew,
    IfExists,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub position: Position,
    /// Why nothing was changed.
    pub suppressed: Option<&'static str>,
}

impl Written {
    pub const FULL: &'static str = "full";
    pub const EXISTS: &'static str = "key_exists";
    pub const NOT_FOUND: &'static str = "key_not_found";
    pub const VERSION: &'static str = "version";
    pub const REPEATED: &'static str = "idempotency";
    pub const RENEWED: &'static str = "renewed";

    /// By the word in which a script says it.
    pub(super) fn why(word: &str) -> Option<&'static str> {
        let all = [Self::FULL, Self::EXISTS, Self::NOT_FOUND, Self::VERSION, Self::REPEATED, Self::RENEWED];
        all.into_iter().find(|known| *known == word)
    }
}

/// A part of a map, by key.
pub struct MapPage {
    /// Where the channel stood at that moment.
    pub position: Position,
    /// Each as it was published.
    pub entries: Vec<Arc<Publication>>,
    /// Whether keys follow behind the last one.
    pub more: bool,
}

/// Where maps are kept. Every method first removes the keys whose time is over, and tells it.
#[async_trait]
pub trait MapStore: Send + Sync {
    async fn write(&self, channel: &Channel, kind: MapKind, write: MapWrite) -> Result<Written, BrokerError>;
    /// At most `most` keys behind `after`.
    async fn read(&self, channel: &Channel, kind: MapKind, after: &str, most: usize) -> Result<MapPage, BrokerError>;
    async fn count(&self, channel: &Channel, kind: MapKind) -> Result<u64, BrokerError>;
    /// Removes some keys and tells it; answers how many are left.
    async fn clear(&self, channel: &Channel, kind: MapKind) -> Result<u64, BrokerError>;
    /// Answers in how long the next key's time is over.
    async fn sweep(&self, channel: &Channel, kind: MapKind) -> Result<Option<Duration>, BrokerError>;
}

/// What a publication says about a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapNote<'a> {
    pub key: &'a str,
    pub removed: bool,
    /// Its number is told.
    pub streams: bool,
}

impl<'a> MapNote<'a> {
    pub fn of(tags: &'a [(String, String)]) -> Option<Self> {
        let (name, value) = tags.first()?;
        if name != MAP_TAG {
            return None;
        }
        let (flags, key) = value.split_at_checked(2)?;
        Some(Self { key, removed: flags.ends_with('-'), streams: flags.starts_with('s') })
    }
}

impl MapKind {
    /// The tags of a change, that of the map first.
    pub(super) fn tags(self, key: &str, removed: bool, tags: Tags) -> Tags {
        let numbered = if self.streams { 's' } else { 'e' };
        let sign = if removed { '-' } else { '+' };
        let mut all = vec![(MAP_TAG.to_owned(), format!("{numbered}{sign}{key}"))];
        all.extend(tags);
        all
    }
}

/// What stands for the data of a removal.
pub(super) const REMOVED: Bytes = Bytes::from_static(b"null");

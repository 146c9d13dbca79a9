//! The streaming core: channels, publications, brokers, the hub and its shards. Knows no HTTP, no SQL and no feed.

mod audience; // who is to get the same bytes
mod broker; // where order is decided: in memory or on Redis
mod channel;
mod condition; // what a tag filter asks
mod explain; // what became of one message for one client
mod feed;
mod filter;
mod fold; // several messages of one key as one
mod history; // what a channel said lately
mod hub; // routes publications to the shards that own the sockets
mod join; // a client's place: between two publications, behind what it missed
mod ledger; // what became of every publication
mod line; // one channel as this node has delivered it
mod map; // the newest value of each key of a channel
mod metrics;
mod node; // the one way into the stream
mod outbox; // what a socket could not take at once
mod position;
mod presence; // who watches a channel, on all nodes
mod publication;
mod record; // the past, beyond the history
mod snapshot; // the state behind a feed
mod subscribe; // the same, channel by channel

pub use audience::{Audience, AudienceSpec, Pace};
pub use broker::{
    Broker, BrokerError, Gap, Memory, MemoryOptions, Outgoing, Past, Redis, RedisOptions, SharedSink, Sink, Version,
};
pub use channel::{CONTROL, Channel, ChannelError};
pub use condition::{Comparison, Condition};
pub use explain::Fate;
pub use feed::{FeedSpec, FilterParam, FoldRule, OwnRule, WhenFull};
pub use filter::{Filter, Term};
pub use history::HistoryOptions;
pub use hub::{Client, Heartbeat, Hub, HubOptions, Peer, Probe, Ticket};
pub use join::{Joining, Missed, OnGap};
pub use ledger::Account;
pub use map::{MAP_TAG, MapKind, MapNote, MapPage, MapStore, MapWrite, Maps, Only, Written};
pub use metrics::StreamMetrics;
pub use node::{Node, PublishError};
pub use position::{Mark, NotAPosition, Position, resume_token};
pub use presence::{Attending, Presence, PresenceMetrics, PresenceOptions, Present, SharedPresence, ShownInfo};
pub use publication::{CLIENT_INFO, Kind, Publication, Tags};
pub use record::{Record, Recorded, Seam};
pub use snapshot::{Snapshot, SnapshotRow, SnapshotSource};
pub use subscribe::{Listening, Recover, Stand, Subscribing};

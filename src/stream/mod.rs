//! The streaming core: channels, publications, brokers, the hub and its shards. Knows no HTTP, no SQL and no feed.

mod audience; // who is to get the same bytes
mod broker; // where order is decided: in memory or on Redis
mod channel;
mod feed;
mod filter;
mod hub; // routes publications to the shards that own the sockets
mod metrics;
mod node; // the one way into the stream
mod outbox; // what a socket could not take at once
mod publication;

pub use audience::{Audience, AudienceSpec};
pub use broker::{Broker, BrokerError, Gap, Memory, MemoryOptions, Redis, RedisOptions, SharedSink, Sink};
pub use channel::{Channel, ChannelError};
pub use feed::{FeedSpec, FilterParam};
pub use filter::{Filter, Term};
pub use hub::{Hub, HubOptions, Peer, Probe, Ticket};
pub use metrics::StreamMetrics;
pub use node::{Node, PublishError};
pub use publication::{Kind, Position, Publication, Tags};

//! The streaming core: channels, publications, brokers, the hub and its shards. Knows no HTTP, no SQL and no feed.

mod channel;
mod node;
mod publication;

pub use channel::{Channel, ChannelError};
pub use node::{Node, PublishError};
pub use publication::{Position, Publication, Tags};

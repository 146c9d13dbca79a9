//! One client's conversation, from its upgrade request to its close.

mod begin; // from now, from where it was, or from a snapshot
mod handshake; // what an upgrade request asks for
mod limits; // connections in all and per address
mod plain; // the client that only listens
mod replay; // the client that begins in the past
mod upgrade; // request → place in the hub → socket on its shard
mod watchers; // who is on the feed's channels

pub use limits::LimitOptions;
pub use replay::Replays;
pub use upgrade::{Sessions, Snapshots, upgrade};

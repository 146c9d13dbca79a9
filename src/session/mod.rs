//! One client's conversation, from its upgrade request to its close.

mod admit; // who may have what, and its place in the hub
mod begin; // from now, from where it was, or from a snapshot
pub mod centrifuge; // the client that speaks: the Centrifuge protocol
mod first; // a token as the first message
mod handshake; // what an upgrade request asks for
mod limits; // connections in all and per address
mod pipe; // the way out of a client without a socket of its own
mod plain; // the client that only listens
mod events; // the same streams as server-sent events
mod replay; // the client that begins in the past
mod right; // until when a client may stay
mod upgrade; // request → place in the hub → socket on its shard
mod watchers; // who is on the feed's channels

pub use events::events;
#[doc(hidden)]
pub use handshake::examine;
pub use limits::LimitOptions;
pub use replay::Replays;
pub use upgrade::{Sessions, Snapshots, upgrade};

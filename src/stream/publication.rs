//! What is published: data, where it stands in its channel, and the tags that filters look at.

use bytes::Bytes;

use super::Channel;

/// Where a publication stands: its number in the channel, and the epoch within which numbers can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Starts at 1 and grows by 1 per publication of the channel.
    pub offset: u64,
    /// Changes when the channel's numbering had to start anew.
    pub epoch: String,
}

/// Names and values that a subscriber can filter by, such as `("category", "Electronics")`.
pub type Tags = Vec<(String, String)>;

/// One message of one channel, as the broker hands it to the hub.
pub struct Publication {
    pub channel: Channel,
    /// JSON, byte for byte as published.
    pub data: Bytes,
}

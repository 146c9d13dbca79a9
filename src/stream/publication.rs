//! What is published: data, where it stands in its channel, and the tags that filters look at.

use std::sync::OnceLock;
use std::time::Instant;

use bytes::Bytes;

use super::{Channel, StreamMetrics};
use crate::wire::{Dialect, top_level_fields};

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What a publisher sent; filters apply.
    Data,
    /// The server's own word about the channel, such as a gap; everybody gets it.
    Notice,
}

/// One message of one channel, as the broker hands it to the hub. Encoded once a dialect, however many receive it.
pub struct Publication {
    pub channel: Channel,
    pub kind: Kind,
    /// JSON, byte for byte as published.
    pub data: Bytes,
    /// Values for filters that do not stand in the data.
    pub tags: Tags,
    /// Known when the publisher was a Fanfare node.
    pub position: Option<Position>,
    /// When this process got it, for the delivery latency.
    pub accepted_at: Instant,
    frames: [OnceLock<Bytes>; Dialect::ALL.len()],
    fields: OnceLock<Vec<(String, String)>>,
}

impl Publication {
    pub fn new(channel: Channel, kind: Kind, data: Bytes, tags: Tags, position: Option<Position>) -> Self {
        Self {
            channel,
            kind,
            data,
            tags,
            position,
            accepted_at: Instant::now(),
            frames: Default::default(),
            fields: OnceLock::new(),
        }
    }

    /// The ready frame of this publication in a dialect; made at the first call, shared by all others.
    pub fn frame(&self, dialect: Dialect, metrics: &StreamMetrics) -> &Bytes {
        self.frames[dialect as usize].get_or_init(|| {
            metrics.encoded(dialect);
            dialect.encode(&self.data)
        })
    }

    /// What `name` is: the tags of that name or, where there is none, the top-level field.
    pub fn values_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let tagged = self.tags.iter().any(|(tag, _)| tag == name);
        let pairs = if tagged { &self.tags } else { self.fields.get_or_init(|| top_level_fields(&self.data)) };
        pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

//! The node: the one way into the stream.

use bytes::Bytes;

use super::{Channel, Position, Tags};

#[derive(Clone)]
pub struct Node {}

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The data is not one JSON value.
    #[error("data is not JSON: {0}")]
    NotJson(String),
    /// The broker did not take it; the caller keeps the message and tries again.
    #[error("the broker is unavailable: {0}")]
    Unavailable(String),
}

impl Node {
    /// Publishes through the broker. `Ok` means that the broker has accepted it and gave it a position.
    /// `tags` serve filters whose value does not stand in the data itself.
    pub async fn publish(&self, channel: &Channel, data: Bytes, tags: Tags) -> Result<Position, PublishError> {
        let _ = (channel, data, tags);
        Err(PublishError::Unavailable("not started".into()))
    }
}

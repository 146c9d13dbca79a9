//! The past of the streams, beyond the short history of the broker: what was published, when, and where it stood.

use async_trait::async_trait;

use super::{Channel, Position, Publication};

/// Where publications are kept; feeds implement it. Errors are for the log.
#[async_trait]
pub trait Record: Send + Sync {
    /// The number behind which everything lies that was published at `from_ms` or later.
    async fn begin(&self, from_ms: i64) -> anyhow::Result<i64>;

    /// What these channels said behind `number`, in the order in which it was published; `most` of it.
    async fn after(&self, channels: &[Channel], number: i64, most: usize) -> anyhow::Result<Vec<Recorded>>;

    /// The seam between record and stream: what is left behind `number`, and where each channel stood when all of it
    /// had been recorded and nothing else had been published. `None`: not now; more than `most` is left, or what was
    /// published last is not recorded yet.
    async fn seam(&self, channels: &[Channel], number: i64, most: usize) -> anyhow::Result<Option<Seam>>;
}

/// One publication of the past.
pub struct Recorded {
    /// Grows from one to the next, over all channels.
    pub number: i64,
    /// When it was published, in milliseconds since 1970.
    pub at_ms: i64,
    pub publication: Publication,
}

/// Everything published is in the record up to here, or comes after these positions.
pub struct Seam {
    pub rest: Vec<Recorded>,
    pub as_of: Vec<(Channel, Position)>,
}

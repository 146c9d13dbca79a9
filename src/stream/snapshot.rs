//! The state behind a feed, as of a position: what a client begins with that wants the present and every change after it.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Channel, Position, Tags};

/// Where a feed's rows come from; feeds implement it.
#[async_trait]
pub trait SnapshotSource: Send + Sync {
    /// Waits until everything that the rows contain has been published. Errors are for the log.
    async fn snapshot(&self) -> anyhow::Result<Snapshot>;
}

/// Rows, and what of the stream they contain.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub rows: Vec<SnapshotRow>,
    /// Everything up to here is in the rows.
    pub as_of: Vec<(Channel, Position)>,
    /// Keys of publications after `as_of` that are in the rows too.
    pub contained: HashSet<Arc<str>>,
    /// All of those lie before this.
    pub reached: Vec<(Channel, Position)>,
}

/// One row, in the fields of the feed's messages.
#[derive(Debug)]
pub struct SnapshotRow {
    /// A JSON object.
    pub data: Bytes,
    /// Values for filters that do not stand in the data.
    pub tags: Tags,
}

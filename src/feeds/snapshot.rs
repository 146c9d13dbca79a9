//! The rows behind a feed as of a position: rows, and what of the stream they contain, are read at one moment between
//! two turns of the relay.

use std::time::Duration;

use anyhow::bail;
use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;

use super::Outbox;
use crate::db::{Db, DbError, Tx};
use crate::stream::{Channel, Node, Position, Snapshot, SnapshotRow, SnapshotSource, Tags};

/// How long the publication of what the rows contain may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// One feed's rows, read within a transaction.
#[async_trait]
pub trait Rows: Send + Sync {
    async fn read(&self, tx: &mut Tx) -> Result<Vec<SnapshotRow>, DbError>;
}

/// A feed whose rows stand in the database.
pub struct Source<R> {
    pub db: Db,
    pub node: Node,
    pub outbox: Outbox,
    pub channels: Vec<Channel>,
    pub rows: R,
}

impl<R: Rows> Source<R> {
    async fn positions(&self) -> anyhow::Result<Vec<(Channel, Position)>> {
        let mut positions = Vec::new();
        for channel in &self.channels {
            positions.push((channel.clone(), self.node.broker().position(channel).await?));
        }
        Ok(positions)
    }
}

#[async_trait]
impl<R: Rows> SnapshotSource for Source<R> {
    async fn snapshot(&self) -> anyhow::Result<Snapshot> {
        let pause = self.outbox.pause(&self.db).await?;
        let mut tx = self.db.begin_read().await?;
        // The transaction's moment is that of its first statement. What it sees in the outbox is in the rows too, and
        // has not been published; what it does not see there and is in the rows has been.
        let (ids, contained) = self.outbox.waiting(&mut tx, &self.channels).await?;
        let as_of = self.positions().await?;
        pause.end().await?;
        let rows = self.rows.read(&mut tx).await?;
        tx.rollback().await?;
        let waiting = async {
            while !ids.is_empty() && self.outbox.still_waiting(&self.db, &ids).await? > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok::<_, DbError>(())
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(done) => done?,
            Err(_) => bail!("what the rows contain was not published within {PATIENCE:?}"),
        }
        let reached = if ids.is_empty() { as_of.clone() } else { self.positions().await? };
        Ok(Snapshot { rows, as_of, contained, reached })
    }
}

/// One row in the fields of a message; `category` is what its filter looks at.
pub fn row(fields: &impl Serialize, category: Option<&str>) -> Option<SnapshotRow> {
    let tags: Tags = category.iter().map(|category| ("category".to_owned(), category.to_string())).collect();
    let data = serde_json::to_vec(fields).map_err(|error| tracing::error!(%error, "a row cannot be written")).ok()?;
    Some(SnapshotRow { data: Bytes::from(data), tags })
}

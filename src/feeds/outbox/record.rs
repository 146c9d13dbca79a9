//! The record: a copy of what the relay publishes, kept for a while with its positions, so that a client can begin in the
//! past. It is written in the transaction that deletes the outbox's row, so nothing is recorded twice or left out.
//!
//! What it costs: one more statement a batch of the relay, and the data once more on the disk. What others publish
//! straight to the broker never was in the outbox, and so is not in the record.

use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{Outbox, RecordOptions, record_sql as sql};
use crate::clock::Clock;
use crate::db::{Db, DbError, Tx};
use crate::stream::{Channel, Kind, Node, Position, Publication, Record, Recorded, Seam};

/// How often what is too old is looked for, and how many rows go at once.
const SWEEP: Duration = Duration::from_secs(60);
const TRIM_AT_ONCE: i64 = 5_000;

/// Writes the record. Cloning shares it.
#[derive(Clone)]
pub struct Recorder {
    db: Db,
    clock: Clock,
    options: RecordOptions,
}

impl Recorder {
    /// `None` when nothing is to be recorded.
    pub fn new(db: Db, clock: Clock, options: RecordOptions) -> Option<Self> {
        (options.age_s > 0).then_some(Self { db, clock, options })
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Keeps rows that are still in the outbox: the id of each, where it was published, and when.
    pub(super) async fn keep(&self, tx: &mut Tx, published: &[(i64, Position, i64)]) -> Result<(), DbError> {
        let rows: Vec<sql::PublishedRow<'_>> = published
            .iter()
            .map(|(id, at, at_ms)| sql::PublishedRow {
                id: *id,
                epoch: &at.epoch,
                position: i64::try_from(at.offset).unwrap_or(i64::MAX),
                at_ms: *at_ms,
            })
            .collect();
        sql::keep(tx, &rows).await
    }

    /// Drops what is too old or too much, until `stop`.
    pub async fn tend(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let gone = self.trim().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the record of the streams could not be trimmed");
                0
            });
            if gone < TRIM_AT_ONCE as u64 {
                tokio::select! {
                    () = tokio::time::sleep(SWEEP) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    /// Drops some of what is too old or too much; answers how many.
    pub async fn trim(&self) -> Result<u64, DbError> {
        let age_ms = i64::try_from(self.options.age_s.saturating_mul(1_000)).unwrap_or(i64::MAX);
        let messages = i64::try_from(self.options.messages).unwrap_or(i64::MAX);
        sql::trim(&self.db, self.clock.now_ms().saturating_sub(age_ms), messages, TRIM_AT_ONCE).await
    }
}

/// Reads the record, and knows where it meets the stream.
pub struct RecordReader {
    pub db: Db,
    pub node: Node,
    pub outbox: Outbox,
}

#[async_trait]
impl Record for RecordReader {
    async fn begin(&self, from_ms: i64) -> anyhow::Result<i64> {
        Ok(sql::before(&self.db, from_ms).await?)
    }

    async fn after(&self, channels: &[Channel], number: i64, most: usize) -> anyhow::Result<Vec<Recorded>> {
        let limit = i64::try_from(most)?;
        let (mut rows, mut known_to) = (Vec::new(), i64::MAX);
        for channel in channels {
            let some = sql::of_channel(&self.db, channel.as_str(), number, limit).await?;
            if let (true, Some(last)) = (some.len() == most, some.last()) {
                known_to = known_to.min(last.id);
            }
            rows.extend(some);
        }
        // Behind the last of a full channel there may be more of it.
        rows.retain(|row| row.id <= known_to);
        rows.sort_by_key(|row| row.id);
        rows.truncate(most);
        rows.into_iter().map(recorded).collect()
    }

    async fn seam(&self, channels: &[Channel], number: i64, most: usize) -> anyhow::Result<Option<Seam>> {
        // Between two turns of the relay: whatever it has published is in the record.
        let pause = self.outbox.pause(&self.db).await?;
        if !self.outbox.is_settled() || self.has_gone_out(channels).await? {
            pause.end().await?;
            return Ok(None);
        }
        let rest = self.after(channels, number, most + 1).await?;
        let mut as_of = Vec::new();
        for channel in channels.iter().filter(|_| rest.len() <= most) {
            as_of.push((channel.clone(), self.node.broker().position(channel).await?));
        }
        pause.end().await?;
        Ok((rest.len() <= most).then_some(Seam { rest, as_of }))
    }
}

impl RecordReader {
    /// To be asked during a pause: whether something on these channels is out and still waits in the outbox. Another
    /// node's relay leaves that behind when it dies between the two; until it is recorded there is no seam.
    async fn has_gone_out(&self, channels: &[Channel]) -> anyhow::Result<bool> {
        if self.db.engine() != "postgres" {
            return Ok(false);
        }
        for channel in channels {
            let keys = self.outbox.first_keys(&self.db, channel).await?;
            if keys.is_empty() {
                continue;
            }
            let now = self.node.broker().position(channel).await?;
            let last = sql::last_of_channel(&self.db, channel.as_str()).await?;
            let known = last.filter(|last| *last.epoch == *now.epoch).map_or(0, |last| last.position.unsigned_abs());
            if now.offset > known {
                let past = self.node.broker().history(channel, known).await?;
                let mut published = past.publications.iter().filter_map(|publication| publication.key.as_ref());
                if published.any(|key| keys.contains(key)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

fn recorded(row: sql::Row) -> anyhow::Result<Recorded> {
    let position = Position { offset: u64::try_from(row.position)?, epoch: row.epoch.into() };
    let tags = serde_json::from_str(&row.tags).context("the tags of a recorded message")?;
    let (channel, data) = (Channel::new(&row.channel)?, Bytes::from(row.data));
    let publication = Publication::new(channel, Kind::Data, data, tags, Some(position));
    Ok(Recorded { number: row.id, at_ms: row.at_ms, publication })
}

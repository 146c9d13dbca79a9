//! The record's storage.

use crate::db::{Db, DbError, Tx};
use crate::{args, over_rows};

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    pub id: i64,
    pub channel: String,
    pub epoch: String,
    pub position: i64,
    pub at_ms: i64,
    pub data: String,
    pub tags: String,
}

#[derive(sqlx::FromRow)]
struct Number {
    number: Option<i64>,
}

over_rows! {
    /// A row of the outbox that was published: where, and when. The data does not leave the database.
    pub struct PublishedRow<'a> {
        pub id: i64 => "bigint",
        pub epoch: &'a str => "text",
        pub position: i64 => "bigint",
        pub at_ms: i64 => "bigint",
    }
    before "INSERT INTO stream_record (channel, epoch, position, at_ms, data, tags)
        SELECT o.channel, r.epoch, r.position, r.at_ms, o.data, o.tags"
    after "JOIN outbox o ON o.id = r.id ORDER BY o.id"
}

/// Copies rows of the outbox.
pub(super) async fn keep(tx: &mut Tx, published: &[PublishedRow<'_>]) -> Result<(), DbError> {
    tx.execute_over(&PublishedRow::OVER, published).await?;
    Ok(())
}

/// The number before the first at `from_ms` or later; the last one when there is none.
pub(super) async fn before(db: &Db, from_ms: i64) -> Result<i64, DbError> {
    let sql = "SELECT id AS number FROM stream_record WHERE at_ms >= $1 ORDER BY at_ms, id LIMIT 1";
    let first: Option<Number> = db.fetch_optional(sql, args![from_ms]).await?;
    if let Some(Number { number: Some(first) }) = first {
        return Ok(first - 1);
    }
    let last: Number = db.fetch_one("SELECT MAX(id) AS number FROM stream_record", args![]).await?;
    Ok(last.number.unwrap_or(0))
}

pub(super) async fn of_channel(db: &Db, channel: &str, after: i64, most: i64) -> Result<Vec<Row>, DbError> {
    let sql = "SELECT id, channel, epoch, position, at_ms, data, tags FROM stream_record
               WHERE channel = $1 AND id > $2 ORDER BY id LIMIT $3";
    db.fetch_all(sql, args![channel, after, most]).await
}

#[derive(sqlx::FromRow)]
pub(super) struct Last {
    pub epoch: String,
    pub position: i64,
}

/// Where the record of a channel ends.
pub(super) async fn last_of_channel(db: &Db, channel: &str) -> Result<Option<Last>, DbError> {
    let sql = "SELECT epoch, position FROM stream_record WHERE channel = $1 ORDER BY id DESC LIMIT 1";
    db.fetch_optional(sql, args![channel]).await
}

/// Drops what is older than `oldest_ms`, and the oldest beyond `messages`; some of it. Answers how many went.
pub(super) async fn trim(db: &Db, oldest_ms: i64, messages: i64, some: i64) -> Result<u64, DbError> {
    // By number: rows that were recorded later are newer, whatever the clock did.
    let sql = "DELETE FROM stream_record WHERE id IN (SELECT id FROM stream_record WHERE at_ms < $1
               OR id <= (SELECT MAX(id) FROM stream_record) - $2 ORDER BY id LIMIT $3)";
    db.execute(sql, args![oldest_ms, messages, some]).await
}

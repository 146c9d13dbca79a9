//! The outbox's storage.

use chrono::{DateTime, Utc};

use crate::db::{Db, DbError, Tx};
use crate::{args, over_rows};

over_rows! {
    /// To be written. The rows come in the order in which they are to be published.
    pub struct NewRow<'a> {
        pub channel: &'static str => "text",
        pub data: &'a str => "text",
        pub tags: String => "text",
        pub created_at: DateTime<Utc> => "timestamptz",
    }
    before "INSERT INTO outbox (channel, data, tags, created_at) SELECT r.channel, r.data, r.tags, r.created_at"
    after ""
}

#[derive(sqlx::FromRow)]
pub(super) struct Waiting {
    pub id: i64,
    pub channel: String,
    pub created_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
pub(super) struct Staged {
    pub id: i64,
    pub channel: String,
    pub data: String,
    pub tags: String,
    pub created_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
pub(super) struct Count {
    pub count: i64,
}

/// The first `most` in order; within `lock` where there is one.
pub(super) async fn first(db: &Db, lock: Option<&mut Tx>, most: i64) -> Result<Vec<Staged>, DbError> {
    let sql = "SELECT id, channel, data, tags, created_at FROM outbox ORDER BY id LIMIT $1";
    match lock {
        Some(lock) => lock.fetch_all(sql, args![most]).await,
        None => db.fetch_all(sql, args![most]).await,
    }
}

pub(super) async fn count(db: &Db) -> Result<i64, DbError> {
    let all: Count = db.fetch_one("SELECT count(*) AS count FROM outbox", args![]).await?;
    Ok(all.count)
}

/// Deletes exactly these: a lower id may have been committed meanwhile.
pub(super) async fn delete(tx: &mut Tx, ids: Vec<i64>) -> Result<(), DbError> {
    let sql = tx.by_engine(
        "DELETE FROM outbox WHERE id IN (SELECT value FROM json_each($1))",
        "DELETE FROM outbox WHERE id IN (SELECT value::bigint FROM jsonb_array_elements_text($1))",
    );
    tx.execute(sql, args![serde_json::Value::from(ids)]).await?;
    Ok(())
}

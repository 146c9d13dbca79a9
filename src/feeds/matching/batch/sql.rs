//! Storage of batches and their parts; every statement runs on both engines.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::BatchType;
use crate::args;
use crate::db::{Db, DbError, Sql, Tx};
use crate::feeds::body::utc;
use crate::feeds::page::PageRequest;

/// A batch as stored.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Batch {
    #[serde(rename = "batch_id")]
    pub id: i64,
    pub batch_type: String,
    pub state: String,
    pub processed: i64,
    pub total: i64,
    pub failed: i64,
    pub error: Option<String>,
    #[serde(skip)]
    pub told_at: DateTime<Utc>,
    #[serde(serialize_with = "utc::serialize")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "utc::serialize")]
    pub updated_at: DateTime<Utc>,
    #[serde(serialize_with = "utc::optional::serialize")]
    pub finished_at: Option<DateTime<Utc>>,
}

macro_rules! columns {
    () => {
        "id, batch_type, state, processed, total, failed, error, told_at, created_at, updated_at, finished_at"
    };
}

/// A part of a batch that somebody is to work on.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Part {
    pub id: i64,
    pub batch_id: i64,
    pub first_id: i64,
    pub last_id: i64,
    pub size: i64,
    pub state: String,
}

#[derive(sqlx::FromRow)]
pub struct Id {
    pub id: i64,
}

/// Nothing when a batch with the same schedule key exists.
pub async fn insert(
    tx: &mut Tx,
    batch_type: BatchType,
    schedule_key: Option<&str>,
    total: i64,
    now: DateTime<Utc>,
) -> Result<Option<Batch>, DbError> {
    let sql = concat!(
        "INSERT INTO batches (batch_type, state, schedule_key, total, told_at, created_at, updated_at) \
         VALUES ($1, 'running', $2, $3, $4, $4, $4) ON CONFLICT (schedule_key) DO NOTHING RETURNING ",
        columns!()
    );
    tx.fetch_optional(sql, args![batch_type.as_str(), schedule_key, total, now]).await
}

/// The ids that a batch of this kind goes over, in order.
pub async fn ids(tx: &mut Tx, batch_type: BatchType, now: DateTime<Utc>) -> Result<Vec<i64>, DbError> {
    let rows: Vec<Id> = match batch_type {
        BatchType::DailyMatching => {
            tx.fetch_all("SELECT id FROM users WHERE status = 'active' ORDER BY id", args![]).await?
        }
        BatchType::Scoring => {
            let sql = "SELECT id FROM jobs WHERE status <> 'deleted' AND created_at <= $1 ORDER BY id";
            tx.fetch_all(sql, args![now]).await?
        }
        BatchType::EmailGeneration => {
            let sql = "SELECT id FROM users WHERE status = 'active' AND email_opt_in AND bounced_at IS NULL AND \
                       EXISTS (SELECT 1 FROM recommendations WHERE user_id = users.id) ORDER BY id";
            tx.fetch_all(sql, args![]).await?
        }
        BatchType::Cleanup => vec![Id { id: 0 }],
    };
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Parts of `(first, last, size)`; answers their ids.
pub async fn insert_parts(tx: &mut Tx, batch_id: i64, parts: &[(i64, i64, i64)]) -> Result<Vec<i64>, DbError> {
    let rows = parts.iter().map(|(first, last, size)| json!({"first": first, "last": last, "size": size}));
    let sql = tx.by_engine(
        "INSERT INTO batch_parts (batch_id, first_id, last_id, size, state) SELECT $2, value->>'first', \
         value->>'last', value->>'size', 'pending' FROM json_each($1) WHERE true RETURNING id",
        "INSERT INTO batch_parts (batch_id, first_id, last_id, size, state) SELECT $2, first, last, size, 'pending' \
         FROM jsonb_to_recordset($1) AS given(first BIGINT, last BIGINT, size BIGINT) RETURNING id",
    );
    let ids: Vec<Id> = tx.fetch_all(sql, args![Value::Array(rows.collect()), batch_id]).await?;
    Ok(ids.into_iter().map(|row| row.id).collect())
}

pub async fn part(db: &Db, id: i64) -> Result<Option<Part>, DbError> {
    let sql = "SELECT id, batch_id, first_id, last_id, size, state FROM batch_parts WHERE id = $1";
    db.fetch_optional(sql, args![id]).await
}

pub async fn find(db: &Db, id: i64) -> Result<Option<Batch>, DbError> {
    db.fetch_optional(concat!("SELECT ", columns!(), " FROM batches WHERE id = $1"), args![id]).await
}

/// The row, held until the transaction ends. Its key is left alone: results that refer to it share a lock on that, and
/// two parts that had both written theirs would wait for each other forever.
pub async fn lock(tx: &mut Tx, id: i64) -> Result<Option<Batch>, DbError> {
    let sql = tx.by_engine(
        concat!("SELECT ", columns!(), " FROM batches WHERE id = $1"),
        concat!("SELECT ", columns!(), " FROM batches WHERE id = $1 FOR NO KEY UPDATE"),
    );
    tx.fetch_optional(sql, args![id]).await
}

/// Ends a part once: `false` when somebody has done so before.
pub async fn end_part(tx: &mut Tx, id: i64, state: &'static str, error: Option<&str>) -> Result<bool, DbError> {
    let sql =
        "UPDATE batch_parts SET state = $2, error = $3, attempts = attempts + 1 WHERE id = $1 AND state = 'pending'";
    Ok(tx.execute(sql, args![id, state, error]).await? > 0)
}

pub async fn set_progress(tx: &mut Tx, batch: &Batch) -> Result<(), DbError> {
    let sql = "UPDATE batches SET state = $2, processed = $3, failed = $4, error = $5, told_at = $6, updated_at = $7, \
               finished_at = $8 WHERE id = $1";
    let Batch { id, state, processed, failed, error, told_at, updated_at, finished_at, .. } = batch;
    tx.execute(sql, args![*id, state, *processed, *failed, error.clone(), *told_at, *updated_at, *finished_at]).await?;
    Ok(())
}

/// Makes what failed, and after a cancellation what was not begun, pending; answers the parts.
pub async fn revive(tx: &mut Tx, batch_id: i64) -> Result<Vec<i64>, DbError> {
    let sql = "UPDATE batch_parts SET state = 'pending', error = NULL, attempts = 0 \
               WHERE batch_id = $1 AND state <> 'done' RETURNING id";
    let ids: Vec<Id> = tx.fetch_all(sql, args![batch_id]).await?;
    Ok(ids.into_iter().map(|row| row.id).collect())
}

#[derive(sqlx::FromRow)]
struct Count {
    count: i64,
}

/// The latest first.
pub async fn list(
    db: &Db,
    batch_type: Option<BatchType>,
    state: Option<&str>,
    page: PageRequest,
) -> Result<(Vec<Batch>, i64), DbError> {
    let narrowed =
        |sql: Sql| sql.filter_some("batch_type = ?", batch_type.map(BatchType::as_str)).filter_some("state = ?", state);
    let count = narrowed(Sql::new("SELECT count(*) AS count FROM batches"));
    let total = db.fetch_built::<Count>(count).await?.first().map_or(0, |row| row.count);
    let select = narrowed(Sql::new(concat!("SELECT ", columns!(), " FROM batches")));
    let select = select.push(" ORDER BY created_at DESC, id DESC LIMIT ").bind(page.limit);
    Ok((db.fetch_built(select.push(" OFFSET ").bind(page.offset())).await?, total))
}

/// What the cleanup does to rows that are past their time.
pub async fn clean(tx: &mut Tx, now: DateTime<Utc>, before: DateTime<Utc>) -> Result<(), DbError> {
    let expire = "UPDATE jobs SET status = 'expired', updated_at = $1 WHERE status = 'active' AND expires_at <= $1";
    tx.execute(expire, args![now]).await?;
    tx.execute("DELETE FROM match_emails WHERE created_at < $1", args![before]).await?;
    tx.execute("DELETE FROM import_tasks WHERE updated_at < $1", args![before]).await?;
    tx.execute("DELETE FROM batches WHERE created_at < $1 AND state <> 'running'", args![before]).await?;
    Ok(())
}

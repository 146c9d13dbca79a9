//! Storage of imports; every statement runs on both engines.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Refusal, Target};
use crate::args;
use crate::db::{Db, DbError, Tx};
use crate::feeds::body::utc;

/// An import in the background.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct ImportTask {
    #[serde(rename = "task_id")]
    pub id: String,
    pub kind: String,
    pub state: String,
    pub processed: i64,
    pub total: i64,
    pub succeeded: i64,
    pub failed: i64,
    #[serde(serialize_with = "utc::serialize")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "utc::serialize")]
    pub updated_at: DateTime<Utc>,
}

macro_rules! columns {
    () => {
        "id, kind, state, processed, total, succeeded, failed, created_at, updated_at"
    };
}

#[derive(sqlx::FromRow)]
struct Id {
    id: i64,
}

#[derive(sqlx::FromRow)]
pub struct Part {
    pub id: i64,
    pub rows: Value,
}

pub async fn insert(tx: &mut Tx, id: &str, target: Target, now: DateTime<Utc>) -> Result<(), DbError> {
    let sql = "INSERT INTO import_tasks (id, kind, state, total, created_at, updated_at) VALUES ($1, $2, 'pending', 0, $3, $3)";
    tx.execute(sql, args![id, target.as_str(), now]).await?;
    Ok(())
}

pub async fn insert_part(tx: &mut Tx, task_id: &str, rows: Value, count: i64) -> Result<i64, DbError> {
    tx.execute("UPDATE import_tasks SET total = total + $2 WHERE id = $1", args![task_id, count]).await?;
    let sql = "INSERT INTO import_parts (task_id, rows) VALUES ($1, $2) RETURNING id";
    Ok(tx.fetch_one::<Id>(sql, args![task_id, rows]).await?.id)
}

pub async fn part(db: &Db, id: i64) -> Result<Option<Part>, DbError> {
    db.fetch_optional("SELECT id, rows FROM import_parts WHERE id = $1", args![id]).await
}

/// `false`: it was imported before.
pub async fn remove_part(tx: &mut Tx, id: i64) -> Result<bool, DbError> {
    Ok(tx.execute("DELETE FROM import_parts WHERE id = $1", args![id]).await? > 0)
}

pub async fn refuse(tx: &mut Tx, task_id: &str, refusals: &[Refusal]) -> Result<(), DbError> {
    let sql = tx.by_engine(
        "INSERT INTO import_errors (task_id, line, field, reason) SELECT $2, value->>'line', value->>'field', \
         value->>'reason' FROM json_each($1) WHERE true",
        "INSERT INTO import_errors (task_id, line, field, reason) SELECT $2, line, left(field, 50), reason \
         FROM jsonb_to_recordset($1) AS given(line BIGINT, field TEXT, reason TEXT)",
    );
    tx.execute(sql, args![json!(refusals), task_id]).await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Told {
    told_ms: i64,
}

/// Adds what came of a part, and ends the task with its last part; answers the task, and whether it is time to tell:
/// `every_ms` after the last time, and at the end.
pub async fn advance(
    tx: &mut Tx,
    id: &str,
    succeeded: i64,
    failed: i64,
    (now, every_ms): (DateTime<Utc>, i64),
) -> Result<(ImportTask, bool), DbError> {
    // Held until the transaction ends: parts end one after the other.
    let before = tx.by_engine(
        "SELECT told_ms FROM import_tasks WHERE id = $1",
        "SELECT told_ms FROM import_tasks WHERE id = $1 FOR UPDATE",
    );
    let before: Told = tx.fetch_one(before, args![id]).await?;
    let due = before.told_ms <= now.timestamp_millis() - every_ms;
    let told_ms = if due { now.timestamp_millis() } else { before.told_ms };
    let sql = concat!(
        "UPDATE import_tasks SET processed = processed + $2 + $3, succeeded = succeeded + $2, failed = failed + $3, \
         state = CASE WHEN processed + $2 + $3 >= total THEN 'completed' ELSE 'running' END, updated_at = $4, \
         told_ms = $5 WHERE id = $1 RETURNING ",
        columns!()
    );
    let task: ImportTask = tx.fetch_one(sql, args![id, succeeded, failed, now, told_ms]).await?;
    let ended = task.state == "completed";
    Ok((task, due || ended))
}

pub async fn find(db: &Db, id: &str) -> Result<Option<ImportTask>, DbError> {
    db.fetch_optional(concat!("SELECT ", columns!(), " FROM import_tasks WHERE id = $1"), args![id]).await
}

/// The first refusals, by line.
pub async fn refusals(db: &Db, task_id: &str, limit: i64) -> Result<Vec<Refusal>, DbError> {
    let sql = "SELECT line, field, reason FROM import_errors WHERE task_id = $1 ORDER BY line, id LIMIT $2";
    let rows: Vec<RefusalRow> = db.fetch_all(sql, args![task_id, limit]).await?;
    Ok(rows.into_iter().map(|row| Refusal { line: row.line, field: row.field, reason: row.reason }).collect())
}

#[derive(sqlx::FromRow)]
struct RefusalRow {
    line: i64,
    field: String,
    reason: String,
}

//! Storage of queued work.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::{Item, Work};
use crate::args;
use crate::db::{Db, DbError, Sql, Tx};

/// Who may report on an item: the worker that has it, in the attempt for which it got it.
pub(super) struct Lease<'a> {
    pub id: i64,
    pub worker: &'a str,
    pub attempts: u32,
}

/// Work that is not tried any more, until an operator replays it.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct DeadLetter {
    pub id: i64,
    pub topic: String,
    pub payload: Value,
    pub attempts: i64,
    pub last_error: Option<String>,
    pub created_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct ClaimedRow {
    id: i64,
    payload: Value,
    attempts: i64,
    created_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Due {
    due: bool,
}

/// How many items there are.
#[derive(sqlx::FromRow)]
pub(super) struct Counted {
    pub pending: i64,
    pub dead: i64,
}

pub(super) async fn insert(tx: &mut Tx, work: &Work, now: DateTime<Utc>) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO queue_items (topic, payload, run_at, created_at) VALUES ($1, $2, $3, $3)",
        args![work.topic, work.payload.clone(), now],
    )
    .await?;
    Ok(())
}

/// `run_at` says from when an item may be claimed; for a leased one that is the end of the lease. So an item whose
/// worker vanished is claimed like any other, when its time has come.
const CLAIM_SQLITE: &str =
    "UPDATE queue_items SET state = 'leased', attempts = attempts + 1, leased_by = $2, run_at = $4
    WHERE id IN (SELECT id FROM queue_items WHERE topic = $1 AND state <> 'dead' AND run_at <= $3
        ORDER BY run_at, id LIMIT $5)
    RETURNING id, payload, attempts, created_at";
/// Materialized, because the planner may run a subquery in IN more than once, and each run would lock other rows.
const CLAIM_POSTGRES: &str = "WITH due AS MATERIALIZED (
        SELECT id FROM queue_items WHERE topic = $1 AND state <> 'dead' AND run_at <= $3
        ORDER BY run_at, id LIMIT $5 FOR UPDATE SKIP LOCKED)
    UPDATE queue_items AS item SET state = 'leased', attempts = item.attempts + 1, leased_by = $2, run_at = $4
    FROM due WHERE item.id = due.id
    RETURNING item.id, item.payload, item.attempts, item.created_at";

/// Claims up to `limit` items that are due, the oldest first.
pub(super) async fn claim(
    db: &Db,
    topic: &'static str,
    worker: &str,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    limit: usize,
) -> Result<Vec<Item>, DbError> {
    // Mostly nothing is due, and a look costs no write transaction.
    let look = "SELECT EXISTS (SELECT 1 FROM queue_items WHERE topic = $1 AND state <> 'dead' AND run_at <= $2) AS due";
    if !db.fetch_one::<Due>(look, args![topic, now]).await?.due {
        return Ok(Vec::new());
    }
    let mut tx = db.begin().await?;
    let claim = tx.by_engine(CLAIM_SQLITE, CLAIM_POSTGRES);
    let mut rows: Vec<ClaimedRow> = tx.fetch_all(claim, args![topic, worker, now, until, limit as i64]).await?;
    tx.commit().await?;
    rows.sort_by_key(|row| row.id);
    Ok(rows.into_iter().map(Item::from).collect())
}

impl From<ClaimedRow> for Item {
    fn from(row: ClaimedRow) -> Self {
        let attempts = u32::try_from(row.attempts).unwrap_or(u32::MAX);
        Self { id: row.id, payload: row.payload, attempts, created_at: row.created_at }
    }
}

/// Removes a finished item and queues what follows from it; `false`, and nothing is changed, when the lease was lost.
pub(super) async fn finish(db: &Db, lease: &Lease<'_>, then: &[Work], now: DateTime<Utc>) -> Result<bool, DbError> {
    let mut tx = db.begin().await?;
    let deleted = tx
        .execute(
            "DELETE FROM queue_items WHERE id = $1 AND leased_by = $2 AND attempts = $3",
            args![lease.id, lease.worker, lease.attempts],
        )
        .await?;
    if deleted == 0 {
        tx.rollback().await?;
        return Ok(false);
    }
    for work in then {
        insert(&mut tx, work, now).await?;
    }
    tx.commit().await?;
    Ok(true)
}

/// Gives an item back, to be claimed from `run_at` on; `false` when the lease was lost.
pub(super) async fn retry(db: &Db, lease: &Lease<'_>, run_at: DateTime<Utc>, reason: &str) -> Result<bool, DbError> {
    let touched = db
        .execute(
            "UPDATE queue_items SET state = 'pending', leased_by = NULL, run_at = $4, last_error = $5
             WHERE id = $1 AND leased_by = $2 AND attempts = $3",
            args![lease.id, lease.worker, lease.attempts, run_at, reason],
        )
        .await?;
    Ok(touched > 0)
}

/// Makes an item a dead letter; `false` when the lease was lost.
pub(super) async fn bury(db: &Db, lease: &Lease<'_>, reason: &str) -> Result<bool, DbError> {
    let touched = db
        .execute(
            "UPDATE queue_items SET state = 'dead', leased_by = NULL, last_error = $4
             WHERE id = $1 AND leased_by = $2 AND attempts = $3",
            args![lease.id, lease.worker, lease.attempts, reason],
        )
        .await?;
    Ok(touched > 0)
}

/// An item as a batch takes it: its payload is text that nobody has parsed yet.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Taken {
    pub id: i64,
    pub payload: String,
    pub attempts: i64,
}

const TAKE_SQLITE: &str = "SELECT id, payload, attempts FROM queue_items
    WHERE topic = $1 AND state <> 'dead' AND run_at <= $2 AND attempts = 0 ORDER BY run_at, id LIMIT $3";
const TAKE_POSTGRES: &str = "SELECT id, payload::text AS payload, attempts FROM queue_items
    WHERE topic = $1 AND state <> 'dead' AND run_at <= $2 AND attempts = 0 ORDER BY run_at, id LIMIT $3
    FOR UPDATE SKIP LOCKED";

/// Items that were never tried, the oldest first; they are this transaction's until it ends.
pub(super) async fn take_fresh(
    tx: &mut Tx,
    topic: &'static str,
    now: DateTime<Utc>,
    limit: usize,
) -> Result<Vec<Taken>, DbError> {
    tx.fetch_all(tx.by_engine(TAKE_SQLITE, TAKE_POSTGRES), args![topic, now, limit as i64]).await
}

const TAKE_RETRIED_SQLITE: &str = "SELECT id, payload, attempts FROM queue_items
    WHERE topic = $1 AND state <> 'dead' AND run_at <= $2 AND attempts > 0 ORDER BY run_at, id LIMIT 1";
const TAKE_RETRIED_POSTGRES: &str = "SELECT id, payload::text AS payload, attempts FROM queue_items
    WHERE topic = $1 AND state <> 'dead' AND run_at <= $2 AND attempts > 0 ORDER BY run_at, id LIMIT 1
    FOR UPDATE SKIP LOCKED";

/// The oldest due item that has failed before.
pub(super) async fn take_retried(
    tx: &mut Tx,
    topic: &'static str,
    now: DateTime<Utc>,
) -> Result<Option<Taken>, DbError> {
    tx.fetch_optional(tx.by_engine(TAKE_RETRIED_SQLITE, TAKE_RETRIED_POSTGRES), args![topic, now]).await
}

const TAKE_ONE_SQLITE: &str = "SELECT id, payload, attempts FROM queue_items WHERE id = $1 AND state <> 'dead'";
const TAKE_ONE_POSTGRES: &str = "SELECT id, payload::text AS payload, attempts FROM queue_items
    WHERE id = $1 AND state <> 'dead' FOR UPDATE SKIP LOCKED";

pub(super) async fn take_one(tx: &mut Tx, id: i64) -> Result<Option<Taken>, DbError> {
    tx.fetch_optional(tx.by_engine(TAKE_ONE_SQLITE, TAKE_ONE_POSTGRES), args![id]).await
}

pub(super) async fn is_due(db: &Db, topic: &'static str, now: DateTime<Utc>) -> Result<bool, DbError> {
    let look = "SELECT EXISTS (SELECT 1 FROM queue_items WHERE topic = $1 AND state <> 'dead' AND run_at <= $2) AS due";
    Ok(db.fetch_one::<Due>(look, args![topic, now]).await?.due)
}

/// Queues payloads in one statement. Each is one JSON value as text; `attempts` is what they have behind them.
pub(super) async fn insert_texts(
    tx: &mut Tx,
    topic: &'static str,
    payloads: &[String],
    attempts: u32,
    error: Option<&str>,
    (now, run_at): (DateTime<Utc>, DateTime<Utc>),
) -> Result<(), DbError> {
    let sql = tx.by_engine(
        "INSERT INTO queue_items (topic, payload, attempts, last_error, run_at, created_at)
         SELECT $1, value, $2, $3, $4, $5 FROM json_each($6)",
        "INSERT INTO queue_items (topic, payload, attempts, last_error, run_at, created_at)
         SELECT $1, value, $2, $3, $4, $5 FROM jsonb_array_elements($6::jsonb)",
    );
    tx.execute(sql, args![topic, attempts, error, run_at, now, format!("[{}]", payloads.join(","))]).await?;
    Ok(())
}

/// Removes finished items.
pub(super) async fn remove(tx: &mut Tx, ids: &[i64]) -> Result<(), DbError> {
    let sql = tx.by_engine(
        "DELETE FROM queue_items WHERE id IN (SELECT value FROM json_each($1))",
        "DELETE FROM queue_items WHERE id IN (SELECT value::bigint FROM jsonb_array_elements_text($1))",
    );
    tx.execute(sql, args![Value::from(ids)]).await?;
    Ok(())
}

/// Writes down that a taken item has failed: again at `run_at`, or never where there is none.
pub(super) async fn failed(
    tx: &mut Tx,
    id: i64,
    run_at: Option<DateTime<Utc>>,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let sql = "UPDATE queue_items SET state = CASE WHEN $2 THEN 'dead' ELSE 'pending' END, attempts = attempts + 1,
        run_at = $3, last_error = $4, leased_by = NULL WHERE id = $1";
    tx.execute(sql, args![id, run_at.is_none(), run_at.unwrap_or(now), reason]).await?;
    Ok(())
}

pub(super) async fn find_dead(db: &Db, id: i64) -> Result<Option<DeadLetter>, DbError> {
    let sql = "SELECT id, topic, payload, attempts, last_error, created_at FROM queue_items
        WHERE id = $1 AND state = 'dead'";
    db.fetch_optional(sql, args![id]).await
}

pub(super) async fn list_dead(
    db: &Db,
    topic: Option<&str>,
    after_id: i64,
    limit: u32,
) -> Result<Vec<DeadLetter>, DbError> {
    let sql = Sql::new("SELECT id, topic, payload, attempts, last_error, created_at FROM queue_items")
        .filter("state = 'dead' AND id > ?", after_id)
        .filter_some("topic = ?", topic)
        .push(" ORDER BY id LIMIT ")
        .bind(limit);
    db.fetch_built(sql).await
}

pub(super) async fn replay(db: &Db, id: i64, now: DateTime<Utc>) -> Result<bool, DbError> {
    let touched = db
        .execute(
            "UPDATE queue_items SET state = 'pending', attempts = 0, run_at = $2 WHERE id = $1 AND state = 'dead'",
            args![id, now],
        )
        .await?;
    Ok(touched > 0)
}

pub(super) async fn discard(db: &Db, id: i64) -> Result<bool, DbError> {
    Ok(db.execute("DELETE FROM queue_items WHERE id = $1 AND state = 'dead'", args![id]).await? > 0)
}

pub(super) async fn count(db: &Db, topic: &'static str) -> Result<Counted, DbError> {
    let sql = "SELECT COUNT(CASE WHEN state <> 'dead' THEN 1 END) AS pending,
        COUNT(CASE WHEN state = 'dead' THEN 1 END) AS dead FROM queue_items WHERE topic = $1";
    db.fetch_one(sql, args![topic]).await
}

/// An entry of a journal in a file of its own.
#[derive(sqlx::FromRow)]
pub(super) struct Entry {
    pub id: i64,
    pub payload: String,
}

/// Makes the table, apart from the migrations: the file holds nothing else. Answers how many entries wait.
pub(super) async fn open_journal(db: &Db) -> Result<i64, DbError> {
    let sql = "CREATE TABLE IF NOT EXISTS journal (id INTEGER PRIMARY KEY AUTOINCREMENT, payload TEXT NOT NULL)";
    db.execute(sql, args![]).await?;
    let counted = db.fetch_one::<Counted>("SELECT count(*) AS pending, 0 AS dead FROM journal", args![]).await?;
    Ok(counted.pending)
}

pub(super) async fn append(tx: &mut Tx, payload: String) -> Result<(), DbError> {
    tx.execute("INSERT INTO journal (payload) VALUES ($1)", args![payload]).await?;
    Ok(())
}

pub(super) async fn first_entries(db: &Db, most: usize) -> Result<Vec<Entry>, DbError> {
    db.fetch_all("SELECT id, payload FROM journal ORDER BY id LIMIT $1", args![most as i64]).await
}

/// One process reads, in order: whatever comes before the last one has been read with it.
pub(super) async fn forget_entries(db: &Db, last: i64) -> Result<(), DbError> {
    db.execute("DELETE FROM journal WHERE id <= $1", args![last]).await?;
    Ok(())
}

//! Figures of job matching; every statement runs on both engines.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::args;
use crate::db::{Db, DbError, Sql};
use crate::feeds::matching::totals_sql::Totals;

#[derive(Debug, Serialize, sqlx::FromRow)]
pub struct BatchFigures {
    pub batch_type: String,
    pub state: String,
    pub batches: i64,
    pub processed: i64,
    pub failed: i64,
}

#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct MatchFigures {
    pub batch_id: i64,
    pub users: i64,
    pub matches: i64,
    pub mean_best_score: Option<f64>,
}

#[derive(Debug, Serialize, sqlx::FromRow)]
pub struct QueueDepth {
    pub topic: String,
    pub state: String,
    pub items: i64,
}

#[derive(Debug, Serialize)]
pub struct Counts {
    pub active_jobs: i64,
    pub active_users: i64,
    pub mails_queued: i64,
    pub mails_sent: i64,
    pub mails_bounced: i64,
}

pub async fn batches(db: &Db) -> Result<Vec<BatchFigures>, DbError> {
    let sql = "SELECT batch_type, state, count(*) AS batches, CAST(sum(processed) AS BIGINT) AS processed, \
               CAST(sum(failed) AS BIGINT) AS failed FROM batches GROUP BY batch_type, state ORDER BY batch_type, state";
    db.fetch_all(sql, args![]).await
}

/// A batch that matched users, and when it ended.
#[derive(sqlx::FromRow)]
pub struct Matched {
    pub id: i64,
    pub finished_at: Option<DateTime<Utc>>,
}

/// The last ten batches that matched users, the latest first.
pub async fn matched(db: &Db) -> Result<Vec<Matched>, DbError> {
    let sql = "SELECT id, finished_at FROM batches WHERE batch_type = 'daily_matching' ORDER BY id DESC LIMIT 10";
    db.fetch_all(sql, args![]).await
}

/// What a batch came to so far; nothing when it has found nothing.
pub async fn matches(db: &Db, batch_id: i64) -> Result<Option<MatchFigures>, DbError> {
    let sql = "SELECT batch_id, count(*) AS users, CAST(sum(match_count) AS BIGINT) AS matches, \
               avg(best_score) AS mean_best_score FROM recommendations WHERE batch_id = $1 GROUP BY batch_id";
    db.fetch_optional(sql, args![batch_id]).await
}

pub async fn queues(db: &Db) -> Result<Vec<QueueDepth>, DbError> {
    let sql = "SELECT topic, state, count(*) AS items FROM queue_items GROUP BY topic, state ORDER BY topic, state";
    db.fetch_all(sql, args![]).await
}

pub async fn counts(db: &Db, totals: &Totals) -> Result<Counts, DbError> {
    let of = |rows: &'static str| totals.of(db, Sql::new(rows));
    Ok(Counts {
        active_jobs: of("SELECT 1 FROM jobs WHERE status = 'active'").await?,
        active_users: of("SELECT 1 FROM users WHERE status = 'active'").await?,
        mails_queued: of("SELECT 1 FROM match_emails WHERE state = 'queued'").await?,
        mails_sent: of("SELECT 1 FROM match_emails WHERE state = 'sent'").await?,
        mails_bounced: of("SELECT 1 FROM match_emails WHERE state = 'bounced'").await?,
    })
}

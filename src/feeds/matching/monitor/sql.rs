//! Figures of job matching; every statement runs on both engines.

use serde::Serialize;

use crate::args;
use crate::db::{Db, DbError};

#[derive(Debug, Serialize, sqlx::FromRow)]
pub struct BatchFigures {
    pub batch_type: String,
    pub state: String,
    pub batches: i64,
    pub processed: i64,
    pub failed: i64,
}

#[derive(Debug, Serialize, sqlx::FromRow)]
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

#[derive(Debug, Serialize, sqlx::FromRow)]
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

/// Of the last ten batches that matched somebody.
pub async fn matches(db: &Db) -> Result<Vec<MatchFigures>, DbError> {
    let sql = "SELECT batch_id, count(*) AS users, CAST(sum(match_count) AS BIGINT) AS matches, \
               avg(best_score) AS mean_best_score FROM recommendations GROUP BY batch_id ORDER BY batch_id DESC LIMIT 10";
    db.fetch_all(sql, args![]).await
}

pub async fn queues(db: &Db) -> Result<Vec<QueueDepth>, DbError> {
    let sql = "SELECT topic, state, count(*) AS items FROM queue_items GROUP BY topic, state ORDER BY topic, state";
    db.fetch_all(sql, args![]).await
}

pub async fn counts(db: &Db) -> Result<Counts, DbError> {
    let sql = "SELECT (SELECT count(*) FROM jobs WHERE status = 'active') AS active_jobs, \
               (SELECT count(*) FROM users WHERE status = 'active') AS active_users, \
               (SELECT count(*) FROM match_emails WHERE state = 'queued') AS mails_queued, \
               (SELECT count(*) FROM match_emails WHERE state = 'sent') AS mails_sent, \
               (SELECT count(*) FROM match_emails WHERE state = 'bounced') AS mails_bounced";
    db.fetch_one(sql, args![]).await
}

//! Reading what the engine needs, and storing what it chose; every statement runs on both engines.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::Chosen;
use crate::args;
use crate::db::{Db, DbError, Tx};
use crate::feeds::body::utc;

/// Of a job, what the engine looks at.
#[derive(sqlx::FromRow)]
pub struct JobRow {
    pub id: i64,
    pub company_name: String,
    pub occupation_category: String,
    pub prefecture: Option<String>,
    pub city: Option<String>,
    pub geo_x: Option<i64>,
    pub geo_y: Option<i64>,
    pub geo_z: Option<i64>,
    pub basic_score: i64,
    pub seo_score: i64,
    pub personalized_score: f64,
    pub salary: Option<i64>,
    pub needs_categories: Value,
    pub work_days: Option<String>,
    pub work_hours: Option<String>,
    pub created_at: DateTime<Utc>,
}

macro_rules! select {
    ($where:literal) => {
        concat!(
            "SELECT id, company_name, occupation_category, prefecture, city, geo_x, geo_y, geo_z, basic_score, \
             seo_score, personalized_score, coalesce(salary_max, salary_min) AS salary, needs_categories, work_days, \
             work_hours, created_at FROM jobs WHERE ",
            $where
        )
    };
}

/// Jobs that are open at `at`.
pub async fn jobs(db: &Db, at: DateTime<Utc>) -> Result<Vec<JobRow>, DbError> {
    let sql = select!("status = 'active' AND created_at <= $1 AND (expires_at IS NULL OR expires_at > $1)");
    db.fetch_all(sql, args![at]).await
}

pub async fn job(db: &Db, id: i64) -> Result<Option<JobRow>, DbError> {
    db.fetch_optional(select!("status <> 'deleted' AND id = $1"), args![id]).await
}

#[derive(sqlx::FromRow)]
pub struct Needs {
    pub needs: Value,
}

/// What each active user wants, to learn which needs count most.
pub async fn needs(db: &Db) -> Result<Vec<Needs>, DbError> {
    let sql = "SELECT work_preferences->'needs_categories' AS needs FROM user_profiles JOIN users ON id = user_id \
               WHERE status = 'active' ORDER BY id";
    db.fetch_all(sql, args![]).await
}

/// Something done, and the occupation of the job that it was done with.
#[derive(sqlx::FromRow)]
pub struct Done {
    pub user_id: i64,
    pub job_id: i64,
    pub occupation_category: String,
    pub action: String,
    pub at: DateTime<Utc>,
}

/// What a range of users did in the 90 days before `at`, by user and time.
pub async fn done(db: &Db, first_id: i64, last_id: i64, at: DateTime<Utc>) -> Result<Vec<Done>, DbError> {
    let sql = "SELECT logs.user_id, logs.job_id, jobs.occupation_category, logs.action, logs.at \
               FROM user_behavior_logs AS logs JOIN jobs ON jobs.id = logs.job_id \
               WHERE logs.user_id BETWEEN $1 AND $2 AND logs.at > $3 AND logs.at <= $4 \
               ORDER BY logs.user_id, logs.at, logs.id";
    db.fetch_all(sql, args![first_id, last_id, at - TimeDelta::days(90), at]).await
}

/// The best jobs of one user from one batch.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Recommendation {
    pub batch_id: i64,
    pub user_id: i64,
    #[schema(value_type = Vec<Object>)]
    pub matches: Value,
    pub match_count: i64,
    pub best_score: f64,
    #[serde(serialize_with = "utc::serialize")]
    pub created_at: DateTime<Utc>,
}

pub async fn insert(tx: &mut Tx, batch_id: i64, chosen: &[Chosen], now: DateTime<Utc>) -> Result<(), DbError> {
    let rows = chosen.iter().map(|one| {
        let best = one.matches.iter().map(|found| found.combined).max().unwrap_or_default();
        json!({"user_id": one.user_id, "matches": super::shown(&one.matches), "count": one.matches.len(),
            "best": f64::from(best) / 1000.0})
    });
    let sql = tx.by_engine(
        "INSERT INTO recommendations (batch_id, user_id, matches, match_count, best_score, created_at) SELECT $2, \
         value->>'user_id', value->'matches', value->>'count', value->>'best', $3 FROM json_each($1) WHERE true",
        "INSERT INTO recommendations (batch_id, user_id, matches, match_count, best_score, created_at) \
         SELECT $2, user_id, matches, count, best, $3 FROM jsonb_to_recordset($1) \
         AS given(user_id BIGINT, matches JSONB, count BIGINT, best DOUBLE PRECISION)",
    );
    tx.execute(sql, args![Value::Array(rows.collect()), batch_id, now]).await?;
    Ok(())
}

pub async fn latest(db: &Db, user_id: i64) -> Result<Option<Recommendation>, DbError> {
    let sql = "SELECT batch_id, user_id, matches, match_count, best_score, created_at FROM recommendations \
               WHERE user_id = $1 ORDER BY batch_id DESC LIMIT 1";
    db.fetch_optional(sql, args![user_id]).await
}

/// The latest of each user of a range who wants mail.
pub async fn latest_of(db: &Db, first_id: i64, last_id: i64) -> Result<Vec<Recommendation>, DbError> {
    let sql = "SELECT batch_id, user_id, matches, match_count, best_score, created_at FROM recommendations AS these \
               WHERE user_id BETWEEN $1 AND $2 AND NOT EXISTS (SELECT 1 FROM recommendations AS later \
               WHERE later.user_id = these.user_id AND later.batch_id > these.batch_id) ORDER BY user_id";
    db.fetch_all(sql, args![first_id, last_id]).await
}

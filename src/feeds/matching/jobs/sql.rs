//! Storage of jobs; every statement runs on both engines.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::search::Narrowing;
use super::{NewJob, score};
use crate::args;
use crate::db::{Db, DbError, Sql, Tx};
use crate::feeds::body::utc;
use crate::feeds::matching::fold::{fold, terms};
use crate::feeds::matching::place::Point;
use crate::feeds::matching::totals_sql::Totals;
use crate::feeds::page::PageRequest;

/// A job as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Job {
    pub id: i64,
    pub external_id: String,
    pub company_name: String,
    pub title: String,
    pub description: String,
    /// Yen.
    pub salary_min: Option<i64>,
    pub salary_max: Option<i64>,
    pub location: Option<String>,
    pub prefecture: Option<String>,
    pub city: Option<String>,
    pub nearest_station: Option<String>,
    pub latitude: Option<f64>,
    pub longitude: Option<f64>,
    pub work_hours: Option<String>,
    pub work_days: Option<String>,
    #[schema(value_type = Vec<String>)]
    pub features: Value,
    pub occupation_category: String,
    #[schema(value_type = Vec<String>)]
    pub needs_categories: Value,
    pub basic_score: i64,
    pub seo_score: i64,
    pub personalized_score: f64,
    pub combined_score: f64,
    pub status: String,
    pub url: Option<String>,
    pub application_url: Option<String>,
    #[serde(serialize_with = "utc::serialize")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "utc::serialize")]
    pub updated_at: DateTime<Utc>,
    #[serde(serialize_with = "utc::optional::serialize")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// The columns of [`Job`].
macro_rules! columns {
    () => {
        "id, external_id, company_name, title, description, salary_min, salary_max, location, prefecture, city, \
         nearest_station, latitude, longitude, work_hours, work_days, features, occupation_category, \
         needs_categories, basic_score, seo_score, personalized_score, combined_score, status, url, application_url, \
         created_at, updated_at, expires_at"
    };
}

/// The columns that a write sets from its JSON, in order.
macro_rules! written {
    () => {
        "external_id, company_name, title, description, salary_min, salary_max, location, prefecture, city, \
         nearest_station, latitude, longitude, work_hours, work_days, features, occupation_category, \
         needs_categories, status, url, application_url, expires_at, search_text, search_terms, geo_x, geo_y, geo_z"
    };
}

/// The same, read from a JSON object. Lists stay JSON, all else becomes plain values.
macro_rules! of_json {
    (sqlite) => {
        "value->>'external_id', value->>'company_name', value->>'title', value->>'description', \
         value->>'salary_min', value->>'salary_max', value->>'location', value->>'prefecture', value->>'city', \
         value->>'nearest_station', value->>'latitude', value->>'longitude', value->>'work_hours', \
         value->>'work_days', value->'features', value->>'occupation_category', value->'needs_categories', \
         value->>'status', value->>'url', value->>'application_url', value->>'expires_at', value->>'search_text', \
         value->>'search_terms', value->>'geo_x', value->>'geo_y', value->>'geo_z'"
    };
    (postgres) => {
        "jsonb_to_recordset($1) AS given(external_id TEXT, company_name TEXT, title TEXT, description TEXT, \
         salary_min BIGINT, salary_max BIGINT, location TEXT, prefecture TEXT, city TEXT, nearest_station TEXT, \
         latitude DOUBLE PRECISION, longitude DOUBLE PRECISION, work_hours TEXT, work_days TEXT, features JSONB, \
         occupation_category TEXT, needs_categories JSONB, status TEXT, url TEXT, application_url TEXT, \
         expires_at TIMESTAMPTZ, search_text TEXT, search_terms TEXT, geo_x BIGINT, geo_y BIGINT, geo_z BIGINT)"
    };
}

/// A checked job with everything that is derived for its row. Times as the driver writes them, since SQLite compares text.
fn row(job: &NewJob) -> Value {
    let lists = [&job.features, &job.needs_categories].map(|list| list.join(" "));
    let words = [Some(&job.title), Some(&job.company_name), job.location.as_ref(), job.prefecture.as_ref()]
        .into_iter()
        .chain([job.city.as_ref(), job.nearest_station.as_ref(), Some(&lists[0]), Some(&lists[1])])
        .chain([Some(&job.description)])
        .flatten();
    let text = fold(&words.map(String::as_str).collect::<Vec<_>>().join("\n"));
    let point = job.latitude.zip(job.longitude).map(|(lat, lon)| Point::new(lat, lon));
    let mut row = json!(job);
    row["expires_at"] = json!(job.expires_at.map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, false)));
    row["search_terms"] = json!(terms(&text));
    row["search_text"] = json!(text);
    for (name, metres) in [("geo_x", point.map(|p| p.x)), ("geo_y", point.map(|p| p.y)), ("geo_z", point.map(|p| p.z))]
    {
        row[name] = json!(metres);
    }
    row
}

/// Inserts those whose external id is new, in their order; answers them. The rest is left out, so compare.
pub async fn insert(tx: &mut Tx, jobs: &[NewJob], now: DateTime<Utc>) -> Result<Vec<Job>, DbError> {
    let sql = tx.by_engine(
        concat!(
            "INSERT INTO jobs (",
            written!(),
            ", created_at, updated_at) SELECT ",
            of_json!(sqlite),
            ", $2, $2 FROM json_each($1) WHERE true ORDER BY key ON CONFLICT (external_id) DO NOTHING RETURNING ",
            columns!()
        ),
        concat!(
            "INSERT INTO jobs (",
            written!(),
            ", created_at, updated_at) SELECT ",
            written!(),
            ", $2, $2 FROM ",
            of_json!(postgres),
            " ON CONFLICT (external_id) DO NOTHING RETURNING ",
            columns!()
        ),
    );
    tx.fetch_all(sql, args![Value::Array(jobs.iter().map(row).collect()), now]).await
}

/// Writes all columns but the scores; answers the stored row.
pub async fn update(tx: &mut Tx, id: i64, job: &NewJob, now: DateTime<Utc>) -> Result<Job, DbError> {
    let sql = tx.by_engine(
        concat!(
            "UPDATE jobs SET (",
            written!(),
            ") = (SELECT ",
            of_json!(sqlite),
            " FROM json_each($1)), updated_at = $2 WHERE id = $3 RETURNING ",
            columns!()
        ),
        concat!(
            "UPDATE jobs SET (",
            written!(),
            ") = (SELECT ",
            written!(),
            " FROM ",
            of_json!(postgres),
            "), updated_at = $2 WHERE id = $3 RETURNING ",
            columns!()
        ),
    );
    tx.fetch_one(sql, args![Value::Array(vec![row(job)]), now, id]).await
}

pub async fn find(db: &Db, id: i64) -> Result<Option<Job>, DbError> {
    let sql = concat!("SELECT ", columns!(), " FROM jobs WHERE id = $1 AND status <> 'deleted'");
    db.fetch_optional(sql, args![id]).await
}

/// The row, held against other writers until the transaction ends. SQLite has one writer anyway.
pub async fn lock(tx: &mut Tx, id: i64) -> Result<Option<Job>, DbError> {
    let sql = tx.by_engine(
        concat!("SELECT ", columns!(), " FROM jobs WHERE id = $1 AND status <> 'deleted'"),
        concat!("SELECT ", columns!(), " FROM jobs WHERE id = $1 AND status <> 'deleted' FOR UPDATE"),
    );
    tx.fetch_optional(sql, args![id]).await
}

/// Soft: the row stays, nobody sees it. `false` when there was none.
pub async fn delete(db: &Db, id: i64, now: DateTime<Utc>) -> Result<bool, DbError> {
    let sql = "UPDATE jobs SET status = 'deleted', updated_at = $2 WHERE id = $1 AND status <> 'deleted'";
    Ok(db.execute(sql, args![id, now]).await? > 0)
}

/// Jobs of a range of ids, in order.
pub async fn range(db: &Db, first_id: i64, last_id: i64) -> Result<Vec<Job>, DbError> {
    let sql =
        concat!("SELECT ", columns!(), " FROM jobs WHERE id BETWEEN $1 AND $2 AND status <> 'deleted' ORDER BY id");
    db.fetch_all(sql, args![first_id, last_id]).await
}

/// Those of `ids` that are there, in order.
pub async fn some(db: &Db, ids: &[i64]) -> Result<Vec<Job>, DbError> {
    let sql = db.by_engine(
        concat!(
            "SELECT ",
            columns!(),
            " FROM jobs WHERE id IN (SELECT value FROM json_each($1)) AND status <> 'deleted' ORDER BY id"
        ),
        concat!(
            "SELECT ",
            columns!(),
            " FROM jobs WHERE id IN (SELECT jsonb_array_elements_text($1)::BIGINT) AND status <> 'deleted' ORDER BY id"
        ),
    );
    db.fetch_all(sql, args![json!(ids)]).await
}

#[derive(sqlx::FromRow)]
struct Weight {
    job_id: i64,
    weight: f64,
}

/// The weight of behavior for a range of jobs: actions since `since`, halved every 14 days. PostgreSQL and SQLite
/// compute powers differently, so actions are summed by whole days and weighed here.
pub async fn weights(db: &Db, first_id: i64, last_id: i64, now: DateTime<Utc>) -> Result<Vec<(i64, f64)>, DbError> {
    let sql = db.by_engine(
        "SELECT job_id, CAST(julianday($3) - julianday(at) AS INTEGER) AS days, action, count(*) AS actions \
         FROM user_behavior_logs WHERE job_id BETWEEN $1 AND $2 AND at >= $4 AND at <= $3 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        "SELECT job_id, CAST(floor(extract(epoch FROM $3 - at) / 86400) AS BIGINT) AS days, action, count(*) AS actions \
         FROM user_behavior_logs WHERE job_id BETWEEN $1 AND $2 AND at >= $4 AND at <= $3 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    );
    let since = now - chrono::TimeDelta::days(90);
    let actions: Vec<Actions> = db.fetch_all(sql, args![first_id, last_id, now, since]).await?;
    let mut weights: Vec<Weight> = Vec::new();
    for row in actions {
        let weight = super::action_weight(&row.action) * row.actions as f64 * 0.5_f64.powf(row.days as f64 / 14.0);
        match weights.last_mut() {
            Some(last) if last.job_id == row.job_id => last.weight += weight,
            _ => weights.push(Weight { job_id: row.job_id, weight }),
        }
    }
    Ok(weights.into_iter().map(|row| (row.job_id, row.weight)).collect())
}

#[derive(sqlx::FromRow)]
struct Actions {
    job_id: i64,
    days: i64,
    action: String,
    actions: i64,
}

/// New scores of several jobs at once. Rows whose scores are the same already are not written: a row is in two dozen indexes.
pub async fn set_scores(tx: &mut Tx, scores: &[(i64, i64, i64, f64)]) -> Result<(), DbError> {
    let rows = scores.iter().map(|(id, basic, seo, personalized)| {
        let combined = score::combined(*basic, *seo, *personalized);
        json!({"id": id, "basic": basic, "seo": seo, "personalized": personalized, "combined": combined})
    });
    let sql = tx.by_engine(
        "UPDATE jobs SET basic_score = given.value->>'basic', seo_score = given.value->>'seo', \
         personalized_score = given.value->>'personalized', combined_score = given.value->>'combined' \
         FROM json_each($1) AS given WHERE jobs.id = given.value->>'id' AND (basic_score, seo_score, \
         personalized_score) IS NOT (given.value->>'basic', given.value->>'seo', given.value->>'personalized')",
        "UPDATE jobs SET basic_score = given.basic, seo_score = given.seo, personalized_score = given.personalized, \
         combined_score = given.combined FROM jsonb_to_recordset($1) \
         AS given(id BIGINT, basic BIGINT, seo BIGINT, personalized DOUBLE PRECISION, combined DOUBLE PRECISION) \
         WHERE jobs.id = given.id AND (basic_score, seo_score, personalized_score) IS DISTINCT FROM \
         (given.basic, given.seo, given.personalized)",
    );
    tx.execute(sql, args![Value::Array(rows.collect())]).await?;
    Ok(())
}

/// A search counts no further.
const COUNTED: i64 = 1_000;
/// Rows that are looked at in the order's own index before all hits are collected and sorted.
const WALKED: i64 = 5_000;

/// One page, and how many jobs there are in all.
pub async fn list(db: &Db, totals: &Totals, query: &Narrowing, page: PageRequest) -> Result<(Vec<Job>, i64), DbError> {
    let narrowed = query.narrow(db, Sql::new("SELECT 1 FROM jobs"));
    let total = if query.is_search() {
        // A common word has most jobs.
        totals.up_to(db, narrowed, COUNTED).await?
    } else {
        totals.of(db, narrowed).await?
    };
    let wanted = page.offset() + page.limit;
    if let Some(nearer) = query.nearer(wanted, total) {
        let jobs = hits(db, &nearer, page).await?;
        if jobs.len() as i64 == page.limit {
            return Ok((jobs, total));
        }
    }
    let compared = query.is_search() || query.location.is_some();
    if compared && total >= COUNTED && wanted <= COUNTED && !query.by_distance() {
        let jobs = walk(db, query, page).await?;
        if jobs.len() as i64 == page.limit {
            return Ok((jobs, total));
        }
    }
    Ok((hits(db, query, page).await?, total))
}

/// A page of all hits.
async fn hits(db: &Db, query: &Narrowing, page: PageRequest) -> Result<Vec<Job>, DbError> {
    let select = query.narrow(db, Sql::new(concat!("SELECT ", columns!(), " FROM jobs")));
    let select = query.order(select).push(" LIMIT ").bind(page.limit);
    db.fetch_built(select.push(" OFFSET ").bind(page.offset())).await
}

/// Of what many jobs have, a page is found among the first jobs of the order: a full page is the same as that of all hits.
/// The planner does not do so by itself, as it takes words for independent and hits for few.
async fn walk(db: &Db, query: &Narrowing, page: PageRequest) -> Result<Vec<Job>, DbError> {
    let first = Sql::new(concat!("SELECT ", columns!(), " FROM (SELECT * FROM jobs"));
    let first = match query.status {
        Some(status) => first.filter("status = ?", status),
        None => first.filter_by("status <> 'deleted'"),
    };
    let first = query.order(first).push(" LIMIT ").bind(WALKED).push(") AS jobs WHERE true");
    let select = query.order(query.compare(db, first)).push(" LIMIT ").bind(page.limit);
    db.fetch_built(select.push(" OFFSET ").bind(page.offset())).await
}

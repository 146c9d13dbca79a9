//! Storage of users, their profiles and what they did; every statement runs on both engines.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::{NewUser, Profile};
use crate::args;
use crate::db::{Db, DbError, Sql, Tx};
use crate::feeds::body::utc;
use crate::feeds::matching::totals_sql::Totals;
use crate::feeds::page::PageRequest;

/// A user as stored, with the profile. The unsubscribe token stays inside.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct User {
    pub id: i64,
    pub external_id: String,
    pub email: String,
    pub name: String,
    pub language: String,
    pub prefecture: Option<String>,
    pub city: Option<String>,
    pub latitude: Option<f64>,
    pub longitude: Option<f64>,
    pub status: String,
    pub email_opt_in: bool,
    #[serde(skip)]
    pub unsubscribe_token: String,
    #[serde(serialize_with = "utc::optional::serialize")]
    pub bounced_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "utc::serialize")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "utc::serialize")]
    pub updated_at: DateTime<Utc>,
    #[schema(value_type = super::WorkPreferences)]
    pub work_preferences: Value,
    #[schema(value_type = super::Experience)]
    pub experience: Value,
    #[schema(value_type = Object)]
    pub personal_info: Value,
}

impl User {
    pub fn profile(&self) -> Profile {
        Profile {
            work_preferences: serde_json::from_value(self.work_preferences.clone()).unwrap_or_default(),
            experience: serde_json::from_value(self.experience.clone()).unwrap_or_default(),
            personal_info: serde_json::from_value(self.personal_info.clone()).unwrap_or_default(),
        }
    }
}

/// Something that a user did with a job.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Behavior {
    pub id: i64,
    pub user_id: i64,
    pub job_id: i64,
    pub action: String,
    #[serde(serialize_with = "utc::serialize")]
    pub at: DateTime<Utc>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, external_id, email, name, language, prefecture, city, latitude, longitude, status, \
             email_opt_in, unsubscribe_token, bounced_at, created_at, users.updated_at AS updated_at, \
             work_preferences, experience, personal_info FROM users JOIN user_profiles ON user_id = id",
            $rest
        )
    };
}

macro_rules! columns {
    () => {
        "external_id, email, name, language, prefecture, city, latitude, longitude, status, email_opt_in, \
         unsubscribe_token"
    };
}

fn row(user: &NewUser) -> Value {
    let mut row = json!(user);
    row["unsubscribe_token"] = json!(uuid::Uuid::new_v4().to_string());
    row
}

#[derive(sqlx::FromRow)]
pub(in crate::feeds::matching) struct Inserted {
    pub id: i64,
    pub external_id: String,
    pub email: String,
}

/// Inserts those whose external id and address are new; answers them. The rest is left out, so compare.
pub async fn insert(tx: &mut Tx, users: &[NewUser], now: DateTime<Utc>) -> Result<Vec<Inserted>, DbError> {
    let rows: Value = users.iter().map(row).collect();
    let sql = tx.by_engine(
        concat!(
            "INSERT INTO users (",
            columns!(),
            ", created_at, updated_at) SELECT value->>'external_id', value->>'email', value->>'name', \
             value->>'language', value->>'prefecture', value->>'city', value->>'latitude', value->>'longitude', \
             value->>'status', value->>'email_opt_in', value->>'unsubscribe_token', $2, $2 FROM json_each($1) \
             WHERE true ORDER BY key ON CONFLICT DO NOTHING RETURNING id, external_id, email"
        ),
        concat!(
            "INSERT INTO users (",
            columns!(),
            ", created_at, updated_at) SELECT ",
            columns!(),
            ", $2, $2 FROM jsonb_to_recordset($1) AS given(external_id TEXT, email TEXT, name TEXT, language TEXT, \
             prefecture TEXT, city TEXT, latitude DOUBLE PRECISION, longitude DOUBLE PRECISION, status TEXT, \
             email_opt_in BOOLEAN, unsubscribe_token TEXT) ON CONFLICT DO NOTHING RETURNING id, external_id, email"
        ),
    );
    let inserted: Vec<Inserted> = tx.fetch_all(sql, args![rows, now]).await?;
    // By id: a join would read all users, because the planner takes the rows of a JSON list for many.
    let mut ids: HashMap<_, _> = inserted.iter().map(|one| ((&one.external_id, &one.email), one.id)).collect();
    let stored = users.iter().filter_map(|user| {
        let id = ids.remove(&(user.external_id.as_ref()?, &user.email))?;
        Some(json!({"id": id, "profile": user.profile}))
    });
    let rows: Value = stored.collect();
    let sql = tx.by_engine(
        "INSERT INTO user_profiles (user_id, work_preferences, experience, personal_info, updated_at) \
         SELECT value->>'id', value->'profile'->'work_preferences', value->'profile'->'experience', \
         value->'profile'->'personal_info', $2 FROM json_each($1)",
        "INSERT INTO user_profiles (user_id, work_preferences, experience, personal_info, updated_at) \
         SELECT id, profile->'work_preferences', profile->'experience', profile->'personal_info', $2 \
         FROM jsonb_to_recordset($1) AS given(id BIGINT, profile JSONB)",
    );
    tx.execute(sql, args![rows, now]).await?;
    Ok(inserted)
}

pub async fn update(tx: &mut Tx, id: i64, user: &NewUser, now: DateTime<Utc>) -> Result<(), DbError> {
    let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
    // A new address has not bounced.
    let sql = "UPDATE users SET external_id = $1, name = $3, language = $4, prefecture = $5, city = $6, latitude = $7, \
               longitude = $8, status = $9, email_opt_in = $10, updated_at = $11, \
               bounced_at = CASE WHEN email = $2 THEN bounced_at END, email = $2 WHERE id = $12";
    tx.execute(
        sql,
        args![
            user.external_id.clone(),
            &user.email,
            &user.name,
            text(json!(user.language)),
            user.prefecture.clone(),
            user.city.clone(),
            user.latitude,
            user.longitude,
            text(json!(user.status)),
            user.email_opt_in,
            now,
            id
        ],
    )
    .await?;
    set_profile(tx, id, &user.profile, now).await
}

async fn set_profile(tx: &mut Tx, id: i64, profile: &Profile, now: DateTime<Utc>) -> Result<(), DbError> {
    let sql = "UPDATE user_profiles SET work_preferences = $1, experience = $2, personal_info = $3, updated_at = $4 \
               WHERE user_id = $5";
    let Profile { work_preferences, experience, personal_info } = profile;
    tx.execute(sql, args![json!(work_preferences), json!(experience), json!(personal_info), now, id]).await?;
    Ok(())
}

pub async fn find(db: &Db, id: i64) -> Result<Option<User>, DbError> {
    db.fetch_optional(select!(" WHERE id = $1 AND status <> 'deleted'"), args![id]).await
}

pub async fn lock(tx: &mut Tx, id: i64) -> Result<Option<User>, DbError> {
    let sql = tx.by_engine(
        select!(" WHERE id = $1 AND status <> 'deleted'"),
        select!(" WHERE id = $1 AND status <> 'deleted' FOR UPDATE OF users"),
    );
    tx.fetch_optional(sql, args![id]).await
}

/// Active users of a range of ids, in order.
pub async fn range(db: &Db, first_id: i64, last_id: i64) -> Result<Vec<User>, DbError> {
    let sql = select!(" WHERE id BETWEEN $1 AND $2 AND status = 'active' ORDER BY id");
    db.fetch_all(sql, args![first_id, last_id]).await
}

/// Soft: the row stays for what refers to it, and what is personal goes. `false` when there was none.
pub async fn delete(tx: &mut Tx, id: i64, now: DateTime<Utc>) -> Result<bool, DbError> {
    let sql = "UPDATE users SET status = 'deleted', email = 'deleted-' || id, name = '', email_opt_in = FALSE, \
               city = NULL, latitude = NULL, longitude = NULL, updated_at = $2 WHERE id = $1 AND status <> 'deleted'";
    let found = tx.execute(sql, args![id, now]).await? > 0;
    if found {
        set_profile(tx, id, &Profile::default(), now).await?;
    }
    Ok(found)
}

#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    pub keyword: Option<String>,
    pub prefecture: Option<String>,
    pub status: Option<&'static str>,
    pub sort_by: SortBy,
    pub descending: bool,
}

#[derive(Clone, Copy, Debug, Default, serde::Deserialize, utoipa::ToSchema)]
#[schema(as = UserSort)]
#[serde(rename_all = "snake_case")]
pub enum SortBy {
    #[default]
    Id,
    Name,
    Email,
    CreatedAt,
    UpdatedAt,
}

pub async fn list(db: &Db, totals: &Totals, query: &ListQuery, page: PageRequest) -> Result<(Vec<User>, i64), DbError> {
    let keyword = query.keyword.as_deref().map(str::to_lowercase);
    // Whatever contains the keyword has its bigrams: the index leaves few to compare.
    let indexed = keyword.clone().filter(|text| db.engine() == "postgres" && text.chars().count() > 1);
    let narrowed = |sql: Sql| {
        let sql = match query.status {
            Some(status) => sql.filter("status = ?", status),
            None => sql.filter_by("status <> 'deleted'"),
        };
        let sql = sql.filter_some("prefecture = ?", query.prefecture.as_deref()).filter_some(
            db.by_engine(
                "(instr(lower(name), ?) > 0 OR instr(email, ?) > 0)",
                "(strpos(lower(name), ?) > 0 OR strpos(email, ?) > 0)",
            ),
            keyword.clone(),
        );
        sql.filter_some("user_terms(lower(name) || ' ' || email) @> user_terms(?)", indexed.clone())
    };
    let total = totals.of(db, narrowed(Sql::new("SELECT 1 FROM users"))).await?;
    let order = match (query.sort_by, query.descending) {
        (SortBy::Id, false) => " ORDER BY id",
        (SortBy::Id, true) => " ORDER BY id DESC",
        (SortBy::Name, false) => " ORDER BY name, id",
        (SortBy::Name, true) => " ORDER BY name DESC, id DESC",
        (SortBy::Email, false) => " ORDER BY email, id",
        (SortBy::Email, true) => " ORDER BY email DESC, id DESC",
        (SortBy::CreatedAt, false) => " ORDER BY created_at, id",
        (SortBy::CreatedAt, true) => " ORDER BY created_at DESC, id DESC",
        (SortBy::UpdatedAt, false) => " ORDER BY users.updated_at, id",
        (SortBy::UpdatedAt, true) => " ORDER BY users.updated_at DESC, id DESC",
    };
    let select = narrowed(Sql::new(select!(""))).push(order).push(" LIMIT ").bind(page.limit);
    Ok((db.fetch_built(select.push(" OFFSET ").bind(page.offset())).await?, total))
}

pub async fn log(
    tx: &mut Tx,
    user_id: i64,
    job_id: i64,
    action: &'static str,
    at: DateTime<Utc>,
) -> Result<Behavior, DbError> {
    let sql = "INSERT INTO user_behavior_logs (user_id, job_id, action, at) VALUES ($1, $2, $3, $4) \
               RETURNING id, user_id, job_id, action, at";
    tx.fetch_one(sql, args![user_id, job_id, action, at]).await
}

#[derive(sqlx::FromRow)]
struct Count {
    count: i64,
}

/// The latest first.
pub async fn logs(db: &Db, user_id: i64, page: PageRequest) -> Result<(Vec<Behavior>, i64), DbError> {
    let count: Count =
        db.fetch_one("SELECT count(*) AS count FROM user_behavior_logs WHERE user_id = $1", args![user_id]).await?;
    let sql = "SELECT id, user_id, job_id, action, at FROM user_behavior_logs WHERE user_id = $1 \
               ORDER BY at DESC, id DESC LIMIT $2 OFFSET $3";
    Ok((db.fetch_all(sql, args![user_id, page.limit, page.offset()]).await?, count.count))
}

/// Makes sure that the month of `at` has its partition; SQLite has none.
pub async fn make_month(db: &Db, at: DateTime<Utc>) -> Result<(), DbError> {
    if db.engine() == "postgres" {
        let mut tx = db.begin().await?;
        tx.execute("SELECT user_behavior_logs_make($1)", args![at]).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Drops what is older: whole months on PostgreSQL, and single rows that are in no month.
pub async fn drop_logs(db: &Db, before: DateTime<Utc>) -> Result<(), DbError> {
    if db.engine() == "postgres" {
        let mut tx = db.begin().await?;
        tx.execute("SELECT user_behavior_logs_drop($1)", args![before]).await?;
        tx.execute("DELETE FROM user_behavior_logs_default WHERE at < $1", args![before]).await?;
        tx.commit().await?;
    } else {
        db.execute("DELETE FROM user_behavior_logs WHERE at < $1", args![before]).await?;
    }
    Ok(())
}

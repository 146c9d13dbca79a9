//! Storage of mails; every statement runs on both engines.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::Draft;
use crate::args;
use crate::db::{Db, DbError, Sql, Tx};
use crate::feeds::body::utc;
use crate::feeds::matching::totals_sql::Totals;
use crate::feeds::page::PageRequest;

/// A mail as lists show it; its text is one request away.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Email {
    pub id: i64,
    pub user_id: i64,
    pub batch_id: i64,
    pub day: String,
    pub recipient: String,
    pub subject: String,
    pub state: String,
    pub attempts: i64,
    pub error: Option<String>,
    #[serde(serialize_with = "utc::serialize")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "utc::optional::serialize")]
    pub sent_at: Option<DateTime<Utc>>,
}

/// A mail that is to be sent.
#[derive(sqlx::FromRow)]
pub struct Queued {
    pub id: i64,
    pub user_id: i64,
    pub recipient: String,
    pub subject: String,
    pub text_body: String,
    pub html_body: String,
    pub unsubscribe_token: String,
}

#[derive(sqlx::FromRow)]
struct Id {
    id: i64,
}

/// One mail a user and day; answers the ids of those that are new.
pub async fn insert(
    tx: &mut Tx,
    batch_id: i64,
    drafts: &[Draft],
    day: &str,
    now: DateTime<Utc>,
) -> Result<Vec<i64>, DbError> {
    let rows = drafts.iter().map(|draft| {
        let Draft { user_id, recipient, letter } = draft;
        json!({"user_id": user_id, "recipient": recipient, "subject": letter.subject, "text": letter.text, "html": letter.html})
    });
    let sql = tx.by_engine(
        "INSERT INTO match_emails (user_id, recipient, subject, text_body, html_body, batch_id, day, state, created_at) \
         SELECT value->>'user_id', value->>'recipient', value->>'subject', value->>'text', value->>'html', $2, $3, \
         'queued', $4 FROM json_each($1) WHERE true ON CONFLICT (user_id, day) DO NOTHING RETURNING id",
        "INSERT INTO match_emails (user_id, recipient, subject, text_body, html_body, batch_id, day, state, created_at) \
         SELECT user_id, recipient, subject, text, html, $2, $3, 'queued', $4 FROM jsonb_to_recordset($1) \
         AS given(user_id BIGINT, recipient TEXT, subject TEXT, text TEXT, html TEXT) \
         ON CONFLICT (user_id, day) DO NOTHING RETURNING id",
    );
    let ids: Vec<Id> = tx.fetch_all(sql, args![Value::Array(rows.collect()), batch_id, day, now]).await?;
    Ok(ids.into_iter().map(|row| row.id).collect())
}

/// Those of `ids` that still wait, whose users still want mail.
pub async fn queued(db: &Db, ids: &[i64]) -> Result<Vec<Queued>, DbError> {
    let sql = db.by_engine(
        "SELECT match_emails.id, user_id, recipient, subject, text_body, html_body, unsubscribe_token FROM match_emails \
         JOIN users ON users.id = user_id WHERE state = 'queued' AND email_opt_in AND bounced_at IS NULL \
         AND match_emails.id IN (SELECT value FROM json_each($1)) ORDER BY match_emails.id",
        "SELECT match_emails.id, user_id, recipient, subject, text_body, html_body, unsubscribe_token FROM match_emails \
         JOIN users ON users.id = user_id WHERE state = 'queued' AND email_opt_in AND bounced_at IS NULL \
         AND match_emails.id IN (SELECT jsonb_array_elements_text($1)::BIGINT) ORDER BY match_emails.id",
    );
    db.fetch_all(sql, args![json!(ids)]).await
}

pub async fn set_state(
    db: &Db,
    id: i64,
    state: &'static str,
    error: Option<String>,
    sent_at: Option<DateTime<Utc>>,
) -> Result<(), DbError> {
    let sql = "UPDATE match_emails SET state = $2, error = $3, sent_at = coalesce($4, sent_at), attempts = attempts + 1 \
               WHERE id = $1";
    db.execute(sql, args![id, state, error, sent_at]).await?;
    Ok(())
}

/// The address takes no mail; nothing is sent there until it changes.
pub async fn mark_bounced(db: &Db, user_id: i64, now: DateTime<Utc>) -> Result<(), DbError> {
    db.execute("UPDATE users SET bounced_at = $2 WHERE id = $1", args![user_id, now]).await?;
    Ok(())
}

/// The user whom a bounce is about, by address.
pub async fn bounce_of(db: &Db, address: &str, reason: &str, now: DateTime<Utc>) -> Result<bool, DbError> {
    let mut tx = db.begin().await?;
    let found = tx.execute("UPDATE users SET bounced_at = $2 WHERE email = $1", args![address, now]).await? > 0;
    let sql =
        "UPDATE match_emails SET state = 'bounced', error = $2 WHERE recipient = $1 AND state IN ('sent', 'queued')";
    tx.execute(sql, args![address, reason]).await?;
    tx.commit().await?;
    Ok(found)
}

pub async fn unsubscribe(db: &Db, token: &str) -> Result<bool, DbError> {
    let sql = "UPDATE users SET email_opt_in = FALSE WHERE unsubscribe_token = $1 AND status <> 'deleted'";
    Ok(db.execute(sql, args![token]).await? > 0)
}

/// The latest first.
pub async fn list(
    db: &Db,
    totals: &Totals,
    user_id: Option<i64>,
    state: Option<&str>,
    page: PageRequest,
) -> Result<(Vec<Email>, i64), DbError> {
    let narrowed = |sql: Sql| sql.filter_some("user_id = ?", user_id).filter_some("state = ?", state);
    let total = totals.of(db, narrowed(Sql::new("SELECT 1 FROM match_emails"))).await?;
    let select = narrowed(Sql::new(
        "SELECT id, user_id, batch_id, day, recipient, subject, state, attempts, error, created_at, sent_at \
         FROM match_emails",
    ));
    let select = select.push(" ORDER BY id DESC LIMIT ").bind(page.limit).push(" OFFSET ").bind(page.offset());
    Ok((db.fetch_built(select).await?, total))
}

/// What a mail says of a job.
#[derive(Clone, sqlx::FromRow)]
pub struct JobLine {
    pub id: i64,
    pub title: String,
    pub company_name: String,
    pub salary_min: Option<i64>,
    pub salary_max: Option<i64>,
    pub city: Option<String>,
    pub nearest_station: Option<String>,
    pub url: Option<String>,
}

/// Open jobs among `ids`.
pub async fn lines(db: &Db, ids: &[i64]) -> Result<Vec<JobLine>, DbError> {
    let sql = db.by_engine(
        "SELECT id, title, company_name, salary_min, salary_max, city, nearest_station, url FROM jobs \
         WHERE status = 'active' AND id IN (SELECT value FROM json_each($1))",
        "SELECT id, title, company_name, salary_min, salary_max, city, nearest_station, url FROM jobs \
         WHERE status = 'active' AND id IN (SELECT jsonb_array_elements_text($1)::BIGINT)",
    );
    db.fetch_all(sql, args![json!(ids)]).await
}

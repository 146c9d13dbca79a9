//! Storage of accounts, refresh tokens and revocations.

use chrono::{DateTime, Utc};

use crate::args;
use crate::db::{Db, DbError, Tx};

#[derive(Debug, sqlx::FromRow)]
pub(super) struct Account {
    pub id: i64,
    pub name: String,
    pub password_hash: String,
    pub role: String,
    pub is_active: bool,
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct Refresh {
    pub family: String,
    pub account_id: i64,
    pub expires_at: DateTime<Utc>,
    pub used_at: Option<DateTime<Utc>>,
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct AccessId {
    pub access_id: String,
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct Revoked {
    pub id: i64,
    pub token_id: Option<String>,
    pub subject: Option<String>,
    pub until_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Id {
    id: i64,
}

pub(super) async fn insert(db: &Db, name: &str, hash: &str, role: &str, now: DateTime<Utc>) -> Result<(), DbError> {
    let sql = "INSERT INTO accounts (name, password_hash, role, is_active, created_at, updated_at)
               VALUES ($1, $2, $3, TRUE, $4, $4)";
    db.execute(sql, args![name, hash, role, now]).await.map(|_| ())
}

pub(super) async fn by_name(db: &Db, name: &str) -> Result<Option<Account>, DbError> {
    let sql = "SELECT id, name, password_hash, role, is_active FROM accounts WHERE name = $1";
    db.fetch_optional(sql, args![name]).await
}

pub(super) async fn by_id(tx: &mut Tx, id: i64) -> Result<Option<Account>, DbError> {
    let sql = "SELECT id, name, password_hash, role, is_active FROM accounts WHERE id = $1";
    tx.fetch_optional(sql, args![id]).await
}

pub(super) async fn all(db: &Db) -> Result<Vec<Account>, DbError> {
    db.fetch_all("SELECT id, name, password_hash, role, is_active FROM accounts ORDER BY name", args![]).await
}

pub(super) async fn set_password(tx: &mut Tx, id: i64, hash: &str, now: DateTime<Utc>) -> Result<(), DbError> {
    let sql = "UPDATE accounts SET password_hash = $2, updated_at = $3 WHERE id = $1";
    tx.execute(sql, args![id, hash, now]).await.map(|_| ())
}

pub(super) async fn set_active(tx: &mut Tx, id: i64, active: bool, now: DateTime<Utc>) -> Result<(), DbError> {
    let sql = "UPDATE accounts SET is_active = $2, updated_at = $3 WHERE id = $1";
    tx.execute(sql, args![id, active, now]).await.map(|_| ())
}

/// A refresh token of a log-in, known by its hash and tied to the access token that was given with it.
pub(super) struct NewRefresh<'a> {
    pub hash: &'a str,
    pub family: &'a str,
    pub account_id: i64,
    pub access_id: &'a str,
    pub expires_at: DateTime<Utc>,
}

pub(super) async fn insert_refresh(tx: &mut Tx, new: NewRefresh<'_>, now: DateTime<Utc>) -> Result<(), DbError> {
    let sql = "INSERT INTO refresh_tokens (token_hash, family, account_id, access_id, created_at, expires_at)
               VALUES ($1, $2, $3, $4, $5, $6)";
    let args = args![new.hash, new.family, new.account_id, new.access_id, now, new.expires_at];
    tx.execute(sql, args).await.map(|_| ())
}

/// Marks a refresh token as used; `None` when it is unknown or was used before.
pub(super) async fn use_refresh(tx: &mut Tx, hash: &str, now: DateTime<Utc>) -> Result<Option<Refresh>, DbError> {
    let sql = "UPDATE refresh_tokens SET used_at = $2 WHERE token_hash = $1 AND used_at IS NULL
               RETURNING family, account_id, expires_at, used_at";
    tx.fetch_optional(sql, args![hash, now]).await
}

pub(super) async fn refresh(tx: &mut Tx, hash: &str) -> Result<Option<Refresh>, DbError> {
    let sql = "SELECT family, account_id, expires_at, used_at FROM refresh_tokens WHERE token_hash = $1";
    tx.fetch_optional(sql, args![hash]).await
}

/// Ends a log-in; answers the access tokens of it that can still be in use.
pub(super) async fn end_family(tx: &mut Tx, family: &str, since: DateTime<Utc>) -> Result<Vec<AccessId>, DbError> {
    let sql = "SELECT access_id FROM refresh_tokens WHERE family = $1 AND created_at > $2";
    let in_use = tx.fetch_all(sql, args![family, since]).await?;
    tx.execute("DELETE FROM refresh_tokens WHERE family = $1", args![family]).await?;
    Ok(in_use)
}

pub(super) async fn family_of(tx: &mut Tx, access_id: &str) -> Result<Option<Refresh>, DbError> {
    let sql = "SELECT family, account_id, expires_at, used_at FROM refresh_tokens WHERE access_id = $1";
    tx.fetch_optional(sql, args![access_id]).await
}

pub(super) async fn end_all_families(tx: &mut Tx, subject: &str) -> Result<(), DbError> {
    let sql = "DELETE FROM refresh_tokens WHERE account_id IN (SELECT id FROM accounts WHERE name = $1)";
    tx.execute(sql, args![subject]).await.map(|_| ())
}

pub(super) async fn revoke_token(
    tx: &mut Tx,
    token_id: &str,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<i64, DbError> {
    let sql = "INSERT INTO revocations (token_id, until_at, created_at) VALUES ($1, $2, $3) RETURNING id";
    Ok(tx.fetch_one::<Id>(sql, args![token_id, until, now]).await?.id)
}

/// Up to which second everything that a subject was given is void.
pub(super) async fn revoked_until(tx: &mut Tx, subject: &str) -> Result<Option<i64>, DbError> {
    let sql =
        "SELECT id, token_id, subject, until_at FROM revocations WHERE subject = $1 ORDER BY until_at DESC LIMIT 1";
    Ok(tx.fetch_optional::<Revoked>(sql, args![subject]).await?.map(|row| row.until_at.timestamp()))
}

/// A new row in place of the old, so that whoever reads on from the last number finds it.
pub(super) async fn revoke_subject(
    tx: &mut Tx,
    subject: &str,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<i64, DbError> {
    tx.execute("DELETE FROM revocations WHERE subject = $1", args![subject]).await?;
    let sql = "INSERT INTO revocations (subject, until_at, created_at) VALUES ($1, $2, $3) RETURNING id";
    Ok(tx.fetch_one::<Id>(sql, args![subject, until, now]).await?.id)
}

pub(super) async fn revocations_after(db: &Db, id: i64) -> Result<Vec<Revoked>, DbError> {
    let sql = "SELECT id, token_id, subject, until_at FROM revocations WHERE id > $1 ORDER BY id";
    db.fetch_all(sql, args![id]).await
}

/// Deletes what has ended by itself, and used refresh tokens after a day: a thief who waits longer is refused all the
/// same, but no longer noticed.
pub(super) async fn tidy(db: &Db, now: DateTime<Utc>) -> Result<(), DbError> {
    let day_ago = now - chrono::TimeDelta::days(1);
    db.execute("DELETE FROM refresh_tokens WHERE used_at < $1", args![day_ago]).await?;
    db.execute("DELETE FROM revocations WHERE token_id IS NOT NULL AND until_at < $1", args![now]).await?;
    db.execute("DELETE FROM refresh_tokens WHERE expires_at < $1", args![now]).await?;
    Ok(())
}

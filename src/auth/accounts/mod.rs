//! Accounts with passwords: log-in, refresh, log-out, and taking tokens back.
//!
//! A log-in gives an access token, short-lived and checked without the database, and a refresh token, good once. A
//! refresh token that is shown a second time was stolen from somebody: the whole log-in ends.

mod password;
mod sql;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::keys::{keyed, to_hex};
use super::token::issue_token_at;
use super::{AuthOptions, Credentials, Gate, Identity, Proof, Revocation, Role, TokenId};
use crate::clock::Clock;
use crate::db::{Db, DbError, Tx};
use password::Passwords;

pub use watch::Notice;

/// An answer that was lost on its way is asked for again at once; that is nobody's theft.
const REPEATED_WITHIN: TimeDelta = TimeDelta::seconds(10);

/// Cloning shares it.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

struct Inner {
    db: Db,
    gate: Gate,
    clock: Clock,
    options: AuthOptions,
    passwords: Passwords,
    mac: Hmac<Sha256>,
    notice: Notice,
}

/// What a log-in or a refresh gives.
pub struct Session {
    pub subject: String,
    pub role: Role,
    pub access_token: String,
    pub access_ttl_s: u64,
    pub refresh_token: String,
    pub refresh_until: DateTime<Utc>,
}

/// An account as it is shown to operators.
pub struct AccountInfo {
    pub name: String,
    pub role: String,
    pub is_active: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("name or password is wrong")]
    Wrong,
    #[error("the refresh token is not valid")]
    BadRefresh,
    #[error("too many log-ins at once; try again")]
    Busy,
    #[error("log-in needs a secret to sign tokens with: set SECRET_KEY")]
    NoSecret,
    #[error("a name is 1 to 100 letters, digits, `.`, `_`, `-`, `+` or `@`")]
    Name,
    #[error("a password has {least} to {most} characters")]
    Password { least: usize, most: usize },
    #[error("the name is taken")]
    Taken,
    #[error("there is no such account")]
    Unknown,
    #[error("the password hash cannot be used: {0}")]
    Hash(String),
    #[error(transparent)]
    Token(#[from] super::TokenError),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Accounts {
    /// `notice` is called with the number of each revocation, to tell the other nodes.
    pub fn new(db: Db, gate: Gate, clock: Clock, options: AuthOptions, notice: Notice) -> Self {
        // Without a secret there are no log-ins, and so nothing that this would be the key of.
        let mac = keyed(options.token_secret().map_or(&[][..], |secret| secret.expose().as_bytes()));
        let passwords = Passwords::default();
        Self(Arc::new(Inner { db, gate, clock, options, passwords, mac, notice }))
    }

    pub async fn add(&self, name: &str, password: &str, role: Role) -> Result<(), AccountError> {
        let inner = &self.0;
        let name = checked_name(name)?;
        let hash = inner.passwords.hash(password).await?;
        let added = sql::insert(&inner.db, &name, &hash, role.as_str(), inner.clock.now()).await;
        added.map_err(|error| if error.is_unique_violation() { AccountError::Taken } else { error.into() })
    }

    /// A new password; every log-in so far ends.
    pub async fn set_password(&self, name: &str, password: &str) -> Result<(), AccountError> {
        let inner = &self.0;
        let account = self.account(name).await?;
        let hash = inner.passwords.hash(password).await?;
        let mut tx = inner.db.begin().await?;
        sql::set_password(&mut tx, account.id, &hash, inner.clock.now()).await?;
        self.revoke_all(tx, &account.name).await
    }

    /// Lets an account log in or not; every log-in so far ends.
    pub async fn set_active(&self, name: &str, active: bool) -> Result<(), AccountError> {
        let account = self.account(name).await?;
        let mut tx = self.0.db.begin().await?;
        sql::set_active(&mut tx, account.id, active, self.0.clock.now()).await?;
        self.revoke_all(tx, &account.name).await
    }

    pub async fn list(&self) -> Result<Vec<AccountInfo>, AccountError> {
        let all = sql::all(&self.0.db).await?.into_iter();
        Ok(all.map(|it| AccountInfo { name: it.name, role: it.role, is_active: it.is_active }).collect())
    }

    async fn account(&self, name: &str) -> Result<sql::Account, AccountError> {
        sql::by_name(&self.0.db, &name.trim().to_lowercase()).await?.ok_or(AccountError::Unknown)
    }

    /// Takes as long for an account that does not exist.
    pub async fn log_in(&self, name: &str, password: &str) -> Result<Session, AccountError> {
        let inner = &self.0;
        inner.options.token_secret().ok_or(AccountError::NoSecret)?;
        let account = match checked_name(name) {
            Ok(name) => sql::by_name(&inner.db, &name).await?,
            Err(_) => None,
        };
        let hash = account.as_ref().map(|account| account.password_hash.clone());
        let right = inner.passwords.verify(password, hash).await?;
        match account {
            Some(account) if right && account.is_active => {
                let mut tx = inner.db.begin().await?;
                let family = uuid::Uuid::new_v4().simple().to_string();
                let until = inner.clock.now() + seconds(inner.options.refresh_ttl_s);
                let session = self.give(&mut tx, &account, &family, until).await?;
                tx.commit().await?;
                tracing::info!(target: "security", subject = session.subject, "logged in");
                Ok(session)
            }
            account => {
                // A name that nobody has may be a password in the wrong field.
                let subject = account.as_ref().map_or("unknown", |account| &account.name);
                let inactive = account.as_ref().is_some_and(|account| !account.is_active);
                tracing::warn!(target: "security", subject, inactive, "log-in refused");
                Err(AccountError::Wrong)
            }
        }
    }

    pub async fn refresh(&self, token: &str) -> Result<Session, AccountError> {
        let inner = &self.0;
        let (hash, now) = (self.hash(token), inner.clock.now());
        let mut tx = inner.db.begin().await?;
        let Some(used) = sql::use_refresh(&mut tx, &hash, now).await? else {
            let before = sql::refresh(&mut tx, &hash).await?;
            if let Some(before) = before
                && before.used_at.is_some_and(|at| now - at > REPEATED_WITHIN)
            {
                tracing::warn!(target: "security", account = before.account_id, "a refresh token came back; its log-in ends");
                self.end_family(tx, &before.family).await?;
            }
            return Err(AccountError::BadRefresh);
        };
        let account = sql::by_id(&mut tx, used.account_id).await?;
        match account {
            Some(account) if account.is_active && used.expires_at > now => {
                let session = self.give(&mut tx, &account, &used.family, used.expires_at).await?;
                tx.commit().await?;
                Ok(session)
            }
            _ => Err(AccountError::BadRefresh),
        }
    }

    /// Ends the log-in that this caller's token belongs to; a token of another system ends alone.
    pub async fn log_out(&self, caller: &Identity) -> Result<(), AccountError> {
        let Proof::Token { id, claims } = &caller.proof else { return Ok(()) };
        let mut tx = self.0.db.begin().await?;
        let until = claims.expires_at_ms.and_then(DateTime::from_timestamp_millis).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let number = sql::revoke_token(&mut tx, &id.to_string(), until, self.0.clock.now()).await?;
        let family = sql::family_of(&mut tx, &id.to_string()).await?;
        match family {
            Some(of) => self.end_family(tx, &of.family).await?,
            None => tx.commit().await?,
        }
        self.0.gate.revocations().add(Revocation::Token { id: *id, until_ms: until.timestamp_millis() });
        (self.0.notice)(number);
        tracing::info!(target: "security", subject = %caller.subject, "logged out");
        Ok(())
    }

    /// Voids every token that `subject` has so far, whoever signed it, and every log-in.
    pub async fn revoke_subject(&self, subject: &str) -> Result<(), AccountError> {
        let tx = self.0.db.begin().await?;
        self.revoke_all(tx, subject).await
    }

    async fn revoke_all(&self, mut tx: Tx, subject: &str) -> Result<(), AccountError> {
        let now = self.0.clock.now();
        sql::end_all_families(&mut tx, subject).await?;
        // Who logged in after the last time, within the same second, was given a token of the second after it.
        let before = sql::revoked_until(&mut tx, subject).await?;
        let issued_until_s = before.map_or(now.timestamp(), |before| now.timestamp().max(before + 1));
        let until = DateTime::from_timestamp_secs(issued_until_s).unwrap_or(now);
        let number = sql::revoke_subject(&mut tx, subject, until, now).await?;
        tx.commit().await?;
        let revocation = Revocation::Subject { subject: subject.into(), issued_until_s };
        self.0.gate.revocations().add(revocation);
        (self.0.notice)(number);
        tracing::info!(target: "security", subject, "all tokens revoked");
        Ok(())
    }

    async fn end_family(&self, mut tx: Tx, family: &str) -> Result<(), AccountError> {
        let (now, ttl) = (self.0.clock.now(), seconds(self.0.options.access_ttl_s));
        let (mut number, mut ended) = (None, Vec::new());
        for given in sql::end_family(&mut tx, family, now - ttl - TimeDelta::seconds(60)).await? {
            let until = now + ttl + TimeDelta::seconds(60);
            number = Some(sql::revoke_token(&mut tx, &given.access_id, until, now).await?);
            if let Ok(id) = given.access_id.parse() {
                ended.push(Revocation::Token { id, until_ms: until.timestamp_millis() });
            }
        }
        tx.commit().await?;
        ended.into_iter().for_each(|revocation| self.0.gate.revocations().add(revocation));
        number.into_iter().for_each(|number| (self.0.notice)(number));
        Ok(())
    }

    /// A new pair of tokens in a log-in that ends at `until`.
    async fn give(
        &self,
        tx: &mut Tx,
        account: &sql::Account,
        family: &str,
        until: DateTime<Utc>,
    ) -> Result<Session, AccountError> {
        let Inner { options, gate, clock, .. } = &*self.0;
        let now = clock.now();
        let role = account.role.parse().unwrap_or(Role::User);
        // Not the memory's word alone: the command line may have revoked a moment ago.
        let void_until = sql::revoked_until(tx, &account.name).await?;
        let earliest = void_until.map_or(now.timestamp(), |until| now.timestamp().max(until + 1));
        let issued_s = gate.revocations().first_good_second(&account.name, earliest);
        let ttl = Duration::from_secs(options.access_ttl_s);
        let access_token = issue_token_at(options, issued_s, &account.name, role, ttl)?;
        let access = gate.examine(&Credentials { bearer: Some(&access_token), ..Credentials::default() });
        let access_id = match access.map(|identity| identity.proof) {
            Ok(Proof::Token { id, .. }) => id.to_string(),
            _ => return Err(AccountError::NoSecret),
        };
        let refresh_token = random_token();
        let hash = self.hash(&refresh_token);
        let new =
            sql::NewRefresh { hash: &hash, family, account_id: account.id, access_id: &access_id, expires_at: until };
        sql::insert_refresh(tx, new, now).await?;
        let access_ttl_s = options.access_ttl_s;
        Ok(Session {
            subject: account.name.clone(),
            role,
            access_token,
            access_ttl_s,
            refresh_token,
            refresh_until: until,
        })
    }

    fn hash(&self, token: &str) -> String {
        to_hex(&self.0.mac.clone().chain_update("refresh\0").chain_update(token).finalize().into_bytes())
    }
}

/// 244 random bits, hashed so that the fixed ones do not show.
fn random_token() -> String {
    let random = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(random))
}

/// Names differ by more than capitals, and none looks like a key's or has something to escape.
fn checked_name(name: &str) -> Result<String, AccountError> {
    let name = name.trim().to_lowercase();
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+' | b'@'));
    if plain && (1..=100).contains(&name.len()) && name != "anonymous" { Ok(name) } else { Err(AccountError::Name) }
}

fn seconds(s: u64) -> TimeDelta {
    TimeDelta::try_seconds(i64::try_from(s).unwrap_or(i64::MAX)).unwrap_or(TimeDelta::MAX)
}

impl std::fmt::Display for TokenId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::str::FromStr for TokenId {
    type Err = std::num::ParseIntError;

    fn from_str(hex: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(hex, 16).map(Self)
    }
}

//! Passwords: hashed with Argon2id, a few at a time, since each takes 19 MiB and a core for a moment.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use super::AccountError;

/// Hashes worked on at once.
const AT_ONCE: usize = 2;
/// Log-ins that may wait for that; further ones are sent away.
const MOST_WAITING: usize = 64;
const LENGTH: std::ops::RangeInclusive<usize> = 12..=256;

pub(super) struct Passwords {
    turns: Semaphore,
    waiting: AtomicUsize,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { turns: Semaphore::new(AT_ONCE), waiting: AtomicUsize::new(0) }
    }
}

impl Passwords {
    /// The hash to keep of a new password.
    pub async fn hash(&self, password: &str) -> Result<String, AccountError> {
        if !LENGTH.contains(&password.chars().count()) {
            return Err(AccountError::Password { least: *LENGTH.start(), most: *LENGTH.end() });
        }
        let password = password.to_owned();
        self.work(move || hashed(&password)).await?
    }

    /// Whether it is the password; without a hash to compare with it takes as long and is not.
    pub async fn verify(&self, password: &str, hash: Option<String>) -> Result<bool, AccountError> {
        if password.chars().count() > *LENGTH.end() {
            return Ok(false);
        }
        let password = password.to_owned();
        self.work(move || {
            static NOBODYS: OnceLock<String> = OnceLock::new();
            let known = hash.is_some();
            let hash = match hash {
                Some(hash) => hash,
                None => NOBODYS.get_or_init(|| hashed("a password of nobody").unwrap_or_default()).clone(),
            };
            let parsed = PasswordHash::new(&hash).map_err(|error| AccountError::Hash(error.to_string()));
            let same = parsed.map(|parsed| Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok())?;
            Ok(known && same)
        })
        .await?
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, AccountError> {
        let _waiting = Waiting::enter(&self.waiting).ok_or(AccountError::Busy)?;
        let _turn = self.turns.acquire().await.map_err(|_| AccountError::Busy)?;
        tokio::task::spawn_blocking(work).await.map_err(|error| AccountError::Hash(error.to_string()))
    }
}

fn hashed(password: &str) -> Result<String, AccountError> {
    let hash: Result<argon2::password_hash::phc::PasswordHash, _> =
        Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|error| AccountError::Hash(error.to_string()))
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Option<Self> {
        let waiting = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < MOST_WAITING).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

//! Secrets and keys, and the rules that they keep.

use std::fmt;
use std::path::PathBuf;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use url::Url;

use super::Secret;
use super::keys::Entry;

/// What callers are known by. No secret, no keys and no key set mean open mode: every caller is an anonymous admin.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthOptions {
    /// Keys the hashes of API keys, and signs tokens where `jwt_secret_key` is not set. At least 32 characters.
    pub secret_key: Option<Secret>,
    /// Signs tokens (HS256, HS384, HS512). At least 32 characters.
    pub jwt_secret_key: Option<Secret>,
    /// Signed tokens before; still taken, so that a new secret does not end every session.
    pub jwt_previous_secret_key: Option<Secret>,
    /// Public keys of another system that signs tokens (RS256, ES256, EdDSA …): the URL of its key set. HTTPS, or HTTP to
    /// loopback.
    pub jwks_url: Option<String>,
    /// The same as a file, which may be replaced while the server runs.
    pub jwks_file: Option<PathBuf>,
    /// Seconds between two looks at the key set.
    pub jwks_refresh_s: u64,
    /// Milliseconds that pass at least between two looks because of a key that is not known. Doubles while looks fail.
    pub jwks_retry_ms: u64,
    /// Tokens must name one of these in `aud`; empty: not looked at.
    #[serde(deserialize_with = "text_by_commas")]
    pub audience: Vec<String>,
    /// Tokens must name this in `iss`; unset: not looked at.
    pub issuer: Option<String>,
    /// The claim that names the user, instead of `sub`.
    pub user_id_claim: Option<String>,
    /// Keys of trusted back ends, at least 32 characters each. Before the key may stand a role (`admin:`, `manager:`,
    /// `user:`) or scopes (`[subscribe:price:* events:write]:`); without either it is a manager's. Instead of the key its
    /// hash may be given, `sha256:` and 64 hex digits, or `hmac-sha256:` as `fanfare token --api-key` prints it.
    #[serde(deserialize_with = "secrets_by_commas")]
    pub api_keys: Vec<Secret>,
    /// Keys the hashes of API keys instead of `secret_key`. At least 32 characters.
    pub api_key_pepper: Option<Secret>,
    /// Seconds that a token of a log-in is valid.
    pub access_ttl_s: u64,
    /// Seconds that a log-in can be refreshed.
    pub refresh_ttl_s: u64,
}

impl Default for AuthOptions {
    fn default() -> Self {
        Self {
            secret_key: None,
            jwt_secret_key: None,
            jwt_previous_secret_key: None,
            jwks_url: None,
            jwks_file: None,
            jwks_refresh_s: 300,
            jwks_retry_ms: 10_000,
            audience: Vec::new(),
            issuer: None,
            user_id_claim: None,
            api_keys: Vec::new(),
            api_key_pepper: None,
            access_ttl_s: 900,
            refresh_ttl_s: 30 * 24 * 3600,
        }
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AuthOptionsError {
    #[error("{name} has {chars} characters; it needs at least {MIN_CHARS}")]
    TooShort { name: &'static str, chars: usize },
    #[error("API key {number} has {chars} characters; it needs at least {MIN_CHARS}")]
    KeyTooShort { number: usize, chars: usize },
    #[error("API key {number}: after `sha256:` or `hmac-sha256:` come 64 hex digits")]
    NotAHash { number: usize },
    #[error("API key {number}: `hmac-sha256:` needs SECRET_KEY or auth.api_key_pepper, under which it was made")]
    NoPepper { number: usize },
    #[error("API key {number}: {error}")]
    Scope { number: usize, error: super::ScopeError },
    #[error("auth.jwks_url must be https://…, or http:// to loopback")]
    JwksUrl,
    #[error("auth.jwks_url and auth.jwks_file exclude each other")]
    TwoKeySets,
    #[error("auth.{0} must be at least 1")]
    Zero(&'static str),
    #[error("auth.jwks_file: {0}")]
    JwksFile(String),
}

/// Shorter secrets can be guessed offline.
pub(super) const MIN_CHARS: usize = 32;

impl AuthOptions {
    /// Refuses what is too short or contradicts itself, before a port is bound.
    pub fn check(&self) -> Result<(), AuthOptionsError> {
        for (name, secret) in [
            ("SECRET_KEY", &self.secret_key),
            ("JWT_SECRET_KEY", &self.jwt_secret_key),
            ("auth.jwt_previous_secret_key", &self.jwt_previous_secret_key),
            ("auth.api_key_pepper", &self.api_key_pepper),
        ] {
            match secret.as_ref().map(Secret::chars) {
                Some(chars) if chars < MIN_CHARS => return Err(AuthOptionsError::TooShort { name, chars }),
                _ => {}
            }
        }
        for (key, number) in self.api_keys.iter().zip(1..) {
            Entry::parse(key, number)?.check(number, self.pepper().is_some())?;
        }
        if self.jwks_url.as_deref().is_some_and(|url| !is_safe(url)) {
            return Err(AuthOptionsError::JwksUrl);
        }
        if self.jwks_url.is_some() && self.jwks_file.is_some() {
            return Err(AuthOptionsError::TwoKeySets);
        }
        for (name, value) in [
            ("jwks_refresh_s", self.jwks_refresh_s),
            ("jwks_retry_ms", self.jwks_retry_ms),
            ("access_ttl_s", self.access_ttl_s),
            ("refresh_ttl_s", self.refresh_ttl_s),
        ] {
            if value == 0 {
                return Err(AuthOptionsError::Zero(name));
            }
        }
        Ok(())
    }

    /// Whether there is nothing to check callers by.
    pub fn is_open(&self) -> bool {
        self.token_secret().is_none() && self.api_keys.is_empty() && self.jwks_url.is_none() && self.jwks_file.is_none()
    }

    pub(super) fn token_secret(&self) -> Option<&Secret> {
        self.jwt_secret_key.as_ref().or(self.secret_key.as_ref())
    }

    /// What hashes of keys are made with.
    pub(super) fn pepper(&self) -> Option<&Secret> {
        self.api_key_pepper.as_ref().or(self.secret_key.as_ref())
    }
}

/// Whoever can change the key set on its way can sign tokens.
fn is_safe(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let loopback = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}

fn secrets_by_commas<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Secret>, D::Error> {
    Ok(text_by_commas(deserializer)?.into_iter().map(Secret::new).collect())
}

/// The environment has lists as text with commas, a file has them as lists.
fn text_by_commas<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Texts;

    impl<'de> Visitor<'de> for Texts {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("text separated by commas, or a list of texts")
        }

        fn visit_str<E: de::Error>(self, list: &str) -> Result<Vec<String>, E> {
            Ok(list.split(',').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
            let mut texts = Vec::new();
            while let Some(text) = seq.next_element()? {
                texts.push(text);
            }
            Ok(texts)
        }
    }

    deserializer.deserialize_any(Texts)
}

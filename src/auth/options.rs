//! Secrets and keys, and the rules that they keep.

use std::fmt;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::{Role, Secret};

/// What callers are known by. All empty means open mode: every caller is an anonymous admin.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthOptions {
    /// Keys the hashes of API keys, and signs tokens where `jwt_secret_key` is not set. At least 32 characters.
    pub secret_key: Option<Secret>,
    /// Signs tokens (HS256, HS384, HS512). At least 32 characters.
    pub jwt_secret_key: Option<Secret>,
    /// Keys of trusted back ends, at least 32 characters each. A role may stand before the key, `admin:…`, `manager:…`
    /// or `user:…`; without one it is `manager`. Instead of the key its hash may be given, as `sha256:` and 64 hex digits.
    #[serde(deserialize_with = "separated_by_commas")]
    pub api_keys: Vec<Secret>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AuthOptionsError {
    #[error("{name} has {chars} characters; it needs at least {MIN_CHARS}")]
    TooShort { name: &'static str, chars: usize },
    #[error("API key {number} has {chars} characters; it needs at least {MIN_CHARS}")]
    KeyTooShort { number: usize, chars: usize },
    #[error("API key {number}: after `sha256:` come 64 hex digits")]
    NotAHash { number: usize },
}

/// Shorter secrets can be guessed offline.
const MIN_CHARS: usize = 32;
pub(super) const HASH_PREFIX: &str = "sha256:";

impl AuthOptions {
    /// Refuses what is too short, before a port is bound.
    pub fn check(&self) -> Result<(), AuthOptionsError> {
        for (name, secret) in [("SECRET_KEY", &self.secret_key), ("JWT_SECRET_KEY", &self.jwt_secret_key)] {
            match secret.as_ref().map(Secret::chars) {
                Some(chars) if chars < MIN_CHARS => return Err(AuthOptionsError::TooShort { name, chars }),
                _ => {}
            }
        }
        for (key, number) in self.api_keys.iter().zip(1..) {
            let (_, key) = role_and_key(key);
            match key.strip_prefix(HASH_PREFIX) {
                Some(hash) if hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
                    return Err(AuthOptionsError::NotAHash { number });
                }
                None if key.chars().count() < MIN_CHARS => {
                    return Err(AuthOptionsError::KeyTooShort { number, chars: key.chars().count() });
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn token_secret(&self) -> Option<&Secret> {
        self.jwt_secret_key.as_ref().or(self.secret_key.as_ref())
    }
}

/// The role that a configured key names, and the key or its hash.
pub(super) fn role_and_key(entry: &Secret) -> (Role, &str) {
    let text = entry.expose();
    match text.split_once(':').map(|(role, key)| (role.parse(), key)) {
        Some((Ok(role), key)) => (role, key),
        _ => (Role::Manager, text),
    }
}

/// The environment has lists as text with commas, a file has them as lists.
fn separated_by_commas<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Secret>, D::Error> {
    struct Secrets;

    impl<'de> Visitor<'de> for Secrets {
        type Value = Vec<Secret>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("keys separated by commas, or a list of keys")
        }

        fn visit_str<E: de::Error>(self, list: &str) -> Result<Vec<Secret>, E> {
            Ok(list.split(',').map(str::trim).filter(|key| !key.is_empty()).map(Secret::new).collect())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Secret>, A::Error> {
            let mut secrets = Vec::new();
            while let Some(secret) = seq.next_element()? {
                secrets.push(secret);
            }
            Ok(secrets)
        }
    }

    deserializer.deserialize_any(Secrets)
}

//! The gate: from credentials to an identity.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::options::{HASH_PREFIX, role_and_key};
use super::token::TokenReader;
use super::{AuthOptions, AuthOptionsError, Identity, Role};
use crate::clock::Clock;
use crate::telemetry::{Registry, name};

/// What a caller shows. A key or a token in a header goes before a token in the query.
#[derive(Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// `X-API-Key`.
    pub api_key: Option<&'a str>,
    /// `Authorization: Bearer`, a key or a token.
    pub bearer: Option<&'a str>,
    /// For WebSockets only, as browsers cannot give them headers: a key or a token.
    pub query_token: Option<&'a str>,
}

/// Why a caller is not let in. Tells callers no more than their tokens say themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("an API key or a token is needed")]
    Missing,
    #[error("the API key is not valid")]
    BadKey,
    #[error("the token is not valid")]
    BadToken,
    #[error("the token is not valid")]
    BadSignature,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
}

/// Tells who is calling. Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    inner: Arc<Inner>,
}

struct Inner {
    keys: Vec<StoredKey>,
    mac: Hmac<Sha256>,
    tokens: Option<TokenReader>,
    clock: Clock,
    failures: Family<ReasonLabel, Counter>,
}

/// An API key as it is kept: neither the key nor a hash that could be looked up elsewhere.
struct StoredKey {
    mac: [u8; 32],
    identity: Identity,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

impl Gate {
    pub fn new(options: &AuthOptions, clock: Clock, registry: &mut Registry) -> Result<Self, AuthOptionsError> {
        options.check()?;
        let mac = match &options.secret_key {
            Some(secret) => keyed(secret.expose().as_bytes()),
            // Without a secret the hashes only have to hold for this process.
            None => keyed(uuid::Uuid::new_v4().as_bytes()),
        };
        let mut keys = Vec::with_capacity(options.api_keys.len());
        for (entry, number) in options.api_keys.iter().zip(1..) {
            let (role, key) = role_and_key(entry);
            let hash = match key.strip_prefix(HASH_PREFIX) {
                Some(hex) => from_hex(hex).ok_or(AuthOptionsError::NotAHash { number })?,
                None => Sha256::digest(key.as_bytes()).into(),
            };
            keys.push(StoredKey { mac: seal(&mac, &hash), identity: key_identity(&hash, role) });
        }
        let failures = Family::default();
        registry.register(name::AUTH_FAILURES, "Credentials refused, by reason", failures.clone());
        let tokens = options.token_secret().map(TokenReader::new);
        Ok(Self { inner: Arc::new(Inner { keys, mac, tokens, clock, failures }) })
    }

    /// Whether there is nothing to check callers by, so that everybody is an admin.
    pub fn is_open(&self) -> bool {
        self.inner.keys.is_empty() && self.inner.tokens.is_none()
    }

    /// Who shows these credentials. A refusal is counted and logged for the security log, without the secret.
    pub fn identify(&self, credentials: &Credentials<'_>) -> Result<Identity, AuthError> {
        if self.is_open() {
            return Ok(Identity::anonymous_admin());
        }
        let identified = match (credentials.api_key, credentials.bearer.or(credentials.query_token)) {
            (Some(key), _) => self.by_key(key).ok_or(AuthError::BadKey),
            (None, Some(either)) => match (self.by_key(either), &self.inner.tokens) {
                (Some(identity), _) => Ok(identity),
                // What has no dots was meant as a key.
                (None, Some(tokens)) if either.contains('.') => tokens.read(either, &self.inner.clock),
                (None, _) => Err(AuthError::BadKey),
            },
            (None, None) => Err(AuthError::Missing),
        };
        if let Err(error) = identified {
            self.inner.failures.get_or_create(&ReasonLabel { reason: error.reason() }).inc();
            match error {
                // Nobody tried anything: a browser that is not logged in yet.
                AuthError::Missing => tracing::debug!(target: "security", reason = error.reason(), "caller refused"),
                _ => tracing::warn!(target: "security", reason = error.reason(), "caller refused"),
            }
        }
        identified
    }

    /// Compares with every key in full, so that the time taken says nothing about any of them.
    fn by_key(&self, key: &str) -> Option<Identity> {
        let mac = seal(&self.inner.mac, &Sha256::digest(key.as_bytes()).into());
        let (mut found, mut at) = (Choice::from(0), 0u32);
        for (stored, index) in self.inner.keys.iter().zip(0u32..) {
            let equal = stored.mac.ct_eq(&mac);
            at.conditional_assign(&index, equal);
            found |= equal;
        }
        if bool::from(found) { self.inner.keys.get(at as usize).map(|stored| stored.identity.clone()) } else { None }
    }
}

impl AuthError {
    /// A word for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            AuthError::Missing => "missing",
            AuthError::BadKey => "bad_key",
            AuthError::BadToken => "bad_token",
            AuthError::BadSignature => "bad_signature",
            AuthError::Expired => "expired",
            AuthError::NotYetValid => "not_yet_valid",
        }
    }
}

#[allow(clippy::expect_used, reason = "HMAC takes keys of every length")]
fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret).expect("HMAC takes keys of every length")
}

fn seal(mac: &Hmac<Sha256>, hash: &[u8; 32]) -> [u8; 32] {
    mac.clone().chain_update(hash).finalize().into_bytes().into()
}

/// The start of a hash names a key in logs without giving it away.
fn key_identity(hash: &[u8; 32], role: Role) -> Identity {
    let [a, b, c, d, ..] = *hash;
    Identity { subject: format!("key:{a:02x}{b:02x}{c:02x}{d:02x}").into(), role }
}

fn from_hex(hex: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    for (byte, at) in hash.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
    }
    (hex.len() == 64).then_some(hash)
}

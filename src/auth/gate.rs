//! The gate: from credentials to an identity.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::jwks::KeySet;
use super::keys::Keys;
use super::token::TokenReader;
use super::{AuthOptions, AuthOptionsError, Claims, Identity, Proof, Revocation, Revocations, Role};
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
    #[error("the token is meant for another audience")]
    OtherAudience,
    #[error("the token is another issuer's")]
    OtherIssuer,
    #[error("the token has been revoked")]
    Revoked,
}

/// Tells who is calling. Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    inner: Arc<Inner>,
}

struct Inner {
    keys: Keys,
    tokens: Option<TokenReader>,
    key_set: Option<KeySet>,
    revocations: Revocations,
    clock: Clock,
    failures: Family<ReasonLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

impl Gate {
    pub fn new(options: &AuthOptions, clock: Clock, registry: &mut Registry) -> Result<Self, AuthOptionsError> {
        options.check()?;
        let keys = Keys::new(options)?;
        let failures = Family::default();
        registry.register(name::AUTH_FAILURES, "Credentials refused, by reason", failures.clone());
        let key_set = KeySet::new(options, registry);
        let tokens = TokenReader::new(options, key_set.clone());
        let revocations = Revocations::default();
        Ok(Self { inner: Arc::new(Inner { keys, tokens, key_set, revocations, clock, failures }) })
    }

    /// Reads the key set for the first time. A file that cannot be read ends the start; a URL is tried again later, as
    /// this server does not depend on another one's being up.
    pub async fn load_key_set(&self) -> Result<(), AuthOptionsError> {
        match &self.inner.key_set {
            Some(set) => match set.load().await {
                Err(error) if set.is_file() => Err(AuthOptionsError::JwksFile(error.to_string())),
                _ => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// Keeps the key set fresh until `stop`.
    pub async fn keep_key_set_fresh(self, stop: CancellationToken) {
        if let Some(set) = self.inner.key_set.clone() {
            set.keep_fresh(stop).await;
        }
    }

    /// Whether there is nothing to check callers by, so that everybody is an admin.
    pub fn is_open(&self) -> bool {
        self.inner.keys.is_empty() && self.inner.tokens.is_none()
    }

    /// Who shows these credentials. A refusal is counted and logged for the security log, without the secret.
    pub fn identify(&self, credentials: &Credentials<'_>) -> Result<Identity, AuthError> {
        self.examine(credentials).inspect_err(|error| self.refused(*error))
    }

    /// Looks for the public key that a token names where it is not known yet. To be awaited before the others, which then
    /// answer at once.
    pub async fn prepare(&self, credentials: &Credentials<'_>) {
        if let (Some(tokens), Some(token)) = (&self.inner.tokens, credentials.bearer.or(credentials.query_token)) {
            tokens.prepare(token).await;
        }
    }

    /// [`Gate::identify`] that neither counts nor logs: for asking before somebody else decides.
    pub fn examine(&self, credentials: &Credentials<'_>) -> Result<Identity, AuthError> {
        if self.is_open() {
            return Ok(Identity::anonymous_admin());
        }
        match (credentials.api_key, credentials.bearer.or(credentials.query_token)) {
            (Some(key), _) => self.inner.keys.find(key).ok_or(AuthError::BadKey),
            (None, Some(either)) => match (self.inner.keys.find(either), &self.inner.tokens) {
                (Some(identity), _) => Ok(identity),
                // What has no dots was meant as a key.
                (None, Some(tokens)) if either.contains('.') => self.by_token(tokens, either),
                (None, _) => Err(AuthError::BadKey),
            },
            (None, None) => Err(AuthError::Missing),
        }
    }

    /// Counts a refusal and tells the security log of it.
    pub fn refused(&self, error: AuthError) {
        self.inner.failures.get_or_create(&ReasonLabel { reason: error.reason() }).inc();
        match error {
            // Nobody tried anything: a browser that is not logged in yet.
            AuthError::Missing => tracing::debug!(target: "security", reason = error.reason(), "caller refused"),
            _ => tracing::warn!(target: "security", reason = error.reason(), "caller refused"),
        }
    }

    /// The claims of a connection token of the channel protocol, which needs neither `sub` nor `exp`. A subscription
    /// token is none.
    pub async fn connection_token(&self, token: &str) -> Result<(Claims, Identity), AuthError> {
        let (claims, identity) = self.channel_token(token).await?;
        if claims.channel.is_some() { Err(AuthError::BadToken) } else { Ok((claims, identity)) }
    }

    /// The claims of a subscription token. That its channel and its subject are those of the request, the caller checks.
    pub async fn subscription_token(&self, token: &str) -> Result<Claims, AuthError> {
        let (claims, _) = self.channel_token(token).await?;
        if claims.channel.is_some() { Ok(claims) } else { Err(AuthError::BadToken) }
    }

    async fn channel_token(&self, token: &str) -> Result<(Claims, Identity), AuthError> {
        let tokens = self.inner.tokens.as_ref().ok_or(AuthError::BadToken)?;
        tokens.prepare(token).await;
        let read = tokens.read(token, &self.inner.clock).and_then(|(claims, id)| {
            let subject = claims.subject.clone().unwrap_or_default();
            let identity = token_identity(subject, claims.clone(), id);
            if self.inner.revocations.holds(&identity) { Err(AuthError::Revoked) } else { Ok((claims, identity)) }
        });
        read.inspect_err(|error| self.refused(*error))
    }

    fn by_token(&self, tokens: &TokenReader, token: &str) -> Result<Identity, AuthError> {
        let (claims, id) = tokens.read(token, &self.inner.clock)?;
        let (Some(subject), Some(_), None) = (claims.subject.clone(), claims.expires_at_ms, &claims.channel) else {
            return Err(AuthError::BadToken);
        };
        let identity = token_identity(subject, claims, id);
        if self.inner.revocations.holds(&identity) { Err(AuthError::Revoked) } else { Ok(identity) }
    }

    pub fn revocations(&self) -> &Revocations {
        &self.inner.revocations
    }

    /// Every revocation from now on, for whoever holds connections open: each that [`Revocation::concerns`] a
    /// connection's identity ends it.
    pub fn watch_revocations(&self) -> broadcast::Receiver<Revocation> {
        self.inner.revocations.watch()
    }
}

/// A role that is not ours gives the least.
fn token_identity(subject: String, claims: Claims, id: super::TokenId) -> Identity {
    let role = claims.role.as_deref().and_then(|role| role.parse().ok()).unwrap_or(Role::User);
    Identity::new(subject, role, Proof::Token { claims: Arc::new(claims), id })
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
            AuthError::OtherAudience => "other_audience",
            AuthError::OtherIssuer => "other_issuer",
            AuthError::Revoked => "revoked",
        }
    }
}

//! JSON Web Tokens, signed with a shared secret: issued by the command line, checked by the gate.

use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::{AuthError, AuthOptions, Identity, Role, Secret};
use crate::clock::Clock;

/// What the clocks of two machines may differ.
const LEEWAY_S: f64 = 5.0;

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("tokens need a secret: set JWT_SECRET_KEY or SECRET_KEY")]
    NoSecret,
    #[error("the token could not be signed: {0}")]
    Signing(#[from] jsonwebtoken::errors::Error),
}

#[derive(Serialize)]
struct Issued<'a> {
    sub: &'a str,
    role: &'a str,
    iat: i64,
    exp: i64,
}

/// Signs a token (HS256) for `subject`, valid from now for `ttl`.
pub fn issue_token(
    options: &AuthOptions,
    clock: &Clock,
    subject: &str,
    role: Role,
    ttl: Duration,
) -> Result<String, TokenError> {
    let secret = options.token_secret().ok_or(TokenError::NoSecret)?;
    let iat = clock.now().timestamp();
    let exp = iat.saturating_add(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX));
    let claims = Issued { sub: subject, role: role.as_str(), iat, exp };
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?)
}

/// The claims that are looked at. RFC 7519 lets times have fractions.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    nbf: Option<f64>,
    /// Other systems' tokens have roles of their own, not all of them text.
    role: Option<serde_json::Value>,
}

/// Checks tokens against one secret.
pub(super) struct TokenReader {
    key: DecodingKey,
    validation: Validation,
}

impl TokenReader {
    pub fn new(secret: &Secret) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // The list is what refuses `none` and the confusion of a public key with a secret.
        validation.algorithms = vec![Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
        validation.set_required_spec_claims(&["exp", "sub"]);
        // Times are checked below, against the one clock.
        validation.validate_exp = false;
        // Tokens of existing back ends name audiences that were never agreed on here; the secret is what is shared.
        validation.validate_aud = false;
        Self { key: DecodingKey::from_secret(secret.expose().as_bytes()), validation }
    }

    pub fn read(&self, token: &str, clock: &Clock) -> Result<Identity, AuthError> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature => AuthError::BadSignature,
                _ => AuthError::BadToken,
            })?
            .claims;
        let now_s = clock.now_ms() as f64 / 1000.0;
        if claims.exp + LEEWAY_S <= now_s {
            return Err(AuthError::Expired);
        }
        if claims.nbf.is_some_and(|nbf| nbf - LEEWAY_S > now_s) {
            return Err(AuthError::NotYetValid);
        }
        if claims.sub.is_empty() {
            return Err(AuthError::BadToken);
        }
        // A role that is not ours gives the least.
        let role = claims.role.as_ref().and_then(|role| role.as_str()).and_then(|role| role.parse().ok());
        Ok(Identity { subject: claims.sub.into(), role: role.unwrap_or(Role::User) })
    }
}

//! JSON Web Tokens: issued by the command line and by log-ins, checked by the gate.

use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::claims::Raw;
use super::jwks::KeySet;
use super::{AuthError, AuthOptions, Claims, Role, TokenId};
use crate::clock::Clock;

/// What the clocks of two machines may differ.
const LEEWAY_MS: i64 = 5_000;
/// Longer ones are not tokens.
const MOST_BYTES: usize = 16 * 1024;
/// What shared secrets sign with; keys of a key set name their own, so that neither can be taken for the other.
const HMAC: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

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
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
}

/// Signs a token (HS256) for `subject`, valid from now for `ttl`.
pub fn issue_token(
    options: &AuthOptions,
    clock: &Clock,
    subject: &str,
    role: Role,
    ttl: Duration,
) -> Result<String, TokenError> {
    issue_token_at(options, clock.now().timestamp(), subject, role, ttl)
}

/// [`issue_token`] with another second to begin in.
pub(super) fn issue_token_at(
    options: &AuthOptions,
    iat: i64,
    subject: &str,
    role: Role,
    ttl: Duration,
) -> Result<String, TokenError> {
    let secret = options.token_secret().ok_or(TokenError::NoSecret)?;
    let exp = iat.saturating_add(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX));
    let jti = uuid::Uuid::new_v4().simple().to_string();
    let (aud, iss) = (options.audience.first().map(String::as_str), options.issuer.as_deref());
    let claims = Issued { sub: subject, role: role.as_str(), iat, exp, jti, aud, iss };
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?)
}

/// Checks tokens against the shared secrets and the key set.
pub(super) struct TokenReader {
    secrets: Vec<DecodingKey>,
    key_set: Option<KeySet>,
    audience: Vec<String>,
    issuer: Option<String>,
    user_claim: Option<String>,
}

impl TokenReader {
    /// `None` where there is nothing to check tokens by.
    pub fn new(options: &AuthOptions, key_set: Option<KeySet>) -> Option<Self> {
        let secrets = options.token_secret().into_iter().chain(&options.jwt_previous_secret_key);
        let secrets: Vec<_> = secrets.map(|it| DecodingKey::from_secret(it.expose().as_bytes())).collect();
        if secrets.is_empty() && key_set.is_none() {
            return None;
        }
        let (audience, issuer) = (options.audience.clone(), options.issuer.clone());
        Some(Self { secrets, key_set, audience, issuer, user_claim: options.user_id_claim.clone() })
    }

    /// Looks for the key that a token names where it is not known yet; [`TokenReader::read`] is quick after it.
    pub async fn prepare(&self, token: &str) {
        let Some(key_set) = &self.key_set else { return };
        if let Ok(header) = header(token)
            && !HMAC.contains(&header.alg)
        {
            key_set.look_for(header.kid.as_deref()).await;
        }
    }

    /// What a token says, if its signature holds, it is in force now, and it is meant for here.
    pub fn read(&self, token: &str, clock: &Clock) -> Result<(Claims, TokenId), AuthError> {
        let header = header(token)?;
        let claims = if HMAC.contains(&header.alg) {
            self.secrets.iter().map(|key| self.verify(token, key, header.alg)).reduce(first_good)
        } else {
            let keys = self.key_set.as_ref().map(KeySet::keys).unwrap_or_default();
            keys.iter()
                .filter(|key| key.algorithms.contains(&header.alg) && (header.kid.is_none() || key.id == header.kid))
                .map(|key| self.verify(token, &key.key, header.alg))
                .reduce(first_good)
        };
        let claims = claims.unwrap_or(Err(AuthError::BadToken))?;
        self.judge(&claims, clock.now_ms())?;
        let id = token_id(&claims, token);
        Ok((claims, id))
    }

    /// One key, one algorithm: the list is what refuses `none` and the confusion of a public key with a secret.
    fn verify(&self, token: &str, key: &DecodingKey, algorithm: Algorithm) -> Result<Claims, AuthError> {
        let mut validation = Validation::new(algorithm);
        validation.required_spec_claims.clear();
        // Times, audience and issuer are judged here, against the one clock.
        (validation.validate_exp, validation.validate_aud) = (false, false);
        let read = match &self.user_claim {
            None => jsonwebtoken::decode::<Raw>(token, key, &validation).map(|data| data.claims),
            Some(claim) => jsonwebtoken::decode(token, key, &validation).and_then(|data| named(data.claims, claim)),
        };
        match read {
            Ok(raw) => Ok(raw.into()),
            Err(error) if *error.kind() == ErrorKind::InvalidSignature => Err(AuthError::BadSignature),
            Err(_) => Err(AuthError::BadToken),
        }
    }

    fn judge(&self, claims: &Claims, now_ms: i64) -> Result<(), AuthError> {
        if claims.expires_at_ms.is_some_and(|exp| exp.saturating_add(LEEWAY_MS) <= now_ms) {
            return Err(AuthError::Expired);
        }
        if claims.not_before_ms.is_some_and(|nbf| nbf.saturating_sub(LEEWAY_MS) > now_ms) {
            return Err(AuthError::NotYetValid);
        }
        if !self.audience.is_empty() && !claims.audience.iter().any(|named| self.audience.contains(named)) {
            return Err(AuthError::OtherAudience);
        }
        if self.issuer.is_some() && claims.issuer != self.issuer {
            return Err(AuthError::OtherIssuer);
        }
        Ok(())
    }
}

fn header(token: &str) -> Result<Header, AuthError> {
    if token.len() > MOST_BYTES {
        return Err(AuthError::BadToken);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| AuthError::BadToken)?;
    // An extension that must be understood is not.
    if header.crit.is_some() { Err(AuthError::BadToken) } else { Ok(header) }
}

/// The claims, where another one than `sub` names the user.
fn named(mut claims: Map<String, Value>, claim: &str) -> jsonwebtoken::errors::Result<Raw> {
    let user = claims.get(claim).cloned().unwrap_or_default();
    claims.insert("sub".to_owned(), user);
    Ok(serde_json::from_value(Value::Object(claims))?)
}

fn first_good(a: Result<Claims, AuthError>, b: Result<Claims, AuthError>) -> Result<Claims, AuthError> {
    if a.is_err() { b } else { a }
}

fn token_id(claims: &Claims, token: &str) -> TokenId {
    let digest = match &claims.id {
        Some(jti) => Sha256::new_with_prefix("jti\0").chain_update(jti).finalize(),
        None => {
            let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
            Sha256::new_with_prefix("token\0").chain_update(signed).finalize()
        }
    };
    TokenId(digest.iter().take(16).fold(0, |id, byte| (id << 8) | u128::from(*byte)))
}

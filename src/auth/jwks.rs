//! Public keys of another system that signs tokens: a JSON Web Key Set by URL or file, looked at again by the clock and
//! when a token names a key that is not known.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use reqwest::redirect::Policy;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::AuthOptions;
use crate::telemetry::{Registry, name};

/// A set is a few keys; what is larger is not one.
const MOST_BYTES: usize = 256 * 1024;
const MOST_KEYS: usize = 64;
const FETCH_WITHIN: Duration = Duration::from_secs(5);
/// Pauses between failed looks grow to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A set that could not be looked at for so long is no longer trusted: a key may have been taken back meanwhile.
const GOOD_FOR: Duration = Duration::from_secs(24 * 3600);

/// The keys in force. Cloning shares them.
#[derive(Clone)]
pub(super) struct KeySet(Arc<Inner>);

struct Inner {
    source: Source,
    keys: RwLock<Arc<Vec<VerifyingKey>>>,
    looks: Mutex<Looks>,
    every: Duration,
    pause: Duration,
    counted: Family<[(&'static str, &'static str); 1], Counter>,
}

enum Source {
    Url { url: String, client: reqwest::Client },
    File(PathBuf),
}

/// One key, and the algorithms that it may be used with: those of its own kind, so that no other can be forced on it.
pub(super) struct VerifyingKey {
    pub id: Option<String>,
    pub algorithms: Vec<Algorithm>,
    pub key: DecodingKey,
}

struct Looks {
    /// No look because of an unknown key before this.
    next: Option<Instant>,
    pause: Duration,
    last_good: Option<Instant>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum KeySetError {
    #[error("{0}")]
    Fetch(reqwest::Error),
    #[error("{0}")]
    Read(#[from] std::io::Error),
    #[error("it is larger than {MOST_BYTES} bytes")]
    TooLarge,
    #[error("it is not a JSON Web Key Set: {0}")]
    NotASet(#[from] serde_json::Error),
    #[error("it holds no key that can be used, or more than {MOST_KEYS}")]
    NoKeys,
}

impl KeySet {
    /// `None` where none is configured. Holds no keys before the first look.
    pub fn new(options: &AuthOptions, registry: &mut Registry) -> Option<Self> {
        let source = match (&options.jwks_url, &options.jwks_file) {
            (Some(url), _) => {
                // A redirect could lead from HTTPS to anywhere.
                let client = reqwest::Client::builder().timeout(FETCH_WITHIN).redirect(Policy::none());
                Source::Url { url: url.clone(), client: client.build().unwrap_or_default() }
            }
            (None, Some(path)) => Source::File(path.clone()),
            (None, None) => return None,
        };
        let counted = Family::default();
        registry.register(name::AUTH_KEY_SETS, "Looks at the key set of tokens, by outcome", counted.clone());
        let pause = Duration::from_millis(options.jwks_retry_ms);
        Some(Self(Arc::new(Inner {
            source,
            keys: RwLock::default(),
            looks: Mutex::new(Looks { next: None, pause, last_good: None }),
            every: Duration::from_secs(options.jwks_refresh_s),
            pause,
            counted,
        })))
    }

    pub fn keys(&self) -> Arc<Vec<VerifyingKey>> {
        self.0.keys.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Looks at the set when it does not hold the key that a token names. Whoever sends names of keys that do not exist
    /// causes one look an interval and no more; all others wait for that one.
    pub async fn look_for(&self, id: Option<&str>) {
        let known = || self.keys().iter().any(|key| id.is_none() || key.id.as_deref() == id);
        if known() {
            return;
        }
        let mut looks = self.0.looks.lock().await;
        if !known() && looks.next.is_none_or(|next| next <= Instant::now()) {
            // Its outcome is logged and counted; the token is judged by the keys that there are then.
            let _ = self.look(&mut looks).await;
        }
    }

    /// The first look, at the start.
    pub async fn load(&self) -> Result<(), KeySetError> {
        let mut looks = self.0.looks.lock().await;
        self.look(&mut looks).await
    }

    pub fn is_file(&self) -> bool {
        matches!(self.0.source, Source::File(_))
    }

    /// Looks by the clock until `stop`.
    pub async fn keep_fresh(self, stop: CancellationToken) {
        loop {
            let wait = {
                let looks = self.0.looks.lock().await;
                if looks.last_good.is_some() { self.0.every } else { looks.pause.min(self.0.every) }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            let mut looks = self.0.looks.lock().await;
            tokio::select! {
                () = stop.cancelled() => return,
                _ = self.look(&mut looks) => {}
            }
        }
    }

    async fn look(&self, looks: &mut Looks) -> Result<(), KeySetError> {
        let found = match self.0.source.read().await {
            Ok(text) => parse(&text),
            Err(error) => Err(error),
        };
        let outcome = match &found {
            Ok(_) => "ok",
            Err(_) => "failed",
        };
        self.0.counted.get_or_create(&[("outcome", outcome)]).inc();
        match found {
            Ok(keys) => {
                looks.pause = self.0.pause;
                looks.last_good = Some(Instant::now());
                looks.next = Some(Instant::now() + looks.pause);
                self.replace(keys);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "the key set for tokens could not be read; the keys that are known stay");
                looks.next = Some(Instant::now() + looks.pause);
                looks.pause = (looks.pause * 2).min(LONGEST_PAUSE.max(self.0.pause));
                if looks.last_good.is_some_and(|at| at.elapsed() > GOOD_FOR) {
                    tracing::error!("the key set for tokens is too old to be trusted; its keys are dropped");
                    looks.last_good = None;
                    self.replace(Vec::new());
                }
                Err(error)
            }
        }
    }

    fn replace(&self, keys: Vec<VerifyingKey>) {
        *self.0.keys.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(keys);
    }
}

impl Source {
    async fn read(&self) -> Result<Vec<u8>, KeySetError> {
        match self {
            Source::Url { url, client } => {
                let response = client.get(url).send().await.and_then(reqwest::Response::error_for_status);
                let mut response = response.map_err(KeySetError::Fetch)?;
                let mut text = Vec::new();
                while let Some(chunk) = response.chunk().await.map_err(KeySetError::Fetch)? {
                    text.extend_from_slice(&chunk);
                    if text.len() > MOST_BYTES {
                        return Err(KeySetError::TooLarge);
                    }
                }
                Ok(text)
            }
            Source::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || {
                    let size = std::fs::metadata(&path)?.len();
                    if size > MOST_BYTES as u64 { Err(KeySetError::TooLarge) } else { Ok(std::fs::read(&path)?) }
                });
                read.await.unwrap_or_else(|error| Err(std::io::Error::other(error).into()))
            }
        }
    }
}

/// The keys of a set that can check signatures. Keys of a kind that is not known here are nobody's mistake.
fn parse(text: &[u8]) -> Result<Vec<VerifyingKey>, KeySetError> {
    #[derive(serde::Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(text)?;
    if set.keys.len() > MOST_KEYS {
        return Err(KeySetError::NoKeys);
    }
    let jwks = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    let keys: Vec<_> = jwks.filter_map(|jwk| verifying_key(&jwk)).collect();
    if keys.is_empty() { Err(KeySetError::NoKeys) } else { Ok(keys) }
}

fn verifying_key(jwk: &Jwk) -> Option<VerifyingKey> {
    if jwk.common.public_key_use.as_ref().is_some_and(|use_for| *use_for != PublicKeyUse::Signature) {
        return None;
    }
    let mut algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => vec![Algorithm::RS256, Algorithm::RS384, Algorithm::RS512],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => vec![Algorithm::ES256],
            EllipticCurve::P384 => vec![Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => vec![Algorithm::EdDSA],
        // A shared secret in a published set would let everybody sign.
        _ => return None,
    };
    if let Some(named) = &jwk.common.key_algorithm {
        let named: Algorithm = named.to_string().parse().ok()?;
        algorithms.retain(|algorithm| *algorithm == named);
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    (!algorithms.is_empty()).then(|| VerifyingKey { id: jwk.common.key_id.clone(), algorithms, key })
}

//! API keys, kept as keyed hashes: neither the keys nor hashes that could be looked up elsewhere.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::options::MIN_CHARS;
use super::{AuthOptions, AuthOptionsError, Identity, Proof, Role, Scopes, Secret};

const SHA_PREFIX: &str = "sha256:";
const HMAC_PREFIX: &str = "hmac-sha256:";

/// One configured key, taken apart.
pub(super) struct Entry<'a> {
    role: Role,
    scopes: Option<Scopes>,
    kept: Kept<'a>,
}

/// How a key is given.
enum Kept<'a> {
    Plain(&'a str),
    Sha256([u8; 32]),
    /// HMAC-SHA256 under the pepper of the key's SHA-256.
    Hmac([u8; 32]),
}

impl<'a> Entry<'a> {
    /// `number` names it in errors, which must not show it.
    pub fn parse(entry: &'a Secret, number: usize) -> Result<Self, AuthOptionsError> {
        let text = entry.expose();
        let (role, scopes, kept) =
            if let Some((scopes, kept)) = text.strip_prefix('[').and_then(|it| it.split_once("]:")) {
                let scopes = scopes.parse().map_err(|error| AuthOptionsError::Scope { number, error })?;
                (Role::User, Some(scopes), kept)
            } else {
                match text.split_once(':').map(|(role, kept)| (role.parse(), kept)) {
                    Some((Ok(role), kept)) => (role, None, kept),
                    _ => (Role::Manager, None, text),
                }
            };
        let hash = |hex: &str| from_hex(hex).ok_or(AuthOptionsError::NotAHash { number });
        let kept = if let Some(hex) = kept.strip_prefix(SHA_PREFIX) {
            Kept::Sha256(hash(hex)?)
        } else if let Some(hex) = kept.strip_prefix(HMAC_PREFIX) {
            Kept::Hmac(hash(hex)?)
        } else {
            Kept::Plain(kept)
        };
        Ok(Self { role, scopes, kept })
    }

    pub fn check(&self, number: usize, has_pepper: bool) -> Result<(), AuthOptionsError> {
        match self.kept {
            Kept::Plain(key) if key.chars().count() < MIN_CHARS => {
                Err(AuthOptionsError::KeyTooShort { number, chars: key.chars().count() })
            }
            Kept::Hmac(_) if !has_pepper => Err(AuthOptionsError::NoPepper { number }),
            _ => Ok(()),
        }
    }
}

/// All keys of a server.
pub(super) struct Keys {
    list: Vec<Stored>,
    mac: Hmac<Sha256>,
}

struct Stored {
    mac: [u8; 32],
    identity: Identity,
}

impl Keys {
    pub fn new(options: &AuthOptions) -> Result<Self, AuthOptionsError> {
        let mac = match options.pepper() {
            Some(pepper) => keyed(pepper.expose().as_bytes()),
            // Without a pepper the hashes only have to hold for this process.
            None => keyed(uuid::Uuid::new_v4().as_bytes()),
        };
        let mut list = Vec::with_capacity(options.api_keys.len());
        for (entry, number) in options.api_keys.iter().zip(1..) {
            let entry = Entry::parse(entry, number)?;
            let (sealed, name) = match entry.kept {
                Kept::Plain(key) => {
                    let hash = Sha256::digest(key.as_bytes()).into();
                    (seal(&mac, &hash), subject(&hash))
                }
                Kept::Sha256(hash) => (seal(&mac, &hash), subject(&hash)),
                Kept::Hmac(sealed) => (sealed, subject(&sealed)),
            };
            let identity = Identity::new(name, entry.role, Proof::ApiKey);
            let identity = match entry.scopes {
                Some(scopes) => identity.with_scopes(Arc::new(scopes)),
                None => identity,
            };
            list.push(Stored { mac: sealed, identity });
        }
        Ok(Self { list, mac })
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Compares with every key in full, so that the time taken says nothing about any of them.
    pub fn find(&self, key: &str) -> Option<Identity> {
        let mac = seal(&self.mac, &Sha256::digest(key.as_bytes()).into());
        let (mut found, mut at) = (Choice::from(0), 0u32);
        for (stored, index) in self.list.iter().zip(0u32..) {
            let equal = stored.mac.ct_eq(&mac);
            at.conditional_assign(&index, equal);
            found |= equal;
        }
        if bool::from(found) { self.list.get(at as usize).map(|stored| stored.identity.clone()) } else { None }
    }
}

/// A new key and the entry of `auth.api_keys` by which a server knows it.
#[derive(Debug)]
pub struct MintedKey {
    pub key: Secret,
    pub entry: String,
}

impl MintedKey {
    /// `grant` is a role, or scopes with spaces between them. The entry holds the key's hash, keyed where the server has
    /// something to key it with.
    pub fn mint(options: &AuthOptions, grant: &str) -> Result<Self, super::ScopeError> {
        let grant = match grant.parse::<Role>() {
            Ok(role) => role.to_string(),
            Err(_) => format!("[{}]", grant.parse::<Scopes>()?),
        };
        let mut random = [0; 32];
        random[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        random[16..].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        // Hashed, so that the fixed bits of the two do not show; 244 of the bits are random.
        let key = format!("ff_{}", BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(random)));
        let hash: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let entry = match options.pepper() {
            Some(pepper) => {
                format!("{grant}:{HMAC_PREFIX}{}", to_hex(&seal(&keyed(pepper.expose().as_bytes()), &hash)))
            }
            None => format!("{grant}:{SHA_PREFIX}{}", to_hex(&hash)),
        };
        Ok(Self { key: Secret::new(key), entry })
    }
}

#[allow(clippy::expect_used, reason = "HMAC takes keys of every length")]
pub(super) fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret).expect("HMAC takes keys of every length")
}

pub(super) fn seal(mac: &Hmac<Sha256>, hash: &[u8; 32]) -> [u8; 32] {
    mac.clone().chain_update(hash).finalize().into_bytes().into()
}

/// The start of its hash names a key in logs without giving it away; the same on every node.
fn subject(hash: &[u8; 32]) -> String {
    format!("key:{}", to_hex(&hash[..4]))
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(hex: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    for (byte, at) in hash.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
    }
    (hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit())).then_some(hash)
}

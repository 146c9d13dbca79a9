//! Answers that nodes on one Redis share. While Redis is away or slow, each node makes its own.
//!
//! An answer stands under its key, with what it depends on and the moment at which it was made: each node decides for itself
//! whether it holds. What nobody asks for expires.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fred::interfaces::KeysInterface;
use fred::types::Expiration;
use sha2::{Digest, Sha256};

use crate::db::Depends;
use crate::http::side_redis::SideRedis;

/// Larger answers stay with the node that made them.
const MAX_BYTES: usize = 256 * 1024;
const INSTEAD: &str = "every node makes its own answers";

pub(super) struct Shared {
    redis: SideRedis,
    expiry: Duration,
    /// How often it may still be asked in vain.
    credit: AtomicI32,
}

/// Where asking one time in eight helps, it goes on; after so many in vain at the beginning it is asked rarely.
const GAIN: i32 = 8;
const MOST_CREDIT: i32 = 64;
const ASK_ONE_IN: u8 = 16;

impl Shared {
    pub async fn connect(url: &str, timeout: Duration, expiry: Duration) -> Result<Self, String> {
        Ok(Self { redis: SideRedis::connect(url, timeout).await?, expiry, credit: AtomicI32::new(MOST_CREDIT) })
    }

    /// Whether it is worth asking. Where no other node makes the same answers, or all are soon old, most ways are in vain;
    /// then only some are gone, to see whether that has changed.
    pub fn is_worth_asking(&self) -> bool {
        self.credit.load(Ordering::Relaxed) > 0 || fastrand::u8(0..ASK_ONE_IN) == 0
    }

    /// What came of asking.
    pub fn note(&self, helped: bool) {
        let step = |credit: i32| Some(if helped { (credit + GAIN).min(MOST_CREDIT) } else { (credit - 1).max(0) });
        let _ = self.credit.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
    }

    pub async fn get(&self, key: &str) -> Option<Found> {
        let asked = self.redis.client.get::<Option<Bytes>, _>(name(key));
        let value = self.redis.ask(asked, INSTEAD).await??;
        let end = value.iter().position(|byte| *byte == b'\n')?;
        let (stamp, depends) = serde_json::from_slice(&value[..end]).ok()?;
        Some(Found { stamp, depends, body: value[end + 1..].to_vec() })
    }

    pub async fn set(&self, key: &str, stamp: &str, depends: &Depends, body: &Bytes) {
        let Ok(mut value) = serde_json::to_vec(&(stamp, depends)) else { return };
        if body.len() + value.len() <= MAX_BYTES {
            value.push(b'\n');
            value.extend_from_slice(body);
            let expiry = Some(Expiration::EX(self.expiry.as_secs() as i64));
            let asked = self.redis.client.set::<(), _, _>(name(key), Bytes::from(value), expiry, None, false);
            self.redis.ask(asked, INSTEAD).await;
        }
    }
}

/// What another node has made.
pub(super) struct Found {
    pub stamp: String,
    pub depends: Depends,
    pub body: Vec<u8>,
}

/// Hashed: keys hold what clients ask for, of any length.
fn name(key: &str) -> String {
    let hash = Sha256::digest(key.as_bytes());
    let mut name = "fanfare:answers:".to_owned();
    hash.iter().take(16).for_each(|byte| name.push_str(&format!("{byte:02x}")));
    name
}

//! Answers that nodes on one Redis share. While Redis is away or slow, each node makes its own.
//!
//! An answer stands under its key and the version of its rows, so one of other rows is never found; what is out of date
//! expires by itself.

use std::time::Duration;

use bytes::Bytes;
use fred::interfaces::KeysInterface;
use fred::types::Expiration;
use sha2::{Digest, Sha256};

use crate::db::Version;
use crate::http::side_redis::SideRedis;

/// Larger answers stay with the node that made them.
const MAX_BYTES: usize = 256 * 1024;
const INSTEAD: &str = "every node makes its own answers";

pub(super) struct Shared {
    redis: SideRedis,
    expiry: Duration,
}

impl Shared {
    pub async fn connect(url: &str, timeout: Duration, expiry: Duration) -> Result<Self, String> {
        Ok(Self { redis: SideRedis::connect(url, timeout).await?, expiry })
    }

    pub async fn get(&self, key: &str, version: &Version) -> Option<Vec<u8>> {
        let asked = self.redis.client.get::<Option<Bytes>, _>(name(key, version));
        self.redis.ask(asked, INSTEAD).await?.map(|body| body.to_vec())
    }

    pub async fn set(&self, key: &str, version: &Version, body: &Bytes) {
        if body.len() <= MAX_BYTES {
            let expiry = Some(Expiration::EX(self.expiry.as_secs() as i64));
            let asked = self.redis.client.set::<(), _, _>(name(key, version), body.clone(), expiry, None, false);
            self.redis.ask(asked, INSTEAD).await;
        }
    }
}

/// Hashed: keys hold what clients ask for, of any length.
fn name(key: &str, version: &Version) -> String {
    let hash = Sha256::digest(format!("{version} {key}").as_bytes());
    let mut name = "fanfare:answer:".to_owned();
    hash.iter().take(16).for_each(|byte| name.push_str(&format!("{byte:02x}")));
    name
}

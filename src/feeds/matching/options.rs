//! What can be set about job matching.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MatchingOptions {
    /// Parts of batches computed at once in this process, 1 to 8.
    pub workers: usize,
    /// Users in one part of a matching batch.
    pub users_per_part: i64,
    /// How long behavior logs and recommendations are kept.
    pub keep_days: u32,
    /// Where unsubscribe links point, such as `https://jobs.example.com`.
    pub public_url: String,
    /// Mails sent in one go.
    pub mails_per_batch: usize,
    /// When each day's batch begins, in UTC as `HH:MM`; empty: never.
    pub cleanup_at: String,
    pub scoring_at: String,
    pub matching_at: String,
    pub email_at: String,
}

impl Default for MatchingOptions {
    fn default() -> Self {
        Self {
            workers: 8,
            users_per_part: 250,
            keep_days: 180,
            public_url: "http://127.0.0.1:8000".into(),
            mails_per_batch: 100,
            cleanup_at: String::new(),
            scoring_at: String::new(),
            matching_at: String::new(),
            email_at: String::new(),
        }
    }
}

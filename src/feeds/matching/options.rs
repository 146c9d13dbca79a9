//! What can be set about job matching.

use chrono::NaiveTime;
use serde::{Deserialize, Serialize};

use super::batch::BatchType;

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
    /// Recommendations that are older are not mailed: no day's mail repeats another's.
    pub mail_max_age_h: u32,
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
            mail_max_age_h: 24,
            cleanup_at: String::new(),
            scoring_at: String::new(),
            matching_at: String::new(),
            email_at: String::new(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum MatchingOptionsError {
    #[error("matching.{0} is not a time of day such as 04:30")]
    NotATime(&'static str),
    #[error("matching.{0} is out of its bounds")]
    OutOfBounds(&'static str),
    #[error("matching.public_url is not an http or https URL")]
    NotAUrl,
}

impl MatchingOptions {
    /// Refuses what cannot be, before a port is bound.
    pub fn check(&self) -> Result<(), MatchingOptionsError> {
        for (name, text) in self.times() {
            if !text.trim().is_empty() && time(text).is_none() {
                return Err(MatchingOptionsError::NotATime(name));
            }
        }
        for (name, holds) in [
            ("workers", (1..=8).contains(&self.workers)),
            ("users_per_part", (1..=10_000).contains(&self.users_per_part)),
            ("mails_per_batch", (1..=1_000).contains(&self.mails_per_batch)),
            ("mail_max_age_h", (1..=8_760).contains(&self.mail_max_age_h)),
            ("keep_days", (1..=36_500).contains(&self.keep_days)),
        ] {
            if !holds {
                return Err(MatchingOptionsError::OutOfBounds(name));
            }
        }
        let web = url::Url::parse(&self.public_url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if web { Ok(()) } else { Err(MatchingOptionsError::NotAUrl) }
    }

    fn times(&self) -> [(&'static str, &str); 4] {
        [
            ("cleanup_at", &self.cleanup_at),
            ("scoring_at", &self.scoring_at),
            ("matching_at", &self.matching_at),
            ("email_at", &self.email_at),
        ]
    }

    /// Kinds and their times of day.
    pub(super) fn schedule(&self) -> [(BatchType, Option<NaiveTime>); 4] {
        let [cleanup, scoring, matching, email] = self.times().map(|(_, text)| time(text));
        [
            (BatchType::Cleanup, cleanup),
            (BatchType::Scoring, scoring),
            (BatchType::DailyMatching, matching),
            (BatchType::EmailGeneration, email),
        ]
    }
}

fn time(text: &str) -> Option<NaiveTime> {
    NaiveTime::parse_from_str(text.trim(), "%H:%M").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(MatchingOptions::default().check().is_ok());
        let wrong = [
            MatchingOptions { matching_at: "８:00".into(), ..Default::default() },
            MatchingOptions { email_at: "25:00".into(), ..Default::default() },
            MatchingOptions { workers: 9, ..Default::default() },
            MatchingOptions { public_url: "javascript:x".into(), ..Default::default() },
        ];
        assert!(wrong.iter().all(|options| options.check().is_err()));
        let set = MatchingOptions { matching_at: "04:30".into(), ..Default::default() };
        assert!(set.check().is_ok() && set.schedule()[2].1.is_some() && set.schedule()[0].1.is_none());
    }
}

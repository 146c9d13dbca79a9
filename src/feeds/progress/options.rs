//! How events are taken, and when a student needs somebody.

use serde::Deserialize;

use crate::queue::JournalOptions;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProgressOptions {
    /// Whether `serve` applies events itself. Without it a `fanfare worker` has to run.
    pub worker: bool,
    /// Where accepted events wait: `auto` (Redis when there is one, else a file beside an embedded database that this
    /// process alone works on, else the table), `table`, `redis`.
    pub journal: JournalChoice,
    /// Accepted requests that may wait; one more is refused with 503.
    pub max_entries: usize,
    /// Requests whose events are applied in one transaction, at most; some megabytes of them are enough.
    pub batch_entries: usize,
    /// Redis: an entry whose worker has been silent for so long is another's to take.
    pub claim_idle_ms: u64,
    /// Longest code, result or error message of an event, in bytes; the rest is cut off.
    pub max_text_bytes: usize,
    /// What times without a zone are in: minutes east of UTC.
    pub zone_offset_minutes: i32,
    /// Errors in a row that make a student failing.
    pub failing_errors: u32,
    /// A student is stuck on a cell after this many times the class's median time for it, …
    pub stuck_factor: u32,
    /// … but not before this many seconds.
    pub stuck_min_s: u64,
    /// A student from whom nothing has come for so many seconds is idle.
    pub idle_s: u64,
    /// A call for help that is not repeated ends after so many seconds.
    pub help_timeout_s: u64,
    /// How often stuck, idle and ended calls for help are looked for, in milliseconds.
    pub sweep_ms: u64,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum JournalChoice {
    Auto,
    Table,
    Redis,
}

impl Default for ProgressOptions {
    fn default() -> Self {
        let journal = JournalOptions::default();
        Self {
            worker: true,
            journal: JournalChoice::Auto,
            max_entries: journal.max_entries,
            batch_entries: journal.batch_entries,
            claim_idle_ms: journal.claim_idle_ms,
            max_text_bytes: 65_536,
            zone_offset_minutes: 0,
            failing_errors: 3,
            stuck_factor: 3,
            stuck_min_s: 300,
            idle_s: 600,
            help_timeout_s: 1_800,
            sweep_ms: 5_000,
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("progress.{0}")]
pub struct ProgressOptionsError(&'static str);

impl ProgressOptions {
    pub fn check(&self) -> Result<(), ProgressOptionsError> {
        let rules = [
            (self.max_entries >= 1, "max_entries must be at least 1"),
            ((1..=1000).contains(&self.batch_entries), "batch_entries must be from 1 to 1000"),
            (self.claim_idle_ms >= 100, "claim_idle_ms must be at least 100"),
            (self.max_text_bytes >= 256, "max_text_bytes must be at least 256"),
            ((-14 * 60..=14 * 60).contains(&self.zone_offset_minutes), "zone_offset_minutes must be within ±840"),
            (self.failing_errors >= 1, "failing_errors must be at least 1"),
            (self.stuck_factor >= 1, "stuck_factor must be at least 1"),
            (self.sweep_ms >= 50, "sweep_ms must be at least 50"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, broken)) => Err(ProgressOptionsError(broken)),
            None => Ok(()),
        }
    }

    pub fn journal_options(&self) -> JournalOptions {
        JournalOptions {
            max_entries: self.max_entries,
            batch_entries: self.batch_entries,
            claim_idle_ms: self.claim_idle_ms,
        }
    }
}

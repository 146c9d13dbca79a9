//! How much of the past is kept.

use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordOptions {
    /// How long what was published is kept, in seconds. 0: nothing is recorded, and `?from=` is refused.
    pub age_s: u64,
    /// Publications of all channels that are kept at most.
    pub messages: u64,
}

impl Default for RecordOptions {
    fn default() -> Self {
        Self { age_s: 86_400, messages: 1_000_000 }
    }
}

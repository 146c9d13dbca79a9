//! Settings of shared poll: which back end is asked, how often and for how many keys.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use crate::auth::Secret;
use crate::http::outbound::is_private;

/// Settings that hold for all namespaces.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SharedPollOptions {
    /// What back ends sign lists of keys with, and what requests to them are signed with.
    pub hmac_secret_key: Option<Secret>,
    /// The one before: what it has signed is still good.
    pub hmac_previous_secret_key: Option<Secret>,
    /// Only what was signed until then, in seconds since 1970. 0: without end.
    pub hmac_previous_secret_key_valid_until: i64,
    /// Requests to back ends at once, of all channels of this node.
    pub concurrency_limit: usize,
    /// Whether back ends may be in private networks and on this machine.
    pub allow_private: bool,
}

impl Default for SharedPollOptions {
    fn default() -> Self {
        Self {
            hmac_secret_key: None,
            hmac_previous_secret_key: None,
            hmac_previous_secret_key_valid_until: 0,
            concurrency_limit: 64,
            allow_private: false,
        }
    }
}

/// Who tells that something has changed.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum PollMode {
    /// This node, by comparing; it numbers the changes for itself.
    #[default]
    Versionless,
    /// The back end, by a version of each key that grows.
    Versioned,
}

/// Settings of a namespace.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct PollOptions {
    /// The URL that is asked, by POST.
    pub endpoint: String,
    pub mode: PollMode,
    /// How often every key is asked for.
    pub refresh_interval_ms: u64,
    /// Keys of one request; more are spread over the interval.
    pub refresh_batch_size: usize,
    /// How long one request may take.
    pub timeout_ms: u64,
    /// Keys that one connection may track.
    pub max_keys_per_connection: usize,
    /// Keys of one channel on this node.
    pub max_keys: usize,
    /// How long a channel is remembered that nobody is on.
    pub channel_shutdown_delay_ms: u64,
    /// How long after its signature's end a key is tracked.
    pub track_expired_extra_delay_ms: u64,
    /// Whether what `shared_poll_publish` brings is told on all nodes; else only on the one that is asked.
    pub publish_enabled: bool,
    /// Whether the newest data of every key is kept, so that whoever comes has it at once.
    pub keep_latest_data: bool,
}

impl Default for PollOptions {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            mode: PollMode::Versionless,
            refresh_interval_ms: 10_000,
            refresh_batch_size: 1_000,
            timeout_ms: 1_000,
            max_keys_per_connection: 5_000,
            max_keys: 100_000,
            channel_shutdown_delay_ms: 1_000,
            track_expired_extra_delay_ms: 25_000,
            publish_enabled: false,
            keep_latest_data: false,
        }
    }
}

impl PollOptions {
    pub(super) fn every(&self) -> Duration {
        Duration::from_millis(self.refresh_interval_ms)
    }

    pub(super) fn lingers(&self) -> Duration {
        Duration::from_millis(self.channel_shutdown_delay_ms)
    }

    /// Why this cannot work.
    pub(in crate::session::centrifuge) fn check(&self, of_all: &SharedPollOptions) -> Result<(), String> {
        if of_all.hmac_secret_key.as_ref().is_none_or(|secret| secret.expose().is_empty()) {
            return Err("centrifuge.shared_poll.hmac_secret_key is not set".to_owned());
        }
        if of_all.concurrency_limit == 0 {
            return Err("centrifuge.shared_poll.concurrency_limit is at least 1".to_owned());
        }
        let url = Url::parse(&self.endpoint).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(host) = url.as_ref().and_then(Url::host) else {
            return Err(format!("endpoint {:?} is not an http or https URL", self.endpoint));
        };
        if !of_all.allow_private && is_private(&host) {
            return Err(format!(
                "endpoint {:?} points into a private network; centrifuge.shared_poll.allow_private permits that",
                self.endpoint
            ));
        }
        let bounds = [self.refresh_batch_size, self.max_keys_per_connection, self.max_keys];
        if bounds.contains(&0) || self.timeout_ms == 0 {
            return Err(
                "refresh_batch_size, max_keys, max_keys_per_connection and timeout_ms are at least 1".to_owned()
            );
        }
        if self.refresh_interval_ms < 10 {
            return Err("refresh_interval_ms is at least 10".to_owned());
        }
        if self.publish_enabled && self.mode == PollMode::Versionless {
            return Err("publish_enabled needs mode = \"versioned\"".to_owned());
        }
        Ok(())
    }
}

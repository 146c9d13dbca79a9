//! How much a caller may ask for.

use serde::{Deserialize, Serialize};

/// Requests a minute, each to be had at once and then refilled evenly. 0: no bound.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateOptions {
    /// Of a client address that shows no valid credential. An IPv6 /64 counts as one address.
    pub per_address: u32,
    /// Of one API key, however many addresses use it.
    pub per_key: u32,
    /// Of one user, known by a token.
    pub per_user: u32,
    /// Log-ins and refreshes of one client address.
    pub log_in_per_address: u32,
    /// Log-ins to one account, wherever they come from.
    pub log_in_per_account: u32,
    /// Addresses, keys and users that are remembered, each kind for itself; the least recently seen are forgotten first.
    pub max_keys: usize,
    /// How long the answer of a shared Redis is waited for; then this node's own count decides.
    pub redis_timeout_ms: u64,
}

impl Default for RateOptions {
    fn default() -> Self {
        Self {
            per_address: 100,
            per_key: 60_000,
            per_user: 6_000,
            log_in_per_address: 10,
            log_in_per_account: 20,
            max_keys: 100_000,
            redis_timeout_ms: 100,
        }
    }
}

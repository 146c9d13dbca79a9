//! Requests that this server makes to addresses which somebody else has named: webhooks, and back ends that are polled.
//!
//! They follow no redirects and use no proxy, and reach no private address where that is not permitted.

mod address;

use std::error::Error;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use reqwest::redirect::Policy;
use sha2::Sha256;

pub use address::is_private;
use address::{PrivateAddress, PublicOnly};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The key of what is signed.
pub type SigningKey = Hmac<Sha256>;

/// `timeout`: for the whole of one request.
pub fn client(allow_private: bool, timeout: Duration) -> Result<reqwest::Client, reqwest::Error> {
    let mut client = reqwest::Client::builder()
        // A proxy would resolve names by itself, past the check of addresses.
        .no_proxy()
        .redirect(Policy::none())
        .timeout(timeout)
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .user_agent(concat!("fanfare/", env!("CARGO_PKG_VERSION")));
    if !allow_private {
        client = client.dns_resolver(Arc::new(PublicOnly));
    }
    client.build()
}

/// A key of any length.
pub fn signing_key(secret: &str) -> Option<SigningKey> {
    // HMAC takes keys of every length, so this is always `Some`.
    SigningKey::new_from_slice(secret.as_bytes()).ok()
}

/// The value of `X-Fanfare-Signature` for a body sent at that time, in seconds since 1970.
pub fn sign(key: &SigningKey, sent_at_s: &str, body: &[u8]) -> String {
    let mut mac = key.clone();
    mac.update(sent_at_s.as_bytes());
    mac.update(b".");
    mac.update(body);
    let mut header = "sha256=".to_owned();
    for byte in mac.finalize().into_bytes() {
        let _ = write!(header, "{byte:02x}");
    }
    header
}

/// Why a request had no answer.
pub struct Reason {
    pub text: String,
    /// Its address is one that may not be reached.
    pub private: bool,
}

/// The causes of an error, outermost first. The URL is left out, as it may hold a secret.
pub fn reason(error: &reqwest::Error) -> Reason {
    let mut reason = Reason { text: String::new(), private: false };
    let mut cause: Option<&dyn Error> = error.source();
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        reason.private |= io.is_some_and(|inner| inner.is::<PrivateAddress>()) || error.is::<PrivateAddress>();
        if !reason.text.is_empty() {
            reason.text.push_str(": ");
        }
        let _ = write!(reason.text, "{error}");
        cause = error.source();
    }
    if error.is_timeout() {
        reason.text.insert_str(0, "timed out: ");
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_with_only_private_addresses_is_refused_when_it_is_resolved() {
        let client = client(false, Duration::from_secs(5)).unwrap();
        let refused = client.post("http://localhost:9/").send().await.unwrap_err();
        assert!(reason(&refused).private, "{refused:?}");
    }

    #[test]
    fn signatures_are_those_of_rfc_2104() {
        // Computed with `openssl dgst -sha256 -hmac key` over `1700000000.{}`.
        assert_eq!(
            sign(&signing_key("key").unwrap(), "1700000000", b"{}"),
            "sha256=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae"
        );
    }
}

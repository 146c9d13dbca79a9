//! Delivery by webhook: a POST of the alert as JSON.
//!
//! With a secret each request carries `X-Fanfare-Signature: sha256=<hex>`, the HMAC-SHA256 of the value of
//! `X-Fanfare-Timestamp`, a full stop and the body. A receiver checks it and refuses old timestamps, so that a recorded
//! request is worth nothing later. `X-Fanfare-Delivery` is the same in every attempt of one delivery.

use std::error::Error;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::StatusCode;
use reqwest::redirect::Policy;
use sha2::Sha256;
use url::Url;

use super::Alert;
use super::address::{PrivateAddress, PublicOnly, is_private};
use super::options::AlertOptions;
use crate::queue::Outcome;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Webhooks {
    client: reqwest::Client,
    key: Option<Hmac<Sha256>>,
    allow_private: bool,
}

impl Webhooks {
    pub fn new(options: &AlertOptions) -> Result<Self, reqwest::Error> {
        let timeout = Duration::from_millis(options.webhook_timeout_ms);
        let mut client = reqwest::Client::builder()
            // A proxy would resolve names by itself, past the check of addresses.
            .no_proxy()
            .redirect(Policy::none())
            .timeout(timeout)
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .user_agent(concat!("fanfare/", env!("CARGO_PKG_VERSION")));
        if !options.allow_private {
            client = client.dns_resolver(Arc::new(PublicOnly));
        }
        let key = options.webhook_secret.as_ref().and_then(|secret| {
            // HMAC takes keys of every length, so this is always `Some`.
            Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()
        });
        Ok(Self { client: client.build()?, key, allow_private: options.allow_private })
    }

    pub async fn deliver(&self, alert: &Alert, url: &str, delivery_id: &str, now: DateTime<Utc>) -> Outcome {
        // An address in the URL itself is never resolved, so the resolver cannot refuse it.
        if !self.allow_private && Url::parse(url).is_ok_and(|url| url.host().is_some_and(|host| is_private(&host))) {
            return Outcome::Dead("points into a private network".into());
        }
        let body = match serde_json::to_vec(alert) {
            Ok(body) => body,
            Err(error) => return Outcome::Dead(error.to_string()),
        };
        let sent_at_s = now.timestamp().to_string();
        let mut request = self
            .client
            .post(url)
            .header("Content-Type", "application/json")
            .header("X-Fanfare-Event", kind_for_header(&alert.kind))
            .header("X-Fanfare-Delivery", delivery_id)
            .header("X-Fanfare-Timestamp", &sent_at_s);
        if let Some(key) = &self.key {
            request = request.header("X-Fanfare-Signature", sign(key, &sent_at_s, &body));
        }
        match request.body(body).send().await {
            Ok(response) => judge(response.status()),
            Err(error) => {
                let reason = chain(&error);
                // The configuration forbids it, and another try changes nothing about that.
                if error.is_builder() || reason.private {
                    Outcome::Dead(reason.text)
                } else {
                    Outcome::Retry(reason.text)
                }
            }
        }
    }
}

/// What an answer means for the delivery. The body is not read: it could be endless, and says nothing to us.
fn judge(status: StatusCode) -> Outcome {
    match status {
        status if status.is_success() => Outcome::Done,
        // These say "not now" although they are in the 400s.
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Outcome::Retry(format!("answered {status}"))
        }
        status if status.is_redirection() => Outcome::Dead(format!("answered {status}; redirects are not followed")),
        status if status.is_client_error() => Outcome::Dead(format!("answered {status}")),
        status => Outcome::Retry(format!("answered {status}")),
    }
}

fn sign(key: &Hmac<Sha256>, sent_at_s: &str, body: &[u8]) -> String {
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

/// Header values are ASCII; a kind is a word of ours, but comes through a queue that others could write to.
fn kind_for_header(kind: &str) -> String {
    kind.chars().filter(char::is_ascii_graphic).take(100).collect()
}

struct Reason {
    text: String,
    private: bool,
}

/// The causes of an error, outermost first. The URL is left out, as it may hold a secret.
fn chain(error: &reqwest::Error) -> Reason {
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
        let webhooks = Webhooks::new(&AlertOptions::default()).unwrap();
        let alert: Alert = serde_json::from_str(r#"{"kind": "stock_low"}"#).unwrap();
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        // Past the check of the settings, as a public name that answers with a private address would be.
        let refused = webhooks.client.post("http://localhost:9/").send().await.unwrap_err();
        assert!(chain(&refused).private, "{refused:?}");
        for url in ["http://127.0.0.1:9/", "http://[::1]:9/", "http://localhost:9/"] {
            let outcome = webhooks.deliver(&alert, url, "1", now).await;
            assert!(matches!(outcome, Outcome::Dead(_)), "{url}: {outcome:?}");
        }
    }

    #[test]
    fn signatures_are_those_of_rfc_2104() {
        // Computed with `openssl dgst -sha256 -hmac key` over `1700000000.{}`.
        let key = Hmac::<Sha256>::new_from_slice(b"key").unwrap();
        assert_eq!(
            sign(&key, "1700000000", b"{}"),
            "sha256=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae"
        );
    }
}

//! Delivery by webhook: a POST of the alert as JSON.
//!
//! With a secret each request carries `X-Fanfare-Signature: sha256=<hex>`, the HMAC-SHA256 of the value of
//! `X-Fanfare-Timestamp`, a full stop and the body. A receiver checks it and refuses old timestamps, so that a recorded
//! request is worth nothing later. `X-Fanfare-Delivery` is the same in every attempt of one delivery.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use url::Url;

use super::Alert;
use super::options::AlertOptions;
use crate::http::outbound::{self, SigningKey, is_private, reason, sign};
use crate::queue::Outcome;

pub(super) struct Webhooks {
    client: reqwest::Client,
    key: Option<SigningKey>,
    allow_private: bool,
}

impl Webhooks {
    pub fn new(options: &AlertOptions) -> Result<Self, reqwest::Error> {
        let client = outbound::client(options.allow_private, Duration::from_millis(options.webhook_timeout_ms))?;
        let key = options.webhook_secret.as_ref().and_then(|secret| outbound::signing_key(secret.expose()));
        Ok(Self { client, key, allow_private: options.allow_private })
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
                let reason = reason(&error);
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

/// Header values are ASCII; a kind is a word of ours, but comes through a queue that others could write to.
fn kind_for_header(kind: &str) -> String {
    kind.chars().filter(char::is_ascii_graphic).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn private_addresses_are_refused() {
        let webhooks = Webhooks::new(&AlertOptions::default()).unwrap();
        let alert: Alert = serde_json::from_str(r#"{"kind": "stock_low"}"#).unwrap();
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        for url in ["http://127.0.0.1:9/", "http://[::1]:9/", "http://localhost:9/"] {
            let outcome = webhooks.deliver(&alert, url, "1", now).await;
            assert!(matches!(outcome, Outcome::Dead(_)), "{url}: {outcome:?}");
        }
    }
}

//! The back end: what it is asked, and what it answers.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use reqwest::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::Url;

use super::{PollItem, PollMode, PollOptions};
use crate::http::outbound::{SigningKey, is_private, reason, sign};
use crate::wire::is_json;

/// An answer that is larger is not read.
const MOST_BYTES: usize = 16 << 20;

#[derive(Serialize)]
struct Question<'a> {
    channel: &'a str,
    items: Vec<Asked<'a>>,
}

#[derive(Serialize)]
struct Asked<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

#[derive(Deserialize)]
struct Answered {
    result: Option<Told>,
    error: Option<Refused>,
}

#[derive(Deserialize)]
struct Refused {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Told {
    items: Vec<Item>,
    epoch: String,
}

#[derive(Deserialize)]
struct Item {
    key: String,
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    #[serde(default)]
    version: u64,
    #[serde(default)]
    removed: bool,
}

/// What a back end has said.
pub(super) struct Answer {
    pub items: Vec<PollItem>,
    pub epoch: String,
}

/// Why there is no answer: a word for the metrics, and what is logged.
pub(super) struct NoAnswer {
    pub outcome: &'static str,
    pub why: String,
}

fn no(outcome: &'static str, why: impl Into<String>) -> NoAnswer {
    NoAnswer { outcome, why: why.into() }
}

/// How all back ends are asked.
pub(super) struct Caller {
    pub client: Option<reqwest::Client>,
    pub key: Option<SigningKey>,
    pub allow_private: bool,
}

impl Caller {
    pub async fn ask(
        &self,
        options: &PollOptions,
        channel: &str,
        keys: &[(Arc<str>, u64)],
        now_s: i64,
    ) -> Result<Answer, NoAnswer> {
        // An address in the URL itself is never resolved, so the resolver cannot refuse it.
        let private = Url::parse(&options.endpoint).is_ok_and(|url| url.host().is_some_and(|host| is_private(&host)));
        if private && !self.allow_private {
            return Err(no("refused", "points into a private network"));
        }
        let Some(client) = &self.client else { return Err(no("failed", "there is no HTTP client")) };
        let versioned = options.mode == PollMode::Versioned;
        let items = keys.iter().map(|(key, version)| Asked { key, version: versioned.then_some(*version) });
        let body = serde_json::to_vec(&Question { channel, items: items.collect() });
        let body = body.map_err(|error| no("failed", error.to_string()))?;
        let sent_at_s = now_s.to_string();
        let mut request = client
            .post(&options.endpoint)
            .timeout(std::time::Duration::from_millis(options.timeout_ms))
            .header(CONTENT_TYPE, "application/json")
            .header("X-Fanfare-Timestamp", &sent_at_s);
        if let Some(key) = &self.key {
            request = request.header("X-Fanfare-Signature", sign(key, &sent_at_s, &body));
        }
        let failed = |error: reqwest::Error| {
            let outcome = if error.is_timeout() { "timeout" } else { "failed" };
            no(outcome, reason(&error).text)
        };
        let mut response = request.body(body).send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(no("refused", format!("answered {}", response.status())));
        }
        let mut answer = BytesMut::new();
        while let Some(part) = response.chunk().await.map_err(failed)? {
            if answer.len() + part.len() > MOST_BYTES {
                return Err(no("too_large", format!("answered more than {MOST_BYTES} bytes")));
            }
            answer.extend_from_slice(&part);
        }
        read(&answer)
    }
}

fn read(answer: &[u8]) -> Result<Answer, NoAnswer> {
    let answered: Answered = serde_json::from_slice(answer).map_err(|error| no("not_understood", error.to_string()))?;
    if let Some(Refused { code, message }) = answered.error {
        return Err(no("refused", format!("answered the error {code} {message:?}")));
    }
    let Told { items, epoch } = answered.result.ok_or_else(|| no("not_understood", "there is no result"))?;
    let items = items.into_iter().map(|Item { key, data, b64data, version, removed }| {
        let given = data.map(|data| Bytes::from(String::from(Box::<str>::from(data))));
        let decoded = || Bytes::from(b64data.and_then(|text| BASE64_STANDARD.decode(text).ok()).unwrap_or_default());
        let data = given.or_else(|| Some(decoded()).filter(|data| is_json(data).is_ok()));
        PollItem { key, data, version, removed }
    });
    Ok(Answer { items: items.collect(), epoch })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_they_are_documented() {
        let answer = br#"{"result":{"epoch":"e","items":[{"key":"a","data":{"n": 1},"version":3},{"key":"b","version":2},
            {"key":"c","removed":true},{"key":"d","b64data":"WzFd"},{"key":"e","b64data":"/w=="},{"key":"f","data":null}]}}"#;
        let Ok(Answer { items, epoch }) = read(answer) else { panic!("it is understood") };
        let told: Vec<_> = items.iter().map(|item| (item.data.as_deref(), item.version, item.removed)).collect();
        let data = |text: &'static str| Some(text.as_bytes());
        let expected = [(data("{\"n\": 1}"), 3, false), (None, 2, false), (None, 0, true), (data("[1]"), 0, false)];
        assert_eq!((&told[..4], &*epoch), (&expected[..], "e"));
        assert_eq!(told[4..], [(None, 0, false), (None, 0, false)], "not JSON, and nothing");
        let outcome = |text: &str| read(text.as_bytes()).err().map(|no| no.outcome);
        assert_eq!(outcome(r#"{"error":{"code":1000,"message":"busy"}}"#), Some("refused"));
        for wrong in ["", "[]", "{}", r#"{"result":{"items":[{"data":1}]}}"#, r#"{"result":{"items":{}}}"#] {
            assert_eq!(outcome(wrong), Some("not_understood"), "{wrong}");
        }
    }
}

//! What a token says, once its signature holds. Connection tokens and subscription tokens have one set of claims.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The claims of a token that the server looks at; times in milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// `sub`; empty or missing: an anonymous client, which only the channel protocol knows.
    pub subject: Option<String>,
    /// `role`; another system's roles give nothing.
    pub role: Option<String>,
    /// `exp`: until when the token can be shown.
    pub expires_at_ms: Option<i64>,
    /// `expire_at`: until when what was opened with it may stay open, apart from `exp`; `Some(None)` is for ever.
    pub expire_at_ms: Option<Option<i64>>,
    /// `iat`.
    pub issued_at_ms: Option<i64>,
    /// `nbf`.
    pub not_before_ms: Option<i64>,
    /// `jti`.
    pub id: Option<String>,
    /// `aud`.
    pub audience: Vec<String>,
    /// `iss`.
    pub issuer: Option<String>,
    /// `info`, or `b64info` as text: shown to others in presence, join, leave and publications.
    pub info: Option<Info>,
    /// `meta`: kept on the server.
    pub meta: Option<Value>,
    /// `channels`: what the server subscribes the client to.
    pub channels: Vec<String>,
    /// `subs`: the same with options, and with the last word where both name a channel.
    pub subs: BTreeMap<String, ServerSub>,
    /// `channel`: makes it a subscription token, good for this channel and nothing else.
    pub channel: Option<String>,
    /// `client`: an older way to bind a subscription token, to one connection.
    pub client: Option<String>,
    /// `override`, of a subscription token.
    pub overrides: Overrides,
}

/// What the others are shown of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Info {
    Json(Value),
    Bytes(Vec<u8>),
}

/// One server-side subscription of a connection token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerSub {
    pub info: Option<Info>,
    pub data: Option<Info>,
    pub overrides: Overrides,
}

/// Channel options that a token sets for one subscription; `None` leaves them as the namespace has them.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Overrides {
    #[serde(deserialize_with = "wrapped")]
    pub presence: Option<bool>,
    #[serde(deserialize_with = "wrapped")]
    pub join_leave: Option<bool>,
    #[serde(deserialize_with = "wrapped")]
    pub force_recovery: Option<bool>,
    #[serde(deserialize_with = "wrapped")]
    pub force_positioning: Option<bool>,
    #[serde(deserialize_with = "wrapped")]
    pub force_push_join_leave: Option<bool>,
}

/// Names a token for revocation: a hash of its `jti`, or of what is signed where it has none. Not the signature: some
/// algorithms give several for the same text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct TokenId(pub(super) u128);

impl Claims {
    /// When what was opened with this token ends: `expire_at` where it stands, otherwise `exp`.
    pub fn connection_ends_at_ms(&self) -> Option<i64> {
        self.expire_at_ms.unwrap_or(self.expires_at_ms)
    }
}

/// As it is written. RFC 7519 lets times have fractions; `aud` is text or a list.
#[derive(Deserialize)]
pub(super) struct Raw {
    sub: Option<String>,
    // Other systems' tokens have roles of their own, not all of them text.
    role: Option<Value>,
    exp: Option<f64>,
    expire_at: Option<f64>,
    iat: Option<f64>,
    nbf: Option<f64>,
    // RFC 7519 wants text, but numbers are seen.
    jti: Option<Value>,
    aud: Option<Audience>,
    iss: Option<Value>,
    info: Option<Value>,
    #[serde(default, deserialize_with = "base64_bytes")]
    b64info: Option<Vec<u8>>,
    meta: Option<Value>,
    #[serde(default, deserialize_with = "or_default")]
    channels: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    subs: BTreeMap<String, RawSub>,
    channel: Option<String>,
    client: Option<String>,
    #[serde(default, rename = "override", deserialize_with = "or_default")]
    overrides: Overrides,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawSub {
    info: Option<Value>,
    #[serde(deserialize_with = "base64_bytes")]
    b64info: Option<Vec<u8>>,
    data: Option<Value>,
    #[serde(deserialize_with = "base64_bytes")]
    b64data: Option<Vec<u8>>,
    #[serde(rename = "override", deserialize_with = "or_default")]
    overrides: Overrides,
}

impl From<Raw> for Claims {
    fn from(raw: Raw) -> Self {
        let text = |value: Option<Value>| match value {
            Some(Value::String(text)) => Some(text),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        Self {
            subject: raw.sub.filter(|sub| !sub.is_empty()),
            role: raw.role.and_then(|role| role.as_str().map(str::to_owned)),
            expires_at_ms: raw.exp.map(ms),
            expire_at_ms: raw.expire_at.map(|at| (at > 0.0).then(|| ms(at))),
            issued_at_ms: raw.iat.map(ms),
            not_before_ms: raw.nbf.map(ms),
            id: text(raw.jti).filter(|id| !id.is_empty()),
            audience: match raw.aud {
                Some(Audience::One(one)) => vec![one],
                Some(Audience::Several(several)) => several,
                None => Vec::new(),
            },
            issuer: text(raw.iss),
            info: Info::of(raw.info, raw.b64info),
            meta: raw.meta,
            channels: raw.channels,
            subs: raw.subs.into_iter().map(|(channel, sub)| (channel, sub.into())).collect(),
            channel: raw.channel.filter(|channel| !channel.is_empty()),
            client: raw.client.filter(|client| !client.is_empty()),
            overrides: raw.overrides,
        }
    }
}

impl From<RawSub> for ServerSub {
    fn from(raw: RawSub) -> Self {
        Self { info: Info::of(raw.info, raw.b64info), data: Info::of(raw.data, raw.b64data), overrides: raw.overrides }
    }
}

impl Info {
    fn of(json: Option<Value>, bytes: Option<Vec<u8>>) -> Option<Self> {
        bytes.map(Self::Bytes).or(json.map(Self::Json))
    }
}

/// Seconds as milliseconds; what is out of range stays at its end.
fn ms(seconds: f64) -> i64 {
    (seconds * 1000.0) as i64
}

/// `null` counts as missing.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// `{"value": true}`.
fn wrapped<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    #[derive(Deserialize)]
    struct Wrapped {
        #[serde(default)]
        value: bool,
    }
    Ok(Option::<Wrapped>::deserialize(deserializer)?.map(|wrapped| wrapped.value))
}

fn base64_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty());
    text.map(|text| BASE64_STANDARD.decode(text).map_err(de::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: Value) -> Option<Claims> {
        serde_json::from_value::<Raw>(json).ok().map(Claims::from)
    }

    #[test]
    fn a_connection_tokens_claims_are_read() {
        let claims =
            read(json!({"sub": "ann", "exp": 100.5, "expire_at": 0, "jti": 7, "aud": "a", "info": {"name": "Ann"},
            "meta": {"class": 3}, "channels": ["news"], "subs": {"price:updates": {"b64info": "AAE=", "data": 1,
            "override": {"presence": {"value": true}, "force_recovery": {"value": false}}}}}));
        let claims = claims.unwrap();
        assert_eq!((claims.expires_at_ms, claims.connection_ends_at_ms()), (Some(100_500), None));
        assert_eq!((claims.id.as_deref(), &claims.audience[..]), (Some("7"), &["a".to_owned()][..]));
        assert_eq!(claims.info, Some(Info::Json(json!({"name": "Ann"}))));
        let sub = &claims.subs["price:updates"];
        assert_eq!((&sub.info, &sub.data), (&Some(Info::Bytes(vec![0, 1])), &Some(Info::Json(json!(1)))));
        assert_eq!((sub.overrides.presence, sub.overrides.force_recovery), (Some(true), Some(false)));
        assert_eq!(sub.overrides.join_leave, None);
        assert_eq!(read(json!({"expire_at": 50, "exp": 100})).unwrap().connection_ends_at_ms(), Some(50_000));
        assert_eq!(read(json!({"aud": ["a", "b"], "subs": null, "channels": null})).unwrap().audience.len(), 2);
    }

    #[test]
    fn claims_of_the_wrong_shape_are_refused() {
        for wrong in [
            json!({"sub": 7}),
            json!({"exp": "tomorrow"}),
            json!({"channels": "news"}),
            json!({"subs": {"a": 1}}),
            json!({"b64info": "*"}),
            json!({"aud": 7}),
            json!({"channel": 1}),
            json!([]),
        ] {
            assert!(read(wrong.clone()).is_none(), "{wrong}");
        }
    }
}

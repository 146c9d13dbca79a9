//! What a back end signs: that this user may track these keys of this channel until then.

use hmac::Mac;
use sha2::{Digest, Sha256};

use super::SharedPollOptions;
use crate::http::outbound::{SigningKey, signing_key};
use crate::wire::centrifuge::Fault;

/// How long after its end a signature is taken still: clocks differ.
const GRACE_S: i64 = 5;

pub(super) struct Signatures {
    key: Option<SigningKey>,
    /// And until when it may have signed.
    previous: Option<(SigningKey, i64)>,
}

impl Signatures {
    pub fn new(options: &SharedPollOptions) -> Self {
        let until = match options.hmac_previous_secret_key_valid_until {
            0 => i64::MAX,
            until => until,
        };
        let key = |secret: &Option<crate::auth::Secret>| secret.as_ref().and_then(|one| signing_key(one.expose()));
        Self {
            key: key(&options.hmac_secret_key),
            previous: key(&options.hmac_previous_secret_key).map(|key| (key, until)),
        }
    }

    /// `iat:exp:hmac` over the keys in their order. Answers until when it is good, in seconds since 1970; `None`: without
    /// end.
    pub fn check<'a>(
        &self,
        signature: &str,
        user: &str,
        channel: &str,
        keys: impl Iterator<Item = &'a str>,
        now_s: i64,
    ) -> Result<Option<i64>, Fault> {
        let mut parts = signature.splitn(3, ':');
        let (Some(issued), Some(ends), Some(hex)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Fault::PermissionDenied);
        };
        let number = |text: &str| text.parse::<i64>().map_err(|_| Fault::PermissionDenied);
        let (issued_s, ends_s) = (number(issued)?, number(ends)?);
        let given = from_hex(hex).ok_or(Fault::PermissionDenied)?;
        let mut hash = Sha256::new();
        for (index, key) in keys.enumerate() {
            if index > 0 {
                hash.update([0]);
            }
            hash.update(key);
        }
        let keys = to_hex(&hash.finalize());
        let signed = [issued, ends, user, channel, &keys].join("\0");
        let by = |key: &SigningKey| key.clone().chain_update(&signed).verify_slice(&given).is_ok();
        let known = self.key.as_ref().is_some_and(by)
            || self.previous.as_ref().is_some_and(|(key, until)| issued_s <= *until && by(key));
        if !known {
            return Err(Fault::PermissionDenied);
        }
        if ends_s > 0 && now_s > ends_s.saturating_add(GRACE_S) {
            return Err(Fault::TokenExpired);
        }
        Ok((ends_s > 0).then_some(ends_s))
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signatures(key: &str, previous: Option<(&str, i64)>) -> Signatures {
        Signatures::new(&SharedPollOptions {
            hmac_secret_key: Some(key.into()),
            hmac_previous_secret_key: previous.map(|(key, _)| key.into()),
            hmac_previous_secret_key_valid_until: previous.map_or(0, |(_, until)| until),
            ..SharedPollOptions::default()
        })
    }

    #[test]
    fn only_what_was_signed_is_good() {
        // printf '100\000200\0007\000votes:a\000%s' "$(printf 'a\000b' | sha256sum | cut -d' ' -f1)" | openssl dgst -sha256 -hmac secret
        let good = "100:200:a1ce83076f8c3f9d280d441831f303124ab0076274379b1d43f447ab80051d57";
        let of = |text: &str, user: &str, channel: &str, keys: &[&str], now_s| {
            signatures("secret", None).check(text, user, channel, keys.iter().copied(), now_s)
        };
        let denied = Err(Fault::PermissionDenied);
        assert_eq!(of(good, "7", "votes:a", &["a", "b"], 150), Ok(Some(200)));
        assert_eq!(of(good, "7", "votes:a", &["a", "b"], 205), Ok(Some(200)));
        assert_eq!(of(good, "7", "votes:a", &["a", "b"], 206), Err(Fault::TokenExpired));
        assert_eq!(of(good, "8", "votes:a", &["a", "b"], 150), denied);
        assert_eq!(of(good, "7", "votes:b", &["a", "b"], 150), denied);
        assert_eq!(of(good, "7", "votes:a", &["b", "a"], 150), denied, "in their order");
        assert_eq!(of(good, "7", "votes:a", &["a"], 150), denied);
        assert_eq!(of(&good.replace("200", "900"), "7", "votes:a", &["a", "b"], 150), denied);
        for wrong in ["", "1:2", "a:b:c", "100:200:", "100:200:zz", &good[..good.len() - 2]] {
            assert_eq!(of(wrong, "7", "votes:a", &["a", "b"], 150), denied, "{wrong}");
        }
        let check = |signatures: Signatures| signatures.check(good, "7", "votes:a", ["a", "b"].into_iter(), 150);
        assert_eq!(check(signatures("new", Some(("secret", 100)))), Ok(Some(200)));
        assert_eq!(check(signatures("new", Some(("secret", 99)))), denied, "signed too late");
        assert_eq!(check(signatures("new", Some(("secret", 0)))), Ok(Some(200)));
    }
}

//! Entity tags and conditional requests.

use std::fmt::Write;

use axum::http::{HeaderMap, HeaderValue, header};
use sha2::{Digest, Sha256};

/// A strong entity tag: the same tag means the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(HeaderValue);

impl ETag {
    /// The tag of these bytes.
    pub fn of(body: &[u8]) -> Self {
        Self::of_sha256(Sha256::digest(body).as_slice(), "")
    }

    /// The tag of a body whose hash is known; `variant` tells encodings of it apart.
    pub(super) fn of_sha256(hash: &[u8], variant: &str) -> Self {
        let mut tag = String::with_capacity(40);
        tag.push('"');
        // 128 bits are far more than enough to tell versions of one resource apart.
        for byte in hash.iter().take(16) {
            let _ = write!(tag, "{byte:02x}");
        }
        tag.push_str(variant);
        tag.push('"');
        Self(HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\"")))
    }

    /// The tag of another form of the same.
    pub(super) fn variant(&self, suffix: &str) -> Self {
        let tag = self.0.as_bytes();
        let whole = [tag.strip_suffix(b"\"").unwrap_or(tag), suffix.as_bytes(), b"\""].concat();
        HeaderValue::from_bytes(&whole).map_or_else(|_| self.clone(), Self)
    }

    /// Whether the caller has this already (`If-None-Match`), so that a 304 is enough.
    pub fn is_known_to(&self, headers: &HeaderMap) -> bool {
        let own = opaque(self.0.as_bytes());
        headers
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .flat_map(|value| value.as_bytes().split(|&b| b == b','))
            .map(<[u8]>::trim_ascii)
            // The comparison for GET is the weak one: a cache may hold a compressed, so weakened, copy.
            .any(|tag| tag == b"*" || opaque(tag) == own)
    }

    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_tag_is_found_in_any_form() {
        let tag = ETag::of(b"page");
        let text = tag.header().to_str().unwrap().to_owned();
        let asks = |value: &str| {
            tag.is_known_to(&HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_str(value).unwrap())]))
        };
        assert!(asks(&text) && asks(&format!("W/{text}")) && asks(&format!("\"other\" , {text}")) && asks("*"));
        assert!(!asks("\"other\"") && !asks("") && !asks(text.trim_matches('"')));
        assert!(!tag.is_known_to(&HeaderMap::new()));
        assert_ne!(tag, ETag::of(b"page2"));
    }
}

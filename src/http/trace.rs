//! Trace ids: one a request, in its answer and in every log line that it causes.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

pub const X_TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Longer ids are somebody's mistake, or an attempt to fill the logs.
const MAX_BYTES: usize = 64;

/// The id of a request's trace; an extension of every request. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceId(HeaderValue);

impl TraceId {
    /// The caller's id where it sends a well-formed one, a new one otherwise.
    pub fn of(headers: &HeaderMap) -> Self {
        let own = headers.get(X_TRACE_ID).map(HeaderValue::as_bytes).filter(|id| is_well_formed(id));
        let id = own.or_else(|| headers.get(TRACEPARENT).and_then(|value| trace_of_parent(value.as_bytes())));
        // Copied, not cloned: a header value that is kept pins the whole read buffer of its connection.
        id.and_then(|id| HeaderValue::from_bytes(id).ok()).map_or_else(Self::make, Self)
    }

    pub fn make() -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let random = fastrand::u128(1..);
        let mut id = [0; 32];
        for (at, digit) in id.iter_mut().enumerate() {
            *digit = DIGITS[(random >> (124 - 4 * at)) as usize & 15];
        }
        Self(HeaderValue::from_bytes(&id).unwrap_or(HeaderValue::from_static("0")))
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

fn is_well_formed(id: &[u8]) -> bool {
    !id.is_empty() && id.len() <= MAX_BYTES && id.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// The trace id in a W3C `traceparent`: version, 32 hex digits of trace, 16 of parent, flags.
fn trace_of_parent(value: &[u8]) -> Option<&[u8]> {
    let hex = |part: &[u8], len: usize| {
        part.len() == len && part.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b))
    };
    let mut parts = value.split(|&b| b == b'-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // Later versions may append parts; version 00 has exactly four, and ff is reserved as invalid.
    let complete = parts.next().is_none() || version != b"00";
    let valid = hex(version, 2) && version != b"ff" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2) && complete;
    let zeros = |part: &[u8]| part.iter().all(|&b| b == b'0');
    (valid && !zeros(trace) && !zeros(parent)).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: HeaderName, value: &str) -> TraceId {
        TraceId::of(&HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())]))
    }

    #[test]
    fn a_well_formed_id_is_kept_and_a_bad_one_replaced() {
        assert_eq!(of(X_TRACE_ID, "order-17_b").as_str(), "order-17_b");
        let longest = "x".repeat(MAX_BYTES);
        assert_eq!(of(X_TRACE_ID, &longest).as_str(), longest);
        for bad in ["", "a b", "a\"b", "<x>", &"x".repeat(MAX_BYTES + 1)] {
            let made = of(X_TRACE_ID, bad);
            assert_ne!(made.as_str(), bad);
            assert_eq!(made.as_str().len(), 32);
        }
        assert_ne!(TraceId::make(), TraceId::make());
    }

    #[test]
    fn a_traceparent_gives_its_trace() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(of(TRACEPARENT, &format!("00-{trace}-00f067aa0ba902b7-01")).as_str(), trace);
        assert_eq!(of(TRACEPARENT, &format!("01-{trace}-00f067aa0ba902b7-01-later")).as_str(), trace);
        for bad in [
            format!("00-{trace}-00f067aa0ba902b7"),
            format!("00-{trace}-00f067aa0ba902b7-01-more"),
            format!("ff-{trace}-00f067aa0ba902b7-01"),
            format!("00-{trace}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
        ] {
            assert_ne!(of(TRACEPARENT, &bad).as_str(), trace, "{bad}");
        }
    }
}

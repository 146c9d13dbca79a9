//! Times and spans as people write them in a query.

use std::time::Duration;

use chrono::{DateTime, Utc};

const UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 7 * 86_400_000)];

/// `250ms`, `30s`, `15m`, `6h`, `7d`, `2w`.
pub fn span(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (_, unit_ms) = UNITS.iter().find(|(name, _)| *name == unit)?;
    Some(Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(*unit_ms)?))
}

/// `now`, a span before now such as `-30m`, or a time of RFC 3339.
pub fn moment(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if text == "now" {
        return Some(now);
    }
    if let Some(before) = text.strip_prefix('-').and_then(span) {
        return now.checked_sub_signed(chrono::TimeDelta::from_std(before).ok()?);
    }
    // A plus sign that was not encoded arrives as a space.
    DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok().map(|at| at.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_moments_are_read() {
        assert_eq!(span("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(span("2w"), Some(Duration::from_secs(14 * 86_400)));
        for wrong in ["", "5", "m", "-5m", "5 m", "1.5h", "99999999999999999999s", "18446744073709551615w"] {
            assert_eq!(span(wrong), None, "{wrong}");
        }
        let now = DateTime::from_timestamp(1_000_000, 0).unwrap();
        assert_eq!(moment("now", now), Some(now));
        assert_eq!(moment("-1h", now), DateTime::from_timestamp(996_400, 0));
        assert_eq!(moment("1970-01-02T00:00:00+01:00", now), DateTime::from_timestamp(82_800, 0));
        assert_eq!(moment("1970-01-02T00:00:00 01:00", now), DateTime::from_timestamp(82_800, 0));
        for wrong in ["yesterday", "1970-01-02", "-", "+5m"] {
            assert_eq!(moment(wrong, now), None, "{wrong}");
        }
    }
}

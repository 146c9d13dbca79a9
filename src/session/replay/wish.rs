//! `?from=-30m&speed=10`: where in the past to begin, and how fast.

use chrono::{DateTime, TimeDelta, Utc};

use crate::http::Problem;

/// Faster is of no use, and slower would never end.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.1..=1000.0;
const UNITS_S: [(&str, i64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];

/// What the query says; it is read before the clock is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::session) struct Travel {
    from: Option<From>,
    speed: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Ago(TimeDelta),
    At(DateTime<Utc>),
}

// A speed that is not a number is refused, so equality is whole.
impl Eq for Travel {}

impl Travel {
    pub fn set_from(&mut self, value: &str) -> Result<(), Problem> {
        let ago = value.strip_prefix('-').and_then(span).map(From::Ago);
        // A plus sign that was not encoded arrives as a space.
        let at = || DateTime::parse_from_rfc3339(&value.replace(' ', "+")).ok().map(|at| From::At(at.to_utc()));
        self.from = Some(ago.or_else(at).ok_or_else(|| wrong("from", "is a span such as -30m or a time of RFC 3339"))?);
        Ok(())
    }

    pub fn set_speed(&mut self, value: &str) -> Result<(), Problem> {
        let speed = value.parse::<f64>().ok().filter(|speed| SPEEDS.contains(speed));
        self.speed = Some(speed.ok_or_else(|| wrong("speed", "is a number from 0.1 to 1000"))?);
        Ok(())
    }

    pub fn is_wanted(&self) -> bool {
        *self != Self::default()
    }

    pub fn speed(&self) -> f64 {
        self.speed.unwrap_or(1.0)
    }

    /// In milliseconds since 1970.
    pub fn begins_ms(&self, now: DateTime<Utc>) -> Result<i64, Problem> {
        let from = match self.from {
            None => return Err(wrong("speed", "has no meaning without from")),
            Some(From::At(at)) => at,
            Some(From::Ago(span)) => now.checked_sub_signed(span).unwrap_or_default(),
        };
        if from > now { Err(wrong("from", "lies in the future")) } else { Ok(from.timestamp_millis()) }
    }
}

fn span(text: &str) -> Option<TimeDelta> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let (_, unit_s) = UNITS_S.iter().find(|(name, _)| *name == unit)?;
    TimeDelta::try_seconds(number.parse::<u32>().map(i64::from).ok()?.checked_mul(*unit_s)?)
}

pub(in crate::session) fn wrong(field: &str, message: &str) -> Problem {
    Problem::bad_request(format!("{field} {message}")).with_field(field.to_owned(), message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_a_span_or_a_time_that_has_passed() {
        let now = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let from = |text: &str| {
            let mut travel = Travel::default();
            travel.set_from(text).ok()?;
            travel.begins_ms(now).ok()
        };
        assert_eq!(from("-30m"), Some(998_200_000));
        assert_eq!(from("-0s"), Some(1_000_000_000));
        assert_eq!(from("1970-01-02T00:00:00Z"), Some(86_400_000));
        assert_eq!(from("1970-01-02T00:00:00 01:00"), Some(82_800_000));
        for wrong in ["30m", "-30", "-m", "", "-", "-1.5h", "-99999999999d", "1999-01-01T00:00:00Z", "yesterday", "-日"]
        {
            assert_eq!(from(wrong), None, "{wrong}");
        }
        for (speed, good) in [("1", true), ("0.1", true), ("1000", true), ("0", false), ("NaN", false), ("-1", false)] {
            assert_eq!(Travel::default().set_speed(speed).is_ok(), good, "{speed}");
        }
    }
}

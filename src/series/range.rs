//! A question to the history: one field over a stretch of time, in steps.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::point::clean;

/// More steps than this are not answered at once.
pub const MAX_STEPS: i64 = 10_000;
/// What an unasked step aims at: enough for a chart.
const STEPS: i64 = 300;
/// Steps that people think in; the rolled-up history has whole minutes and whole hours.
const USUAL_STEPS_S: &[i64] =
    &[1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400];

const SECOND_NS: i64 = 1_000_000_000;

/// Which values, checked. All series that have these tags are taken together, whatever other tags they have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub measurement: String,
    pub field: String,
    /// Tags and the value that each must have.
    pub tags: BTreeMap<String, String>,
    /// A multiple of the step.
    pub from_ns: i64,
    /// The first nanosecond that does not count.
    pub to_ns: i64,
    /// Steps begin at multiples of this since 1970.
    pub step_ns: i64,
}

/// What a caller got wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeError {
    pub field: &'static str,
    pub message: String,
}

/// One step: what was written from its begin on, until the next one begins.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = SeriesStep)]
pub struct Step {
    pub at: DateTime<Utc>,
    pub min: f64,
    pub max: f64,
    pub avg: f64,
    /// The latest value of the step.
    pub last: f64,
    pub count: u64,
}

impl Range {
    /// `from` moves back to the begin of its step. Without a step, one is chosen that fits a chart.
    pub fn new(
        measurement: &str,
        field: &str,
        tags: BTreeMap<String, String>,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
        step: Option<Duration>,
    ) -> Result<Self, RangeError> {
        let wrong = |field, message: &str| Err(RangeError { field, message: message.into() });
        let (Some(from_ns), Some(to_ns)) = (from.timestamp_nanos_opt(), to.timestamp_nanos_opt()) else {
            return wrong("from", "is a time between 1970 and 2262, and so is `to`");
        };
        if from_ns < 0 {
            return wrong("from", "is not before 1970");
        }
        if to_ns <= from_ns {
            return wrong("to", "is after `from`");
        }
        if clean(measurement).is_empty() {
            return wrong("measurement", "is a name");
        }
        if clean(field).is_empty() {
            return wrong("field", "is required");
        }
        let step_ns = match step {
            Some(step) => i64::try_from(step.as_nanos()).unwrap_or(i64::MAX),
            None => usual_step_ns(to_ns - from_ns),
        };
        if !(1_000_000..=400 * 86_400 * SECOND_NS).contains(&step_ns) {
            return wrong("step", "is from 1ms to 400d");
        }
        let from_ns = from_ns - from_ns % step_ns;
        if (to_ns - from_ns) / step_ns >= MAX_STEPS {
            return wrong("step", &format!("gives more than {MAX_STEPS} steps from `from` to `to`"));
        }
        let tags = tags.into_iter().map(|(key, value)| (clean(&key), clean(&value))).collect();
        Ok(Self { measurement: clean(measurement), field: clean(field), tags, from_ns, to_ns, step_ns })
    }

    pub fn step(&self) -> Duration {
        Duration::from_nanos(self.step_ns.unsigned_abs())
    }

    /// Whether every step is made of whole spans of this length.
    pub(super) fn is_made_of(&self, span_ns: i64) -> bool {
        self.step_ns % span_ns == 0
    }
}

fn usual_step_ns(span_ns: i64) -> i64 {
    let wanted_s = span_ns / STEPS / SECOND_NS;
    let day_s = 86_400;
    let usual_s = USUAL_STEPS_S.iter().copied().find(|usual| *usual >= wanted_s);
    usual_s.unwrap_or((wanted_s + day_s - 1) / day_s * day_s) * SECOND_NS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn range(from: i64, to: i64, step_s: Option<u64>) -> Result<Range, RangeError> {
        Range::new("m", "v", BTreeMap::new(), (at(from), at(to)), step_s.map(Duration::from_secs))
    }

    #[test]
    fn steps_begin_at_their_multiples() {
        let range = range(125, 300, Some(60)).unwrap();
        assert_eq!((range.from_ns, range.to_ns), (120 * SECOND_NS, 300 * SECOND_NS));
    }

    #[test]
    fn an_unasked_step_fits_a_chart() {
        for (span_s, step_s) in
            [(60, 1), (3_600, 15), (86_400, 300), (30 * 86_400, 21_600), (10 * 366 * 86_400, 13 * 86_400)]
        {
            assert_eq!(range(0, span_s, None).unwrap().step_ns / SECOND_NS, step_s, "{span_s}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(range(5, 5, None).unwrap_err().field, "to");
        assert_eq!(range(-5, 5, None).unwrap_err().field, "from");
        assert_eq!(range(0, 5, Some(0)).unwrap_err().field, "step");
        assert_eq!(range(0, 86_400, Some(1)).unwrap_err().field, "step");
        let nameless = Range::new("m", " ", BTreeMap::new(), (at(0), at(1)), None);
        assert_eq!(nameless.unwrap_err().field, "field");
    }
}

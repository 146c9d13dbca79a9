//! One measured moment: what, of whom, how much, when.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// InfluxDB takes a series key of at most 65,535 bytes, escapes included, so at most every second byte is ours.
const MAX_KEY_BYTES: usize = 32_000;
/// InfluxDB's own bound for the texts of a field.
const MAX_TEXT_BYTES: usize = 64 * 1024;

/// A point of a time series. Points with equal measurement, tags and time are one point: the later write of a field
/// replaces the earlier one, so a point may be written again without harm.
///
/// ```
/// # use fanfare::series::Point;
/// let at = chrono::DateTime::UNIX_EPOCH;
/// let point = Point::new("stock_level", at).tag("sku", "TEA-1").field("stock", 12_i64);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    measurement: String,
    /// By key, as InfluxDB likes them. A value is never empty.
    tags: BTreeMap<String, String>,
    fields: BTreeMap<String, Value>,
    /// Nanoseconds since 1970.
    at_ns: i64,
}

/// What a field holds. One field of one measurement must always be of one kind: stores refuse the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    #[serde(rename = "f")]
    Float(f64),
    #[serde(rename = "i")]
    Int(i64),
    #[serde(rename = "u")]
    Uint(u64),
    #[serde(rename = "b")]
    Bool(bool),
    /// Kept by InfluxDB only: the embedded store and `range` know numbers and truth values.
    #[serde(rename = "t")]
    Text(String),
}

/// Why a point is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PointError {
    #[error("{0:?} is not a name: it is empty, begins with `_` or `#`, or is `time`")]
    Name(String),
    #[error("the field {0:?} is not a finite number")]
    NotFinite(String),
    #[error("the name {0:?} is a tag and a field")]
    TwoKinds(String),
    #[error("it has no field")]
    NoField,
    #[error("its measurement, tags and names of fields are too long")]
    LongKey,
    #[error("its texts are too long")]
    LongText,
    #[error("its time is before 1970")]
    Time,
}

impl Point {
    /// A point at `at`, still without fields. Two points of one measurement and equal tags need different times.
    pub fn new(measurement: &str, at: DateTime<Utc>) -> Self {
        // Beyond the year 2262 there is no such number; `check` refuses it.
        let at_ns = at.timestamp_nanos_opt().unwrap_or(-1);
        Self { measurement: clean(measurement), tags: BTreeMap::new(), fields: BTreeMap::new(), at_ns }
    }

    /// Adds a tag: what points are found and grouped by. Each combination of values is a series of its own, so a tag
    /// has few values; ids belong in fields. A tag without a value is left out.
    pub fn tag(mut self, key: &str, value: impl AsRef<str>) -> Self {
        let value = clean(value.as_ref());
        if !value.is_empty() {
            self.tags.insert(clean(key), value);
        }
        self
    }

    pub fn field(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(clean(key), value.into());
        self
    }

    /// Moves the point within its millisecond, so that events of one moment do not take each other's place: by
    /// `number` nanoseconds, of which only what fits counts.
    pub fn nth(mut self, number: u64) -> Self {
        self.at_ns += (number % 1_000_000) as i64;
        self
    }

    pub fn measurement(&self) -> &str {
        &self.measurement
    }

    pub fn tags(&self) -> &BTreeMap<String, String> {
        &self.tags
    }

    pub fn fields(&self) -> &BTreeMap<String, Value> {
        &self.fields
    }

    pub fn at_ns(&self) -> i64 {
        self.at_ns
    }

    /// Whether every store can take it.
    pub fn check(&self) -> Result<(), PointError> {
        if self.at_ns < 0 {
            return Err(PointError::Time);
        }
        if self.fields.is_empty() {
            return Err(PointError::NoField);
        }
        let names = std::iter::once(&self.measurement).chain(self.tags.keys()).chain(self.fields.keys());
        let (mut key_bytes, mut text_bytes) = (0, 0);
        for name in names {
            if name.is_empty() || name.starts_with(['_', '#']) || name == "time" {
                return Err(PointError::Name(name.clone()));
            }
            key_bytes += name.len() + 2;
        }
        key_bytes += self.tags.values().map(String::len).sum::<usize>();
        for (name, value) in &self.fields {
            match value {
                Value::Float(number) if !number.is_finite() => return Err(PointError::NotFinite(name.clone())),
                Value::Text(text) => text_bytes += text.len(),
                _ => {}
            }
            if self.tags.contains_key(name) {
                return Err(PointError::TwoKinds(name.clone()));
            }
        }
        match (key_bytes > MAX_KEY_BYTES, text_bytes > MAX_TEXT_BYTES) {
            (true, _) => Err(PointError::LongKey),
            (_, true) => Err(PointError::LongText),
            _ => Ok(()),
        }
    }
}

impl Value {
    /// As a number, where it is one; truth is 1 and untruth 0.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(*number),
            Self::Int(number) => Some(*number as f64),
            Self::Uint(number) => Some(*number as f64),
            Self::Bool(truth) => Some(f64::from(u8::from(*truth))),
            Self::Text(_) => None,
        }
    }
}

macro_rules! value_from {
    ($($type:ty => $variant:ident),* $(,)?) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

value_from!(f64 => Float, f32 => Float, i64 => Int, i32 => Int, u32 => Int, u64 => Uint, bool => Bool, &str => Text, String => Text);

/// Names and values of tags on one line: a line end in one of them would begin another point, and a backslash would
/// swallow what follows it. Readers of line protocol disagree about backslashes, so none is left.
pub(super) fn clean(text: &str) -> String {
    let plain = |c: char| match c {
        '\\' => '/',
        c if c.is_control() => ' ',
        c => c,
    };
    text.trim().chars().map(plain).collect::<String>().trim().to_owned()
}

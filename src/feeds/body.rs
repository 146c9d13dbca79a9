//! Bodies of partial updates: a field may be absent, null or a value, and the three are not the same.

use serde::{Deserialize, Deserializer};

/// For columns that may be null: absent is `None`, null is `Some(None)`.
pub fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(input: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(input).map(Some)
}

/// For columns that are never null: null is refused, not ignored.
pub fn not_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(input: D) -> Result<Option<T>, D::Error> {
    T::deserialize(input).map(Some)
}

/// ISO 8601 in UTC, to the millisecond at least, as all messages and answers have it.
pub mod utc {
    use chrono::{DateTime, SecondsFormat, Utc};
    use serde::{Serialize, Serializer};

    pub fn serialize<S: Serializer>(at: &DateTime<Utc>, output: S) -> Result<S::Ok, S::Error> {
        at.to_rfc3339_opts(SecondsFormat::Millis, true).serialize(output)
    }

    /// The same for a time that may be absent.
    pub mod optional {
        use super::*;

        pub fn serialize<S: Serializer>(at: &Option<DateTime<Utc>>, output: S) -> Result<S::Ok, S::Error> {
            at.map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true)).serialize(output)
        }
    }
}

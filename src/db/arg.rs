//! Values for placeholders. A null keeps its type, because PostgreSQL wants to know it.

use chrono::{DateTime, Utc};

use super::Money;

#[derive(Clone, Debug)]
pub enum Arg {
    Int(Option<i64>),
    Bool(Option<bool>),
    Float(Option<f64>),
    Text(Option<String>),
    Time(Option<DateTime<Utc>>),
    Money(Option<Money>),
    Json(Option<serde_json::Value>),
}

macro_rules! arg_from {
    ($($type:ty => $variant:ident),* $(,)?) => {$(
        impl From<$type> for Arg {
            fn from(value: $type) -> Self {
                Self::$variant(Some(value.into()))
            }
        }
        impl From<Option<$type>> for Arg {
            fn from(value: Option<$type>) -> Self {
                Self::$variant(value.map(Into::into))
            }
        }
    )*};
}

arg_from! {
    i64 => Int, i32 => Int, u32 => Int, bool => Bool, f64 => Float, &str => Text, String => Text, &String => Text,
    DateTime<Utc> => Time, Money => Money, serde_json::Value => Json,
}

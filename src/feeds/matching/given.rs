//! What jobs and users have in common as input: changes of any subset of the fields, and the checks of fields that both have.

use crate::feeds::matching::place::{self, prefecture_name};
use crate::feeds::text::Checks;

/// A body of PUT and PATCH, which is any subset of the fields of `$of`: those of `set` cannot be null, those of `clear` can.
/// The fields in `own` are neither null nor optional in a change, and the type itself lays them over a row.
macro_rules! change {
    (
        $(#[$meta:meta])*
        pub struct $name:ident of $of:ident {
            own { $($own:ident: $own_type:ty,)* }
            set { $($set:ident: $set_type:ty,)* }
            clear { $($clear:ident: $clear_type:ty,)* }
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $(
                #[serde(deserialize_with = "crate::feeds::body::not_null")]
                #[schema(nullable = false)]
                pub $own: Option<$own_type>,
            )*
            $(
                #[serde(deserialize_with = "crate::feeds::body::not_null")]
                #[schema(nullable = false)]
                pub $set: Option<$set_type>,
            )*
            $(
                #[serde(deserialize_with = "crate::feeds::body::nullable")]
                #[schema(value_type = Option<$clear_type>)]
                pub $clear: Option<Option<$clear_type>>,
            )*
        }

        impl $name {
            /// The given fields in place of the row's.
            fn over(self, row: $of) -> $of {
                $of {
                    $($own: self.$own.or(row.$own),)*
                    $($set: self.$set.unwrap_or(row.$set),)*
                    $($clear: self.$clear.unwrap_or(row.$clear),)*
                }
            }
        }
    };
}
pub(super) use change;

/// What the source calls the row; made here when it is not given.
pub fn external_id(checks: &mut Checks, given: Option<String>) -> Option<String> {
    let id = given.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let id = checks.line("external_id", &id, 100).unwrap_or_default();
    checks.require("external_id", !id.is_empty(), "cannot be empty");
    Some(id)
}

/// One of the 47, by its full name.
pub fn prefecture(checks: &mut Checks, given: Option<String>) -> Option<String> {
    let given = checks.optional_line("prefecture", given, 20)?;
    let name = prefecture_name(&given);
    checks.require("prefecture", name.is_some(), "is none of the 47 prefectures");
    name.map(str::to_owned)
}

/// Degrees as given, or else those of the station or the prefecture.
pub fn point(
    checks: &mut Checks,
    given: (Option<f64>, Option<f64>),
    station: Option<&str>,
    prefecture: Option<&str>,
) -> (Option<f64>, Option<f64>) {
    let (latitude, longitude) = match given {
        (None, None) => place::locate(station, prefecture).unzip(),
        given => given,
    };
    check_point(checks, latitude, longitude);
    (latitude, longitude)
}

pub fn check_point(checks: &mut Checks, latitude: Option<f64>, longitude: Option<f64>) {
    checks.require("latitude", latitude.is_none_or(|at| (-90.0..=90.0).contains(&at)), "is from -90 to 90");
    checks.require("longitude", longitude.is_none_or(|at| (-180.0..=180.0).contains(&at)), "is from -180 to 180");
    checks.require("longitude", latitude.is_some() == longitude.is_some(), "goes together with latitude");
}

/// Yen; an amount beyond a billion is a slip of the keyboard.
pub fn yen(checks: &mut Checks, field: &'static str, given: Option<i64>) {
    checks.require(field, given.is_none_or(|yen| (0..=1_000_000_000).contains(&yen)), "is from 0 to 1000000000");
}

const MAX_TAGS: usize = 50;

/// Words without doubles, in the given order.
pub fn tags(checks: &mut Checks, field: &'static str, given: Vec<String>) -> Vec<String> {
    checks.require(field, given.len() <= MAX_TAGS, "has more than 50 entries");
    let mut kept: Vec<String> = Vec::with_capacity(given.len());
    for tag in given.iter().take(MAX_TAGS) {
        let tag = checks.line(field, tag, 100).unwrap_or_default();
        if !tag.is_empty() && !kept.contains(&tag) {
            kept.push(tag);
        }
    }
    kept
}

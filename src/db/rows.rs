//! One statement for many rows. PostgreSQL takes them as one array a column; for SQLite, which has none, they are bound
//! value by value, a few dozen rows at a time.

use std::time::Instant;

use chrono::{DateTime, Utc};
use sqlx::Arguments;
use sqlx::postgres::PgArguments;

use super::run::{Open, postgres_execute, postgres_rows, sqlite_execute, sqlite_rows};
use super::{Arg, DbError, Money, Row, Tx};

/// A row's values, in the order of the statement's columns; made by [`crate::over_rows`].
pub trait Values {
    fn push_to(&self, args: &mut Vec<Arg>);
}

/// A statement over `r`, a list of rows.
pub struct OverRows {
    /// What stands before the rows, and what behind them.
    pub before: &'static str,
    pub after: &'static str,
    /// The columns' names, and their types in PostgreSQL.
    pub columns: &'static [(&'static str, &'static str)],
}

/// Rows of one statement on SQLite: few different numbers, as each makes another prepared statement.
const PORTIONS: [usize; 5] = [256, 64, 16, 4, 1];

impl OverRows {
    fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    fn args<V: Values>(&self, rows: &[V]) -> Vec<Arg> {
        let mut args = Vec::with_capacity(rows.len() * self.columns.len());
        rows.iter().for_each(|row| row.push_to(&mut args));
        args
    }

    fn portion<V: Values>(&self, rows: &[V]) -> (String, Vec<Arg>) {
        // Nameless: the library looks the name of each up, and for that SQLite walks through all of them.
        let row = format!("({})", vec!["?"; self.columns.len()].join(","));
        let rows_text = vec![row.as_str(); rows.len()].join(",");
        let text = format!("WITH r({}) AS (VALUES {rows_text}) {} FROM r {}", self.names(), self.before, self.after);
        (text, self.args(rows))
    }

    fn arrays<V: Values>(&self, rows: &[V]) -> Result<(String, PgArguments), DbError> {
        let (args, width) = (self.args(rows), self.columns.len());
        let (mut casts, mut bound) = (Vec::with_capacity(width), PgArguments::default());
        for (at, (_, kind)) in self.columns.iter().enumerate() {
            let (array, added) = array(args.iter().skip(at).step_by(width), &mut bound);
            added.map_err(sqlx::Error::Encode)?;
            casts.push(format!("${}::{array}[]::{kind}[]", at + 1));
        }
        let text = format!("{} FROM unnest({}) AS r({}) {}", self.before, casts.join(", "), self.names(), self.after);
        Ok((text, bound))
    }
}

/// Binds a column as an array; answers the array's type. All values of a column are of one type, nulls too.
fn array<'a>(
    column: impl Iterator<Item = &'a Arg>,
    bound: &mut PgArguments,
) -> (&'static str, Result<(), sqlx::error::BoxDynError>) {
    let mut column = column.peekable();
    macro_rules! values {
        ($variant:ident, $value:expr) => {
            column.map(|arg| if let Arg::$variant(value) = arg { $value(value) } else { None }).collect::<Vec<_>>()
        };
    }
    match column.peek() {
        Some(Arg::Int(_)) => ("bigint", bound.add(values!(Int, |value: &Option<i64>| *value))),
        Some(Arg::Bool(_)) => ("boolean", bound.add(values!(Bool, |value: &Option<bool>| *value))),
        Some(Arg::Float(_)) => ("double precision", bound.add(values!(Float, |value: &Option<f64>| *value))),
        Some(Arg::Time(_)) => ("timestamptz", bound.add(values!(Time, |value: &Option<DateTime<Utc>>| *value))),
        Some(Arg::Json(_)) => {
            let text = |value: &Option<serde_json::Value>| value.as_ref().map(serde_json::Value::to_string);
            ("text", bound.add(values!(Json, text)))
        }
        Some(Arg::Money(_)) => {
            let text = |value: &Option<Money>| value.as_ref().map(Money::to_string);
            ("text", bound.add(values!(Money, text)))
        }
        Some(Arg::Text(_)) | None => ("text", bound.add(values!(Text, |value: &'a Option<String>| value.as_deref()))),
    }
}

/// Cuts rows into portions.
fn portions<V>(mut rows: &[V]) -> impl Iterator<Item = &[V]> {
    std::iter::from_fn(move || {
        let size = PORTIONS.into_iter().find(|size| *size <= rows.len())?;
        let (portion, rest) = rows.split_at(size);
        rows = rest;
        Some(portion)
    })
}

impl Tx {
    /// All rows that the statement returns, over all portions.
    pub async fn fetch_over<T: Row, V: Values>(&mut self, over: &OverRows, rows: &[V]) -> Result<Vec<T>, DbError> {
        let (begun, mut found) = (Instant::now(), Vec::new());
        match &mut self.open {
            _ if rows.is_empty() => return Ok(found),
            Open::Postgres(tx) => {
                let (text, bound) = over.arrays(rows)?;
                found = postgres_rows(&mut **tx, &text, bound).await?;
            }
            Open::Sqlite(tx) => {
                for portion in portions(rows) {
                    let (text, args) = over.portion(portion);
                    found.extend(sqlite_rows(&mut **tx, &text, args).await?);
                }
            }
        }
        self.metrics.observe(begun, over.before);
        Ok(found)
    }

    /// Answers how many rows were touched.
    pub async fn execute_over<V: Values>(&mut self, over: &OverRows, rows: &[V]) -> Result<u64, DbError> {
        let (begun, mut touched) = (Instant::now(), 0);
        match &mut self.open {
            _ if rows.is_empty() => return Ok(0),
            Open::Postgres(tx) => {
                let (text, bound) = over.arrays(rows)?;
                touched = postgres_execute(&mut **tx, &text, bound).await?;
            }
            Open::Sqlite(tx) => {
                for portion in portions(rows) {
                    let (text, args) = over.portion(portion);
                    touched += sqlite_execute(&mut **tx, &text, args).await?;
                }
            }
        }
        self.metrics.observe(begun, over.before);
        Ok(touched)
    }
}

/// A row and the statement over a list `r` of such rows: each field with its type in PostgreSQL, then what stands before
/// and behind `FROM r`.
#[macro_export]
macro_rules! over_rows {
    (
        $(#[$meta:meta])* pub struct $name:ident $(<$life:lifetime>)? {
            $(#[$first_meta:meta])* pub $first:ident: $first_type:ty => $first_column:literal,
            $($(#[$field_meta:meta])* pub $field:ident: $type:ty => $column:literal,)*
        }
        before $before:literal after $after:literal
    ) => {
        $(#[$meta])*
        pub struct $name $(<$life>)? {
            $(#[$first_meta])* pub $first: $first_type,
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl $(<$life>)? $crate::db::Values for $name $(<$life>)? {
            fn push_to(&self, args: &mut Vec<$crate::db::Arg>) {
                args.push(self.$first.clone().into());
                $(args.push(self.$field.clone().into());)*
            }
        }

        impl $(<$life>)? $name $(<$life>)? {
            pub const OVER: $crate::db::OverRows = $crate::db::OverRows {
                before: $before,
                after: $after,
                columns: &[(stringify!($first), $first_column), $((stringify!($field), $column),)*],
            };
        }
    };
}

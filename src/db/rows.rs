//! One statement for many rows. PostgreSQL takes them as one JSON argument; for SQLite, which would parse that again for
//! every column, they are bound value by value, a few dozen rows at a time.

use std::time::Instant;

use serde::Serialize;

use super::run::{Open, sqlite_execute, sqlite_rows};
use super::{Arg, DbError, Row, Tx};
use crate::args;

/// A row's values, in the order of the statement's columns; made by [`crate::over_rows`].
pub trait Values: Serialize {
    fn push_to(&self, args: &mut Vec<Arg>);
}

/// A statement over `r`, a list of rows.
pub struct OverRows {
    /// What comes before the rows, and what comes behind them.
    pub sqlite: [&'static str; 2],
    pub postgres: &'static str,
}

/// Rows of one statement on SQLite: few different numbers, as each makes another prepared statement.
const PORTIONS: [usize; 4] = [64, 16, 4, 1];

impl OverRows {
    fn portion<V: Values>(&self, rows: &[V]) -> (String, Vec<Arg>) {
        let ([before, after], mut args) = (self.sqlite, Vec::new());
        rows.iter().for_each(|row| row.push_to(&mut args));
        // Nameless: the library looks the name of each up, and for that SQLite walks through all of them.
        let row = format!("({})", vec!["?"; args.len() / rows.len().max(1)].join(","));
        (format!("{before}{}{after}", vec![row.as_str(); rows.len()].join(",")), args)
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

fn list(rows: &impl Serialize) -> String {
    // Plain data types of ours can always be written.
    serde_json::to_string(rows).unwrap_or_default()
}

impl Tx {
    /// All rows that the statement returns, over all portions.
    pub async fn fetch_over<T: Row, V: Values>(&mut self, over: &OverRows, rows: &[V]) -> Result<Vec<T>, DbError> {
        let begun = Instant::now();
        let Open::Sqlite(tx) = &mut self.open else { return self.fetch_all(over.postgres, args![list(&rows)]).await };
        let mut found = Vec::new();
        for portion in portions(rows) {
            let (text, args) = over.portion(portion);
            found.extend(sqlite_rows(&mut **tx, &text, args).await?);
        }
        self.metrics.observe(begun, over.sqlite[0]);
        Ok(found)
    }

    /// Answers how many rows were touched.
    pub async fn execute_over<V: Values>(&mut self, over: &OverRows, rows: &[V]) -> Result<u64, DbError> {
        let begun = Instant::now();
        let Open::Sqlite(tx) = &mut self.open else { return self.execute(over.postgres, args![list(&rows)]).await };
        let mut touched = 0;
        for portion in portions(rows) {
            let (text, args) = over.portion(portion);
            touched += sqlite_execute(&mut **tx, &text, args).await?;
        }
        self.metrics.observe(begun, over.sqlite[0]);
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
        #[derive(serde::Serialize)]
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
                sqlite: [
                    concat!("WITH r(", stringify!($first), $(", ", stringify!($field),)* ") AS (VALUES "),
                    concat!(") ", $before, " FROM r ", $after),
                ],
                postgres: concat!($before, " FROM json_to_recordset($1::json) AS r(", stringify!($first), " ",
                    $first_column, $(", ", stringify!($field), " ", $column,)* ") ", $after),
            };
        }
    };
}

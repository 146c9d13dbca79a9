//! What is known of changes: of each row and each column, when the last one was seen.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// Rows that are remembered of a scope; when there are more, all that is known is forgotten, and all answers are old.
const MOST_ROWS: usize = 200_000;

/// What an answer is made of: an answer is as good as new while none of it has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Depends(Vec<On>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct On {
    scope: Cow<'static, str>,
    /// Of whatever row.
    columns: u32,
    /// Whatever changes in them.
    rows: Vec<i64>,
}

impl Depends {
    /// Also on all that changes in some rows, and on changes of some columns in any row. The bits of `columns` are those of
    /// the triggers.
    pub fn on(mut self, scope: &'static str, columns: u32, rows: impl IntoIterator<Item = i64>) -> Self {
        self.0.push(On { scope: scope.into(), columns, rows: rows.into_iter().collect() });
        self
    }

    /// What it takes in memory.
    pub fn size_bytes(&self) -> usize {
        self.0.iter().map(|on| size_of::<On>() + size_of_val(on.rows.as_slice())).sum()
    }
}

/// Where the tables stood when somebody looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    number: u64,
    /// PostgreSQL: all transactions below had ended.
    xmin: u64,
}

impl Moment {
    /// For answers of tests, which count moments themselves.
    pub fn numbered(number: u64) -> Self {
        Self { number, xmin: 0 }
    }
}

/// One change that a look found.
pub(super) struct Change {
    pub scope: String,
    /// `None`: all rows.
    pub row: Option<i64>,
    pub columns: u32,
    /// 0 where there are none.
    pub xid: u64,
}

/// What one look found.
pub(super) struct Seen {
    /// Nobody knows what has changed since the look before.
    pub anew: bool,
    pub changes: Vec<Change>,
    /// Which database this is, and since when it has run; empty where nobody else can use it.
    pub database: String,
    /// All transactions below had ended.
    pub xmin: u64,
    /// None from this one on had.
    pub xmax: u64,
}

/// The last change of something: the number of the look that found it, and the highest transaction that made one.
#[derive(Clone, Copy, Default)]
struct Last {
    number: u64,
    xid: u64,
}

impl Last {
    fn note(&mut self, number: u64, xid: u64) {
        *self = Self { number, xid: self.xid.max(xid) };
    }
}

#[derive(Default)]
struct Scope {
    rows: HashMap<i64, Last>,
    columns: [Last; 32],
    /// Of all rows at once.
    whole: Last,
}

#[derive(Default)]
pub(super) struct Log {
    /// Of the last look that found something.
    number: u64,
    /// What changed up to this look is not all known any more.
    known_from: u64,
    /// The same as a transaction: all changes of this one and later ones will be known.
    known_from_xid: u64,
    database: String,
    scopes: HashMap<String, Scope>,
}

impl Log {
    pub fn apply(&mut self, seen: Seen) -> Moment {
        if seen.anew || !seen.changes.is_empty() {
            self.number += 1;
        }
        if seen.anew || self.scopes.values().any(|scope| scope.rows.len() > MOST_ROWS) {
            self.scopes.clear();
            (self.known_from, self.known_from_xid) = (self.number, seen.xmax);
            self.database = seen.database;
        }
        for change in seen.changes {
            let scope = self.scopes.entry(change.scope).or_default();
            match change.row {
                Some(row) => scope.rows.entry(row).or_default().note(self.number, change.xid),
                None => scope.whole.note(self.number, change.xid),
            }
            for (bit, last) in scope.columns.iter_mut().enumerate() {
                if change.columns & (1 << bit) != 0 {
                    last.note(self.number, change.xid);
                }
            }
        }
        Moment { number: self.number, xmin: seen.xmin }
    }

    pub fn has_changed(&self, depends: &Depends, since: &Moment) -> bool {
        since.number < self.known_from || self.any(depends, |last| last.number > since.number)
    }

    pub fn stamp(&self, moment: &Moment) -> Option<String> {
        // A moment of before the last new beginning may be one of another database.
        let usable = !self.database.is_empty() && moment.number >= self.known_from;
        usable.then(|| format!("{} {}", moment.xmin, self.database))
    }

    /// Transactions do not end in the order of their numbers, but all below a moment's had ended by then: a later change has
    /// a number from that one on. So has one that was already seen now and then, for which the answer is thrown away.
    pub fn holds(&self, depends: &Depends, stamp: &str) -> bool {
        let Some((xmin, database)) = stamp.split_once(' ') else { return false };
        let Ok(xmin) = xmin.parse::<u64>() else { return false };
        database == self.database && xmin >= self.known_from_xid && !self.any(depends, |last| last.xid >= xmin)
    }

    fn any(&self, depends: &Depends, is_later: impl Fn(&Last) -> bool) -> bool {
        depends.0.iter().any(|on| {
            let Some(scope) = self.scopes.get(&*on.scope) else { return false };
            is_later(&scope.whole)
                || (0..32).any(|bit| on.columns & (1 << bit) != 0 && is_later(&scope.columns[bit]))
                || on.rows.iter().any(|row| scope.rows.get(row).is_some_and(&is_later))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(changes: &[(i64, u32, u64)], xmin: u64) -> Seen {
        let change = |&(row, columns, xid)| Change { scope: "items".into(), row: Some(row), columns, xid };
        Seen { anew: false, changes: changes.iter().map(change).collect(), database: String::new(), xmin, xmax: xmin }
    }

    fn beginning() -> (Log, Moment) {
        let mut log = Log::default();
        let first = log.apply(Seen { anew: true, changes: Vec::new(), database: "d".into(), xmin: 100, xmax: 100 });
        (log, first)
    }

    #[test]
    fn a_change_is_one_of_its_row_and_of_its_columns() {
        let (mut log, first) = beginning();
        let (row, column) = (Depends::default().on("items", 0, [7]), Depends::default().on("items", 4, []));
        let elsewhere = Depends::default().on("prices", !0, [7]);
        let second = log.apply(seen(&[(8, 2, 101)], 102));
        assert!(!log.has_changed(&row, &first) && !log.has_changed(&column, &first));
        log.apply(seen(&[(7, 2, 103)], 104));
        assert!(log.has_changed(&row, &first) && log.has_changed(&row, &second) && !log.has_changed(&column, &first));
        let third = log.apply(seen(&[(9, 4, 105)], 106));
        assert!(log.has_changed(&column, &second) && !log.has_changed(&column, &third));
        assert!(!log.has_changed(&row, &third) && !log.has_changed(&elsewhere, &first));
    }

    #[test]
    fn what_is_not_known_has_changed() {
        let (mut log, first) = beginning();
        let none = Depends::default();
        assert!(!log.has_changed(&none, &first));
        let again = log.apply(Seen { anew: true, changes: Vec::new(), database: "e".into(), xmin: 190, xmax: 200 });
        assert!(log.has_changed(&none, &first) && !log.has_changed(&none, &again));
        assert_eq!((log.stamp(&first), log.stamp(&again)), (None, Some("190 e".into())));
        for (stamp, holds) in [("200 e", true), ("250 e", true), ("199 e", false), ("200 d", false), ("", false)] {
            assert_eq!(log.holds(&none, stamp), holds, "{stamp}");
        }
    }

    #[test]
    fn a_transaction_that_ends_late_is_no_older_than_one_that_began_after_it() {
        let (mut log, _) = beginning();
        let row = Depends::default().on("items", 0, [7]);
        // 103 ended before 102, which then changed the same row: an answer of in between stands at 102.
        log.apply(seen(&[(7, 2, 103)], 102));
        assert!(!log.holds(&row, "102 d"), "in doubt");
        log.apply(seen(&[(7, 2, 102)], 104));
        assert!(!log.holds(&row, "102 d") && log.holds(&row, "104 d"));
    }
}

//! Statements assembled from constant fragments: values can only come in through placeholders.

use super::Arg;

/// A statement under construction. Only `&'static str` can be appended, so no input can become SQL.
#[derive(Clone, Debug, Default)]
pub struct Sql {
    text: String,
    args: Vec<Arg>,
    conditions: usize,
}

impl Sql {
    pub fn new(text: &'static str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }

    /// Appends constant text.
    pub fn push(mut self, text: &'static str) -> Self {
        self.text.push_str(text);
        self
    }

    /// Appends a placeholder for `value`.
    pub fn bind(mut self, value: impl Into<Arg>) -> Self {
        self.args.push(value.into());
        self.text.push('$');
        self.text.push_str(&self.args.len().to_string());
        self
    }

    /// Appends a whole number as it is, where the planner is to see it: with a placeholder in `LIMIT` PostgreSQL would plan
    /// the statement anew each time. Each number makes another prepared statement, so for numbers of which few are in use.
    pub fn number(mut self, number: i64) -> Self {
        self.text.push_str(&number.to_string());
        self
    }

    /// Appends `WHERE` or `AND` and then `condition`; a `?` in it stands for `value`.
    pub fn filter(mut self, condition: &'static str, value: impl Into<Arg>) -> Self {
        self.args.push(value.into());
        let condition = condition.replace('?', &format!("${}", self.args.len()));
        self.and(&condition)
    }

    /// [`Sql::filter`] with two values, `?1` and `?2`.
    pub fn filter_two(mut self, condition: &'static str, first: impl Into<Arg>, second: impl Into<Arg>) -> Self {
        self.args.extend([first.into(), second.into()]);
        let (one, two) = (self.args.len() - 1, self.args.len());
        let condition = condition.replace("?1", &format!("${one}")).replace("?2", &format!("${two}"));
        self.and(&condition)
    }

    /// [`Sql::filter`] without a value: only a condition that is spelled out can match that of a partial index.
    pub fn filter_by(self, condition: &'static str) -> Self {
        self.and(condition)
    }

    /// [`Sql::filter`] when there is something to filter by.
    pub fn filter_some<T: Into<Arg>>(self, condition: &'static str, value: Option<T>) -> Self {
        match value {
            Some(value) => self.filter(condition, value),
            None => self,
        }
    }

    /// `column IN (…)`, a placeholder a value, so that the planner sees how many there are; no condition when there is none.
    pub fn filter_in(mut self, column: &'static str, values: &[String]) -> Self {
        if values.is_empty() {
            return self;
        }
        self = self.and(column).push(" IN (");
        for (index, value) in values.iter().enumerate() {
            self = self.push(if index == 0 { "" } else { ", " }).bind(value.as_str());
        }
        self.push(")")
    }

    /// Appends a statement to one that has no placeholders yet.
    pub fn append(mut self, other: Sql) -> Self {
        debug_assert!(self.args.is_empty(), "the numbers of the placeholders would not fit");
        self.text.push_str(&other.text);
        self.args.extend(other.args);
        self.conditions += other.conditions;
        self
    }

    fn and(mut self, condition: &str) -> Self {
        self.text.push_str(if self.conditions == 0 { " WHERE " } else { " AND " });
        self.conditions += 1;
        self.text.push_str(condition);
        self
    }

    pub(super) fn into_parts(self) -> (String, Vec<Arg>) {
        (self.text, self.args)
    }
}

/// A LIKE pattern for text that may itself have the pattern's signs in it, for `ESCAPE '\'`.
pub fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern + "%"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patterns_signs_are_text() {
        assert_eq!(containing(r"50%_\"), r"%50\%\_\\%");
    }

    #[test]
    fn placeholders_are_numbered_in_order() {
        let sql = Sql::new("SELECT * FROM t")
            .filter("a = ?", 1_i64)
            .filter_some::<i64>("b = ?", None)
            .filter("(c = ? OR d = ?)", "x")
            .filter_by("e IS NULL")
            .filter_in("f", &[])
            .filter_in("g", &["y".to_owned(), "z".to_owned()])
            .filter_two("(f, g) > (?1, ?2)", "y", 2_i64)
            .push(" LIMIT ")
            .bind(10_i64);
        let (text, args) = sql.into_parts();
        let filtered = "WHERE a = $1 AND (c = $2 OR d = $2) AND e IS NULL AND g IN ($3, $4) AND (f, g) > ($5, $6)";
        assert_eq!(text, format!("SELECT * FROM t {filtered} LIMIT $7"));
        assert_eq!(args.len(), 7);
    }
}

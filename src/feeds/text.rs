//! Checks of input fields, collected so that a caller hears of all of them at once.

use crate::http::FieldError;

#[derive(Default)]
pub struct Checks {
    errors: Vec<FieldError>,
}

impl Checks {
    /// Notes `message` for `field` unless `holds`; one message a field is enough.
    pub fn require(&mut self, field: &'static str, holds: bool, message: &'static str) {
        if !holds && !self.errors.iter().any(|error| error.field == field) {
            self.errors.push(FieldError::new(field, message));
        }
    }

    /// A line of text: trimmed, without `<`, `>` and control characters, at most `most` characters.
    pub fn line(&mut self, field: &'static str, value: &str, most: usize) -> Option<String> {
        let value = value.trim();
        self.require(field, !value.contains(['<', '>']), "cannot contain < or >");
        self.require(field, !value.contains(char::is_control), "cannot contain control characters");
        if value.chars().count() > most {
            let message = format!("has more than {most} characters");
            self.errors.push(FieldError::new(field, message));
        }
        Some(value.to_owned())
    }

    /// The same for a column that may be null; a blank line is null.
    pub fn optional_line(&mut self, field: &'static str, value: Option<String>, most: usize) -> Option<String> {
        self.line(field, &value?, most).filter(|value| !value.is_empty())
    }

    /// Text of several lines.
    pub fn optional_text(&mut self, field: &'static str, value: Option<String>, most: usize) -> Option<String> {
        let value = value?;
        let control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        self.require(field, !value.contains(['<', '>']), "cannot contain < or >");
        self.require(field, !value.contains(control), "cannot contain control characters");
        if value.chars().count() > most {
            let message = format!("has more than {most} characters");
            self.errors.push(FieldError::new(field, message));
        }
        Some(value)
    }

    /// Text that rows are looked up by. What a column cannot hold cannot be looked for: PostgreSQL has no text with a NUL.
    pub fn lookup(&mut self, field: &'static str, value: Option<&str>) {
        let value = value.unwrap_or_default();
        self.require(field, !value.contains(char::is_control), "cannot contain control characters");
        self.require(field, value.chars().count() <= 255, "has more than 255 characters");
    }

    pub fn done(self) -> Result<(), Vec<FieldError>> {
        if self.errors.is_empty() { Ok(()) } else { Err(self.errors) }
    }
}

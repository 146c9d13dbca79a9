//! CSV (RFC 4180): quoted fields, line breaks within quotes, CR LF or LF. One record at a time.

pub struct Records<'a> {
    rest: &'a str,
    line: i64,
}

impl<'a> Records<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 }
    }
}

impl Iterator for Records<'_> {
    /// The line on which the record begins, and its fields; an error when a quote is not closed.
    type Item = (i64, Result<Vec<String>, &'static str>);

    fn next(&mut self) -> Option<Self::Item> {
        // Empty lines are no records.
        while let Some(rest) = self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix('\n')) {
            (self.rest, self.line) = (rest, self.line + 1);
        }
        if self.rest.is_empty() {
            return None;
        }
        let begun = self.line;
        let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
        let mut signs = self.rest.char_indices().peekable();
        while let Some((at, c)) = signs.next() {
            match c {
                '"' if quoted && signs.peek().is_some_and(|(_, next)| *next == '"') => {
                    field.push('"');
                    signs.next();
                }
                '"' if quoted || field.is_empty() => quoted = !quoted,
                ',' if !quoted => fields.push(std::mem::take(&mut field)),
                '\n' if !quoted => {
                    self.line += 1;
                    self.rest = &self.rest[at + 1..];
                    fields.push(field.strip_suffix('\r').map_or(field.clone(), str::to_owned));
                    return Some((begun, Ok(fields)));
                }
                c => {
                    self.line += i64::from(c == '\n');
                    field.push(c);
                }
            }
        }
        self.rest = "";
        fields.push(field);
        Some((begun, if quoted { Err("a quote is not closed") } else { Ok(fields) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read() {
        let text = "\u{feff}a,b\r\n\"x, \"\"y\"\"\nz\",2\n\n,\nlast,\"open";
        let records: Vec<_> = Records::new(text).collect();
        let row = |fields: [&str; 2]| Ok(fields.map(str::to_owned).to_vec());
        assert_eq!(records[0], (1, row(["a", "b"])));
        assert_eq!(records[1], (2, row(["x, \"y\"\nz", "2"])));
        assert_eq!(records[2], (5, row(["", ""])));
        assert_eq!((records[3].0, records[3].1.is_err(), records.len()), (6, true, 4));
    }
}

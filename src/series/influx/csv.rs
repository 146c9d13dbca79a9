//! InfluxDB's annotated CSV: tables one after the other, each with a header of its own.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::series::{ReadError, Step};

/// The aggregates of each step, put together. A table of errors, which comes with status 200, is an error.
pub fn steps(answer: &str) -> Result<Vec<Step>, ReadError> {
    let mut steps: BTreeMap<DateTime<Utc>, BTreeMap<String, f64>> = BTreeMap::new();
    let mut columns: Option<Vec<String>> = None;
    for record in records(answer) {
        if record.iter().all(|cell| cell.is_empty()) {
            // Between two tables.
            columns = None;
        } else if record[0].starts_with('#') {
            columns = None;
        } else if let Some(columns) = &columns {
            let cell = |name: &str| {
                let at = columns.iter().position(|column| column == name)?;
                record.get(at).map(String::as_str)
            };
            if let Some(error) = cell("error") {
                return Err(ReadError::Refused(error.to_owned()));
            }
            let unreadable = || ReadError::Refused("the answer has another form than InfluxDB's".into());
            let (Some(result), Some(time), Some(value)) = (cell("result"), cell("_time"), cell("_value")) else {
                return Err(unreadable());
            };
            let at = DateTime::parse_from_rfc3339(time).map_err(|_| unreadable())?.to_utc();
            let value = value.parse().map_err(|_| unreadable())?;
            steps.entry(at).or_default().insert(result.to_owned(), value);
        } else {
            columns = Some(record);
        }
    }
    let whole = |(at, found): (DateTime<Utc>, BTreeMap<String, f64>)| {
        let get = |name: &str| found.get(name).copied();
        let count = get("count").filter(|count| *count > 0.0)?;
        let avg = get("sum")? / count;
        Some(Step { at, min: get("min")?, max: get("max")?, avg, last: get("last")?, count: count as u64 })
    };
    Ok(steps.into_iter().filter_map(whole).collect())
}

/// Lines of cells; a cell in quotes may hold commas, line ends, and quotes written twice.
fn records(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                record.push(std::mem::take(&mut cell));
                records.push(std::mem::take(&mut record));
            }
            c => cell.push(c),
        }
    }
    if !cell.is_empty() || !record.is_empty() {
        record.push(cell);
        records.push(record);
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_tables_are_one_answer() {
        let mut answer = String::new();
        for (name, first, second) in
            [("min", 1.0, 4.0), ("max", 3.0, 4.0), ("sum", 6.0, 4.0), ("count", 3.0, 1.0), ("last", 2.0, 4.0)]
        {
            answer += "#datatype,string,long,dateTime:RFC3339,double\r\n#group,false,false,false,false\r\n";
            answer += &format!("#default,{name},,,\r\n,result,table,_time,_value\r\n");
            answer +=
                &format!(",{name},0,2026-01-01T00:00:00Z,{first}\r\n,{name},0,2026-01-01T00:01:00Z,{second}\r\n\r\n");
        }
        let found = steps(&answer).unwrap();
        let at = |minute| format!("2026-01-01T00:0{minute}:00Z").parse().unwrap();
        let first = Step { at: at(0), min: 1.0, max: 3.0, avg: 2.0, last: 2.0, count: 3 };
        assert_eq!(found, [first, Step { at: at(1), min: 4.0, max: 4.0, avg: 4.0, last: 4.0, count: 1 }]);
        assert_eq!(steps("\r\n"), Ok(Vec::new()));
    }

    #[test]
    fn an_error_within_an_answer_is_an_error() {
        let answer = "#datatype,string,string\r\n#group,true,true\r\n#default,,\r\n,error,reference\r\n,\"failed: \"\"x\"\", y\",897\r\n";
        assert_eq!(steps(answer), Err(ReadError::Refused("failed: \"x\", y".into())));
        assert!(steps("<html>\nhello\n").is_err());
    }
}

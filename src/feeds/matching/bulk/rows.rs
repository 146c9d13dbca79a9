//! Rows out of whatever a caller sends: CSV, JSON or NDJSON, alone or as a file of a form.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::csv::Records;

/// One row, read as far as it can be without knowing what it is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    /// Of a text the line, of a JSON list the place in it; from 1.
    pub line: i64,
    /// A JSON object, or why there is none.
    pub value: Result<Value, String>,
}

/// What kind of text it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Csv,
    Json,
    Lines,
}

impl Kind {
    /// By media type; of a form's file also by its name.
    pub fn of(media_type: &str, file_name: &str) -> Option<Self> {
        let name = file_name.to_ascii_lowercase();
        let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "text/csv" | "application/csv" | "application/vnd.ms-excel" => Some(Self::Csv),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some(Self::Lines),
            _ if name.ends_with(".ndjson") || name.ends_with(".jsonl") => Some(Self::Lines),
            "application/json" => Some(Self::Json),
            _ if name.ends_with(".csv") => Some(Self::Csv),
            _ if name.ends_with(".json") => Some(Self::Json),
            _ => None,
        }
    }
}

/// Text in UTF-8, or else in Shift_JIS as Japanese spreadsheets write it. Signs that are neither are refused.
pub fn decode<'a>(bytes: &'a [u8], media_type: &str) -> Result<Cow<'a, str>, &'static str> {
    let named = media_type.to_ascii_lowercase();
    let shift_jis = ["shift_jis", "shift-jis", "sjis", "windows-31j", "cp932"].iter().any(|name| named.contains(name));
    if !shift_jis && let Ok(text) = std::str::from_utf8(bytes) {
        return Ok(text.into());
    }
    let decoded = encoding_rs::SHIFT_JIS.decode_without_bom_handling_and_without_replacement(bytes);
    decoded.ok_or("is neither UTF-8 nor Shift_JIS")
}

/// Rows one by one. `Err`: the whole is not what it says it is.
pub fn rows<'a>(text: &'a str, kind: Kind) -> Result<Box<dyn Iterator<Item = Row> + Send + 'a>, String> {
    Ok(match kind {
        Kind::Csv => {
            let mut records = Records::new(text);
            let (_, header) = records.next().ok_or("the file is empty")?;
            let header: Vec<String> = header?.iter().map(|name| name.trim().to_owned()).collect();
            Box::new(records.map(move |(line, fields)| Row { line, value: object(&header, fields) }))
        }
        Kind::Lines => {
            let lines = text.lines().zip(1..).filter(|(text, _)| !text.trim().is_empty());
            Box::new(lines.map(|(text, line)| Row { line, value: parse(text) }))
        }
        Kind::Json => {
            let list: Vec<&RawValue> = if text.trim_start().starts_with('[') {
                serde_json::from_str(text).map_err(|error| error.to_string())?
            } else {
                #[derive(Deserialize)]
                struct Named<'a> {
                    #[serde(borrow, alias = "users", alias = "items")]
                    jobs: Vec<&'a RawValue>,
                }
                serde_json::from_str::<Named<'_>>(text).map_err(|error| error.to_string())?.jobs
            };
            Box::new(list.into_iter().zip(1..).map(|(raw, line)| Row { line, value: parse(raw.get()) }))
        }
    })
}

fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("is not valid JSON: {error}"))
}

/// Fields that are numbers, truth values, lists or objects; all others are text.
fn object(header: &[String], fields: Result<Vec<String>, &'static str>) -> Result<Value, String> {
    let fields = fields?;
    if fields.len() != header.len() {
        return Err(format!("has {} fields where the header has {}", fields.len(), header.len()));
    }
    let mut object = Map::new();
    for (name, field) in header.iter().zip(fields) {
        let text = field.trim();
        if text.is_empty() {
            continue;
        }
        let value = match name.as_str() {
            "features" | "needs_categories" => {
                text.split(['|', ';', '、']).map(str::trim).filter(|part| !part.is_empty()).collect()
            }
            "salary_min" | "salary_max" | "latitude" | "longitude" | "email_opt_in" | "profile" => {
                // What cannot be read stays text, and is refused under the field's name.
                serde_json::from_str(&text.replace('，', ",")).unwrap_or_else(|_| Value::from(text))
            }
            _ => Value::from(field),
        };
        object.insert(name.clone(), value);
    }
    Ok(Value::Object(object))
}

/// The first file of a form (RFC 7578): its media type, its name and its bytes.
pub fn form_file<'a>(body: &'a [u8], media_type: &str) -> Option<(String, String, &'a [u8])> {
    let boundary = media_type.split(';').find_map(|part| part.trim().strip_prefix("boundary="))?.trim_matches('"');
    let mark = format!("--{boundary}");
    let mut rest = &body[find(body, mark.as_bytes())? + mark.len()..];
    while let Some(end) = find(rest, format!("\r\n{mark}").as_bytes()) {
        let part = rest[..end].strip_prefix(b"\r\n").unwrap_or(&rest[..end]);
        rest = &rest[end + 2 + mark.len()..];
        let Some(split) = find(part, b"\r\n\r\n") else { continue };
        let (head, content) = (String::from_utf8_lossy(&part[..split]), &part[split + 4..]);
        let header = |name: &str| {
            let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name))?;
            line.split_once(':').map(|(_, value)| value.trim().to_owned())
        };
        let disposition = header("content-disposition").unwrap_or_default();
        let quoted = |name: &str| disposition.split(name).nth(1)?.split('"').next().map(str::to_owned);
        if let Some(file_name) = quoted("filename=\"") {
            return Some((header("content-type").unwrap_or_default(), file_name, content));
        }
    }
    None
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    // The first byte decides almost always, so this walks a file in one go.
    let first = *wanted.first()?;
    let mut from = 0;
    while let Some(at) = text.get(from..)?.iter().position(|byte| *byte == first) {
        if text[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_in_a_form() {
        let body =
            b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x\r\nContent-Disposition: form-data; \
            name=\"file\"; filename=\"jobs.csv\"\r\nContent-Type: text/csv\r\n\r\na,b\r\n1,2\r\n\r\n--x--\r\n";
        let (media_type, name, content) = form_file(body, "multipart/form-data; boundary=x").unwrap();
        assert_eq!((media_type.as_str(), name.as_str(), content), ("text/csv", "jobs.csv", &b"a,b\r\n1,2\r\n"[..]));
        assert!(form_file(b"--x", "multipart/form-data; boundary=x").is_none());
    }

    #[test]
    fn text_may_be_shift_jis() {
        assert_eq!(decode(&[0x93, 0x8c, 0x8b, 0x9e], "text/csv").unwrap(), "東京");
        assert_eq!(decode("東京".as_bytes(), "text/csv").unwrap(), "東京");
        assert!(decode(&[0xff, 0xff], "text/csv").is_err());
    }
}

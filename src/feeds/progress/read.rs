//! From what clients send to an event. Lenient where a client's oddity does no harm, and clear about the rest.
//!
//! Nulls count as absent. Identities and ids may be numbers. What is too long to be looked at is cut, and what cannot be
//! stored (NUL in text) is replaced.

use chrono::{DateTime, Datelike, FixedOffset, NaiveDateTime, SubsecRound, Utc};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::event::{CellFields, Event, Who};

/// Why an event was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The field as the client calls it; empty: the event as a whole.
    pub field: &'static str,
    pub reason: String,
}

/// What the request says of all its events.
#[derive(Clone, Debug)]
pub struct Context {
    pub received_at: DateTime<Utc>,
    /// Of the URL's `?class=`; an event's own goes before it.
    pub class: Option<String>,
    pub zone_offset_minutes: i32,
    pub max_text_bytes: usize,
}

const MAX_ID: usize = 255;
const MAX_PATH: usize = 1024;

pub fn event(value: Value, context: &Context) -> Result<Event, Refusal> {
    let Value::Object(mut fields) = value else { return Err(refuse("", "is not an object")) };
    fields.retain(|_, value| !value.is_null());
    clean_map(&mut fields);
    let mut input = Input { fields, max_text_bytes: context.max_text_bytes };
    let event_id = input.name("eventId", MAX_ID)?;
    let event_type = input.name("eventType", 100)?.ok_or_else(|| refuse("eventType", "is required"))?;
    let event_time = match input.fields.remove("eventTime") {
        Some(value) => time(&value, context.zone_offset_minutes)?,
        None => return Err(refuse("eventTime", "is required")),
    };
    let email_address = input.name("emailAddress", MAX_ID)?;
    let user_id = input.name("userId", MAX_ID)?.or_else(|| email_address.clone());
    let user_id = user_id.ok_or_else(|| refuse("userId", "is required, or emailAddress"))?;
    let mut class = None;
    for name in ["class", "className", "classId", "classroom"] {
        class = class.or(input.name(name, MAX_ID)?);
    }
    let who = Who {
        email_address,
        user_name: input.name("userName", MAX_ID)?,
        team_name: input.name("teamName", MAX_ID)?,
        class: class.or_else(|| context.class.clone()),
        session_id: input.name("sessionId", MAX_ID)?,
    };
    let cell_index = input.integer("cellIndex")?;
    let mut cell = CellFields {
        notebook_path: input.name("notebookPath", MAX_PATH)?,
        cell_id: input.name("cellId", MAX_ID)?,
        cell_index,
        cell_type: input.name("cellType", 100)?,
        code: input.text("code"),
        execution_count: input.integer("executionCount")?,
        has_error: input.boolean("hasError")?,
        error_message: input.text("errorMessage"),
        result: input.text("result"),
        execution_duration_ms: input.duration("executionDurationMs")?,
    };
    // A cell without a name of its own is known by its place.
    cell.cell_id = cell.cell_id.or_else(|| cell_index.map(|index| format!("#{index}")));
    let metadata = input.fields.remove("metadata");
    let extra = input.fields;
    for (field, size) in [("metadata", size_of(&metadata)), ("", size_of(&extra))] {
        if size > context.max_text_bytes {
            return Err(refuse(field, format!("has more than {} bytes of unknown fields", context.max_text_bytes)));
        }
    }
    let event_id = event_id.unwrap_or_else(|| {
        made_id(&[
            &user_id,
            &event_type,
            &event_time.timestamp_micros().to_string(),
            cell.notebook_path.as_deref().unwrap_or_default(),
            cell.cell_id.as_deref().unwrap_or_default(),
            cell.code.as_deref().unwrap_or_default(),
        ])
    });
    let received_at = context.received_at;
    Ok(Event { event_id, event_type, event_time, received_at, user_id, who, cell, metadata, extra, traceparent: None })
}

/// An id from what makes the event: the same event sent again gets the same id.
pub fn made_id(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut bytes = [0; 16];
    for (byte, of_hash) in bytes.iter_mut().zip(hash.finalize()) {
        *byte = of_hash;
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

struct Input {
    fields: Map<String, Value>,
    max_text_bytes: usize,
}

impl Input {
    /// A short text that rows are found by; a number will do, and blank is absent.
    fn name(&mut self, field: &'static str, most: usize) -> Result<Option<String>, Refusal> {
        let text = match self.fields.remove(field) {
            None => return Ok(None),
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(Value::Number(number)) => number.to_string(),
            Some(_) => return Err(refuse(field, "is not a text")),
        };
        if text.chars().count() > most {
            return Err(refuse(field, format!("has more than {most} characters")));
        }
        if text.contains(char::is_control) {
            return Err(refuse(field, "cannot contain control characters"));
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// Any text; lists of lines, as notebooks have them, are joined, and everything else is shown as JSON.
    fn text(&mut self, field: &str) -> Option<String> {
        let mut text = match self.fields.remove(field)? {
            Value::String(text) => text,
            Value::Array(lines) if lines.iter().all(Value::is_string) => {
                lines.iter().filter_map(Value::as_str).collect::<String>()
            }
            other => other.to_string(),
        };
        if text.len() > self.max_text_bytes {
            let end = (0..=self.max_text_bytes).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(end);
        }
        Some(text)
    }

    fn number(&mut self, field: &'static str) -> Result<Option<f64>, Refusal> {
        let number = match self.fields.remove(field) {
            None => return Ok(None),
            Some(Value::Number(number)) => number.as_f64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        let number = number.filter(|number: &f64| number.is_finite());
        number.map(Some).ok_or_else(|| refuse(field, "is not a number"))
    }

    fn integer(&mut self, field: &'static str) -> Result<Option<i64>, Refusal> {
        let Some(number) = self.number(field)? else { return Ok(None) };
        if number.fract() != 0.0 || !(0.0..=2_147_483_647.0).contains(&number) {
            return Err(refuse(field, "is not a whole number from 0 to 2147483647"));
        }
        Ok(Some(number as i64))
    }

    fn duration(&mut self, field: &'static str) -> Result<Option<f64>, Refusal> {
        match self.number(field)? {
            Some(number) if !(0.0..=1e12).contains(&number) => Err(refuse(field, "is not from 0 to 1e12")),
            number => Ok(number),
        }
    }

    fn boolean(&mut self, field: &'static str) -> Result<Option<bool>, Refusal> {
        match self.fields.remove(field) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(_) => Err(refuse(field, "is not true or false")),
        }
    }
}

/// ISO 8601 with or without a zone, or milliseconds since 1970.
fn time(value: &Value, zone_offset_minutes: i32) -> Result<DateTime<Utc>, Refusal> {
    let at = match value {
        Value::Number(number) => {
            number.as_f64().and_then(|at_ms| DateTime::from_timestamp_micros((at_ms * 1000.0) as i64))
        }
        Value::String(text) => iso_time(text.trim(), zone_offset_minutes),
        _ => None,
    };
    let at = at.ok_or_else(|| refuse("eventTime", "is not a time as ISO 8601 has it"))?;
    if !(2000..2100).contains(&at.year()) {
        return Err(refuse("eventTime", "is not of the years 2000 to 2099"));
    }
    Ok(at.trunc_subsecs(6))
}

fn iso_time(text: &str, zone_offset_minutes: i32) -> Option<DateTime<Utc>> {
    let zoned =
        DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"));
    if let Ok(at) = zoned {
        return Some(at.to_utc());
    }
    let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
    let local = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())?;
    let zone = FixedOffset::east_opt(zone_offset_minutes * 60)?;
    local.and_local_timezone(zone).single().map(|at| at.to_utc())
}

/// PostgreSQL has no NUL in text, so it becomes the character that stands for what cannot be shown.
fn clean(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('\0') => *text = text.replace('\0', "\u{fffd}"),
        Value::Array(values) => values.iter_mut().for_each(clean),
        Value::Object(fields) => clean_map(fields),
        _ => {}
    }
}

fn clean_map(fields: &mut Map<String, Value>) {
    fields.values_mut().for_each(clean);
    if fields.keys().any(|name| name.contains('\0')) {
        let renamed = std::mem::take(fields).into_iter().map(|(name, value)| (name.replace('\0', "\u{fffd}"), value));
        *fields = renamed.collect();
    }
}

fn size_of(value: &impl serde::Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |bytes| bytes.len())
}

fn refuse(field: &'static str, reason: impl Into<String>) -> Refusal {
    Refusal { field, reason: reason.into() }
}

//! A learning event as it is queued, stored and told: the contract's fields, with what its clients leave out filled in.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::feeds::body::utc;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    pub event_id: String,
    /// Open: unknown types are stored and told as they are.
    pub event_type: String,
    #[serde(serialize_with = "exact")]
    pub event_time: DateTime<Utc>,
    #[serde(serialize_with = "utc::serialize")]
    pub received_at: DateTime<Utc>,
    /// `userId` or, from newer clients, the e-mail address.
    pub user_id: String,
    #[serde(flatten)]
    pub who: Who,
    #[serde(flatten)]
    pub cell: CellFields,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
    /// Fields that the contract does not know.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
    /// The request that brought it, where that is traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Who {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CellFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notebook_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell_index: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_error: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_duration_ms: Option<f64>,
}

/// What is done about an event beside storing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A cell was run.
    Execution,
    Help,
    HelpStop,
    /// Everything else: stored, told, and a sign of where the student is.
    Other,
}

impl Event {
    pub fn kind(&self) -> Kind {
        match self.event_type.as_str() {
            "cell_executed" | "cell_execution" | "cell_error" | "cell_execution_complete" | "cell_execution_error"
                if self.cell.cell_id.is_some() =>
            {
                Kind::Execution
            }
            "help" | "help_requested" => Kind::Help,
            "help_stop" => Kind::HelpStop,
            _ => Kind::Other,
        }
    }

    /// Whether the execution failed. Clients that do not say so tell it by the type or by an error message.
    pub fn failed(&self) -> bool {
        let told = || self.cell.error_message.as_ref().is_some_and(|message| !message.is_empty());
        self.cell.has_error.unwrap_or_else(|| self.event_type.ends_with("_error") || told())
    }

    /// About how much of it there is.
    pub fn size_bytes(&self) -> usize {
        let texts = [&self.cell.code, &self.cell.result, &self.cell.error_message];
        let unknown =
            if self.extra.is_empty() { 0 } else { self.extra.iter().map(|(_, value)| value_bytes(value)).sum() };
        let metadata = self.metadata.as_ref().map_or(0, value_bytes);
        512 + texts.into_iter().flatten().map(String::len).sum::<usize>() + unknown + metadata
    }

    pub fn status(&self) -> &'static str {
        if self.failed() { "error" } else { "success" }
    }

    /// The kind of error: `ZeroDivisionError` of `ZeroDivisionError: division by zero`, or the message's first line.
    pub fn error_name(&self) -> Option<String> {
        if !self.failed() {
            return None;
        }
        let line = self.cell.error_message.as_deref().unwrap_or_default().trim().lines().next().unwrap_or_default();
        let word = line.split(':').next().unwrap_or_default().trim();
        let is_name = !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.'));
        let name = if is_name { word } else { line };
        Some(if name.is_empty() { "unknown".to_owned() } else { name.chars().take(100).collect() })
    }
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(value_bytes).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + value_bytes(value)).sum(),
        _ => 8,
    }
}

/// To the microsecond: the queue must not make two times equal that were not.
fn exact<S: serde::Serializer>(at: &DateTime<Utc>, output: S) -> Result<S::Ok, S::Error> {
    let digits = match at.timestamp_subsec_micros() % 1000 {
        0 => chrono::SecondsFormat::Millis,
        _ => chrono::SecondsFormat::Micros,
    };
    output.collect_str(&at.to_rfc3339_opts(digits, true))
}

//! What dashboards are told on `progress:events`.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::event::Event;
use super::state_sql::{Place, State};
use crate::feeds::body::utc;

/// An event as it was sent, with what a dashboard would otherwise have to ask for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgressEvent<'a> {
    #[serde(rename = "message_type")]
    pub message_type: &'static str,
    #[serde(flatten)]
    pub event: Cow<'a, Event>,
    /// `success` or `error`, of an execution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
    /// Runs of this cell by this student so far, and how many of them failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub solved: Option<bool>,
    pub errors_in_row: i64,
    pub signals: Signals,
}

impl<'a> ProgressEvent<'a> {
    pub fn new(event: &'a Event, state: &State) -> Self {
        // The trace goes with the message, not in it.
        let event = match &event.traceparent {
            Some(_) => Cow::Owned(Event { traceparent: None, ..event.clone() }),
            None => Cow::Borrowed(event),
        };
        Self {
            message_type: "progress_event",
            event,
            status: None,
            runs: None,
            errors: None,
            solved: None,
            errors_in_row: state.errors_in_row,
            signals: Signals::of(state),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Signals {
    pub stuck: bool,
    pub failing: bool,
    pub help: bool,
    pub idle: bool,
}

impl Signals {
    pub fn of(state: &State) -> Self {
        Self { stuck: state.is_stuck, failing: state.is_failing, help: state.is_asking, idle: state.is_idle }
    }

    fn named(self) -> [(&'static str, bool); 4] {
        [("stuck", self.stuck), ("failing", self.failing), ("help", self.help), ("idle", self.idle)]
    }

    /// The signals that `after` has and this has not, or the other way round.
    pub fn changes(self, after: Self) -> impl Iterator<Item = (&'static str, bool)> {
        self.named().into_iter().zip(after.named()).filter(|(old, new)| old.1 != new.1).map(|(_, new)| new)
    }
}

/// A signal has come on or gone off.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgressSignal<'a> {
    #[serde(rename = "message_type")]
    message_type: &'static str,
    signal: &'static str,
    active: bool,
    user_id: &'a str,
    user_name: Option<&'a str>,
    team_name: Option<&'a str>,
    class: Option<&'a str>,
    notebook_path: Option<&'a str>,
    cell_id: Option<&'a str>,
    cell_index: Option<i64>,
    errors_in_row: i64,
    #[serde(serialize_with = "utc::serialize")]
    timestamp: DateTime<Utc>,
}

impl<'a> ProgressSignal<'a> {
    pub fn new((signal, active): (&'static str, bool), place: &'a Place, state: &State, now: DateTime<Utc>) -> Self {
        Self {
            message_type: "progress_signal",
            signal,
            active,
            user_id: &place.user_id,
            user_name: place.name.as_deref(),
            team_name: place.team.as_deref(),
            class: place.class.as_deref(),
            notebook_path: place.notebook.as_deref(),
            cell_id: place.cell.as_deref(),
            cell_index: place.cell_index,
            errors_in_row: state.errors_in_row,
            timestamp: now,
        }
    }
}

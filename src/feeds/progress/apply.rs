//! What events do to the tables and tell the stream: a batch at a time, in one transaction.
//!
//! Events arrive out of order, twice, and from several servers at once. So an event counts when its id is new, latest
//! states go by the events' own times, and rows are written in one order by everybody.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use prometheus_client::metrics::counter::Counter;

use super::event::{Event, Kind};
use super::messages::{ProgressEvent, ProgressSignal, Signals};
use super::options::ProgressOptions;
use super::point;
use super::rows::{self, InCells, Stored};
use super::state_sql::{self, State};
use super::store_sql::{self, IdRow};
use super::traced::Traced;
use crate::clock::Clock;
use crate::db::Tx;
use crate::feeds::PROGRESS_EVENTS;
use crate::feeds::outbox::{Outbox, StageError};
use crate::queue::{BatchError, BatchHandler};
use crate::series::Writer;
use crate::stream::Tags;
use crate::telemetry::trace;

/// Applies accepted events.
pub struct Effects {
    pub clock: Clock,
    pub outbox: Outbox,
    pub writer: Writer,
    pub options: ProgressOptions,
    pub stored: Counter,
    pub duplicates: Counter,
}

impl BatchHandler for Effects {
    type Work = Vec<Event>;

    async fn apply(&self, tx: &mut Tx, work: &[Vec<Event>]) -> Result<(), BatchError> {
        let received = work.iter().map(Vec::len).sum::<usize>();
        let mut seen = BTreeSet::new();
        let mut events: Vec<&Event> =
            work.iter().flatten().filter(|event| seen.insert(event.event_id.as_str())).collect();
        events.sort_by_key(|event| event.event_time);
        let traced = Traced::begin(&events);
        let stored = self.store(tx, &events, &traced).await?;
        traced.end(events.len());
        self.duplicates.inc_by((received - stored) as u64);
        self.stored.inc_by(stored as u64);
        Ok(())
    }

    fn split(&self, work: Vec<Event>) -> Vec<Vec<Event>> {
        work.into_iter().map(|event| vec![event]).collect()
    }

    fn key(&self, piece: &Vec<Event>) -> Option<String> {
        match piece.as_slice() {
            [event] => Some(event.event_id.clone()),
            _ => None,
        }
    }

    fn committed(&self) {
        self.outbox.committed();
    }
}

impl Effects {
    /// Stores and tells the events that are new; answers how many those are.
    async fn store(&self, tx: &mut Tx, events: &[&Event], traced: &Traced<'_>) -> Result<usize, BatchError> {
        let (messages, new) = trace::within(traced.first(), self.write(tx, events, traced)).await?;
        if messages.is_empty() {
            return Ok(new);
        }
        // Outside of it: each message goes on in its own event's trace.
        let staged = self.outbox.stage_all(tx, PROGRESS_EVENTS, &messages, self.clock.now()).await;
        staged.map_err(|error| match error {
            StageError::Db(error) => error.into(),
            StageError::Json(error) => failed(error),
        })?;
        Ok(new)
    }

    /// What is to be told of the new events, and how many those are.
    async fn write(
        &self,
        tx: &mut Tx,
        events: &[&Event],
        traced: &Traced<'_>,
    ) -> Result<(Vec<(String, Tags)>, usize), BatchError> {
        let students = rows::students(tx, events).await?;
        let notebooks = rows::notebooks(tx, events).await?;
        let mut new = rows::new_events(tx, events, &students, &notebooks).await?;
        if new.is_empty() {
            return Ok((Vec::new(), 0));
        }
        let events: Vec<&Event> = new.iter().map(|it| it.event).collect();
        // Before the commit: points of events that are not stored after all come again, and are the same points then.
        // Together: while the database works, the points are made.
        let (messages, kept) = tokio::join!(self.follow(tx, &mut new, &students, traced), self.keep_points(&events));
        kept?;
        Ok((messages?, new.len()))
    }

    async fn keep_points(&self, events: &[&Event]) -> Result<(), BatchError> {
        let points = events.iter().filter_map(|event| point::of(event)).collect();
        self.writer.record(points).await.map_err(|error| BatchError::Unavailable(error.to_string()))
    }

    /// What follows from new events: cells, executions, states, signals; and the messages of all that.
    async fn follow(
        &self,
        tx: &mut Tx,
        new: &mut [Stored<'_>],
        students: &rows::Students<'_>,
        traced: &Traced<'_>,
    ) -> Result<Vec<(String, Tags)>, BatchError> {
        rows::find_cells(tx, new).await?;
        let new = &*new;
        let in_cells = rows::executions(tx, new).await?;
        rows::sessions(tx, new).await?;
        let now = self.clock.now();
        let ids: Vec<i64> = new.iter().map(|it| it.student_id).collect::<BTreeSet<_>>().into_iter().collect();
        let errors = store_sql::errors_in_row(tx, &ids.iter().map(|id| IdRow { id: *id }).collect::<Vec<_>>()).await?;
        let errors: HashMap<i64, i64> = errors.into_iter().map(|row| (row.student_id, row.errors)).collect();
        let before: HashMap<i64, State> =
            state_sql::lock(tx, &ids).await?.into_iter().map(|state| (state.student_id, state)).collect();
        let mut after = BTreeMap::new();
        for stored in new {
            let state = after
                .entry(stored.student_id)
                .or_insert_with(|| before.get(&stored.student_id).cloned().unwrap_or_else(|| first_state(stored)));
            advance(state, stored);
            self.track_help(tx, state, stored).await?;
        }
        for (id, state) in &mut after {
            state.errors_in_row = errors.get(id).copied().unwrap_or(0);
            state.is_failing = state.errors_in_row >= i64::from(self.options.failing_errors);
            let moved = before.get(id).is_none_or(|before| before.cell_id != state.cell_id);
            let here = state.cell_id.and_then(|cell_id| in_cells.get(&(*id, cell_id)));
            state.is_stuck &= !moved && here.is_none_or(|cell| cell.solved_at.is_none());
            state.is_idle = false;
        }
        let states: Vec<State> = after.values().cloned().collect();
        state_sql::save(tx, &states).await?;
        let mut messages = Vec::with_capacity(new.len());
        for stored in new {
            if let Some(state) = after.get(&stored.student_id) {
                let class = students.get(stored.event.user_id.as_str()).and_then(|it| it.class.clone());
                let mut message = told(stored, state, class, &in_cells).map_err(failed)?;
                traced.tag(stored.event, &mut message.1);
                messages.push(message);
            }
        }
        messages.extend(changed_signals(tx, &before, &after, now).await?);
        Ok(messages)
    }

    async fn track_help(&self, tx: &mut Tx, state: &mut State, stored: &Stored<'_>) -> Result<(), BatchError> {
        let at = stored.event.event_time;
        match stored.event.kind() {
            Kind::Help => {
                if state.help_at.is_none_or(|known| known < at) {
                    (state.help_at, state.help_received_at) = (Some(at), Some(stored.event.received_at));
                }
                state_sql::help(tx, state.student_id, stored.notebook_id, at, state.help_stop_at).await?;
            }
            Kind::HelpStop => {
                state.help_stop_at = state.help_stop_at.max(Some(at));
                state_sql::help_stop(tx, state.student_id, at).await?;
            }
            Kind::Execution | Kind::Other => return Ok(()),
        }
        state.is_asking = state.help_at.is_some_and(|asked| state.help_stop_at.is_none_or(|end| asked > end));
        Ok(())
    }
}

fn failed(error: impl std::fmt::Display) -> BatchError {
    BatchError::Failed(error.to_string())
}

fn first_state(stored: &Stored<'_>) -> State {
    let event = stored.event;
    State {
        student_id: stored.student_id,
        notebook_id: None,
        cell_id: None,
        session_id: None,
        position_at: event.event_time,
        last_event_at: event.event_time,
        last_received_at: event.received_at,
        errors_in_row: 0,
        help_at: None,
        help_received_at: None,
        help_stop_at: None,
        is_stuck: false,
        is_failing: false,
        is_asking: false,
        is_idle: false,
    }
}

/// Where the student is after this event, unless later ones are known. Only events with a cell set the place's time:
/// asking for help or saving does not leave the cell, and a run that arrives after such an event still counts.
fn advance(state: &mut State, stored: &Stored<'_>) {
    let event = stored.event;
    if event.event_time >= state.last_event_at && event.who.session_id.is_some() {
        state.session_id.clone_from(&event.who.session_id);
    }
    state.last_event_at = state.last_event_at.max(event.event_time);
    state.last_received_at = state.last_received_at.max(event.received_at);
    let Some(notebook_id) = stored.notebook_id else { return };
    let same_notebook = state.notebook_id == Some(notebook_id);
    let later = event.event_time >= state.position_at;
    let moved = match stored.cell_id {
        Some(_) => later || (same_notebook && state.cell_id.is_none()),
        None => later && !same_notebook,
    };
    if moved {
        state.position_at = event.event_time;
        state.notebook_id = Some(notebook_id);
        state.cell_id = stored.cell_id;
    }
}

/// The event's message, and tags for what it does not hold itself.
fn told(
    stored: &Stored<'_>,
    state: &State,
    class: Option<String>,
    in_cells: &InCells,
) -> Result<(String, Tags), serde_json::Error> {
    let mut message = ProgressEvent::new(stored.event, state);
    if stored.event.kind() == Kind::Execution {
        message.status = Some(stored.event.status());
        let cell = stored.cell_id.and_then(|cell_id| in_cells.get(&(stored.student_id, cell_id)));
        message.runs = cell.map(|cell| cell.runs);
        message.errors = cell.map(|cell| cell.errors);
        message.solved = cell.map(|cell| cell.solved_at.is_some());
    }
    // A student's class may be known from earlier events only.
    let known = class.filter(|_| stored.event.who.class.is_none());
    let tags = known.map(|class| ("class".to_owned(), class)).into_iter().collect();
    Ok((serde_json::to_string(&message)?, tags))
}

async fn changed_signals(
    tx: &mut Tx,
    before: &HashMap<i64, State>,
    after: &BTreeMap<i64, State>,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<Vec<(String, Tags)>, BatchError> {
    let none = Signals { stuck: false, failing: false, help: false, idle: false };
    let mut changes = Vec::new();
    for (id, state) in after {
        let old = before.get(id).map_or(none, Signals::of);
        changes.extend(old.changes(Signals::of(state)).map(|change| (*id, change)));
    }
    signal_messages(tx, after, &changes, now).await
}

/// The messages of signals that have changed, by student.
pub async fn signal_messages(
    tx: &mut Tx,
    states: &BTreeMap<i64, State>,
    changes: &[(i64, (&'static str, bool))],
    now: chrono::DateTime<chrono::Utc>,
) -> Result<Vec<(String, Tags)>, BatchError> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = changes.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>().into_iter().collect();
    let places = state_sql::places(tx, &ids).await?;
    let places: HashMap<i64, _> = places.into_iter().map(|place| (place.student_id, place)).collect();
    let mut messages = Vec::with_capacity(changes.len());
    for (id, change) in changes {
        if let (Some(place), Some(state)) = (places.get(id), states.get(id)) {
            let message = ProgressSignal::new(*change, place, state, now);
            messages.push((serde_json::to_string(&message).map_err(failed)?, Tags::new()));
        }
    }
    Ok(messages)
}

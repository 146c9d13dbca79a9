//! What events do to the tables and tell the stream: a batch at a time, in one transaction.
//!
//! Events arrive out of order, twice, and from several servers at once. So an event counts when its id is new, latest
//! states go by the events' own times, and rows are written in one order by everybody.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::TimeDelta;
use prometheus_client::metrics::counter::Counter;
use serde_json::{Value, json};

use super::event::{Event, Kind};
use super::messages::{ProgressEvent, ProgressSignal, Signals};
use super::options::ProgressOptions;
use super::state_sql::{self, State};
use super::store_sql::{
    self, CellRow, EventRow, ExecutionRow, IdRow, NotebookRow, SessionRow, StudentCell, StudentCellRow, StudentRow,
    time,
};
use crate::clock::Clock;
use crate::db::Tx;
use crate::feeds::PROGRESS_EVENTS;
use crate::feeds::outbox::{Outbox, StageError};
use crate::queue::{BatchError, BatchHandler};
use crate::stream::Tags;

/// Applies accepted events.
pub struct Effects {
    pub clock: Clock,
    pub outbox: Outbox,
    pub options: ProgressOptions,
    pub stored: Counter,
    pub duplicates: Counter,
}

/// A new event with the ids of what it is about.
struct Stored<'a> {
    event: &'a Event,
    id: i64,
    student_id: i64,
    notebook_id: Option<i64>,
    cell: Option<(i64, bool)>,
}

impl BatchHandler for Effects {
    type Work = Vec<Event>;

    async fn apply(&self, tx: &mut Tx, work: &[Vec<Event>]) -> Result<(), BatchError> {
        let received = work.iter().map(Vec::len).sum::<usize>();
        let mut seen = BTreeSet::new();
        let mut events: Vec<&Event> =
            work.iter().flatten().filter(|event| seen.insert(event.event_id.as_str())).collect();
        events.sort_by_key(|event| event.event_time);
        let stored = self.store(tx, &events).await?;
        self.duplicates.inc_by((received - stored) as u64);
        self.stored.inc_by(stored as u64);
        Ok(())
    }

    fn split(&self, work: Vec<Event>) -> Vec<Vec<Event>> {
        work.into_iter().map(|event| vec![event]).collect()
    }

    fn committed(&self) {
        self.outbox.committed();
    }
}

impl Effects {
    /// Stores and tells the events that are new; answers how many those are.
    async fn store(&self, tx: &mut Tx, events: &[&Event]) -> Result<usize, BatchError> {
        let students = students(tx, events).await?;
        let notebooks = notebooks(tx, events).await?;
        let mut new = new_events(tx, events, &students, &notebooks).await?;
        if new.is_empty() {
            return Ok(0);
        }
        find_cells(tx, &mut new).await?;
        let in_cells = executions(tx, &new).await?;
        sessions(tx, &new).await?;
        let now = self.clock.now();
        let ids: Vec<i64> = new.iter().map(|it| it.student_id).collect::<BTreeSet<_>>().into_iter().collect();
        let errors = store_sql::errors_in_row(tx, &ids.iter().map(|id| IdRow { id: *id }).collect::<Vec<_>>()).await?;
        let errors: HashMap<i64, i64> = errors.into_iter().map(|row| (row.student_id, row.errors)).collect();
        let before: HashMap<i64, State> =
            state_sql::lock(tx, &ids).await?.into_iter().map(|state| (state.student_id, state)).collect();
        let mut after = BTreeMap::new();
        for stored in &new {
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
        for stored in &new {
            if let Some(state) = after.get(&stored.student_id) {
                let class = students.get(stored.event.user_id.as_str()).and_then(|it| it.class.clone());
                messages.push(told(stored, state, class, &in_cells).map_err(failed)?);
            }
        }
        messages.extend(changed_signals(tx, &before, &after, now).await?);
        self.outbox.stage_all(tx, PROGRESS_EVENTS, &messages, now).await.map_err(|error| match error {
            StageError::Db(error) => error.into(),
            StageError::Json(error) => failed(error),
        })?;
        Ok(new.len())
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

type Students<'a> = HashMap<&'a str, store_sql::Student>;

async fn students<'a>(tx: &mut Tx, events: &[&'a Event]) -> Result<Students<'a>, BatchError> {
    // In the order of time, so that what was said last stays.
    let mut rows: BTreeMap<&str, StudentRow<'_>> = BTreeMap::new();
    for event in events {
        let who = &event.who;
        let row = rows.entry(&event.user_id).or_insert_with(|| StudentRow {
            user_id: &event.user_id,
            name: None,
            email: None,
            team: None,
            class: None,
            at: time(event.received_at),
        });
        row.name = who.user_name.as_deref().or(row.name);
        row.email = who.email_address.as_deref().or(row.email);
        row.team = who.team_name.as_deref().or(row.team);
        row.class = who.class.as_deref().or(row.class);
    }
    let rows: Vec<StudentRow<'_>> = rows.into_values().collect();
    let mut found: HashMap<String, store_sql::Student> =
        store_sql::students(tx, &rows).await?.into_iter().map(|it| (it.user_id.clone(), it)).collect();
    Ok(events.iter().filter_map(|event| Some((event.user_id.as_str(), found.remove(&event.user_id)?))).collect())
}

async fn notebooks<'a>(tx: &mut Tx, events: &[&'a Event]) -> Result<HashMap<&'a str, i64>, BatchError> {
    let mut rows = BTreeMap::new();
    for event in events {
        if let Some(path) = notebook_of(event) {
            let name = path.rsplit('/').next().unwrap_or(path);
            rows.entry(path).or_insert_with(|| NotebookRow { path, name, at: time(event.received_at) });
        }
    }
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<NotebookRow<'_>> = rows.into_values().collect();
    let found = store_sql::notebooks(tx, &rows).await?;
    let ids: HashMap<String, i64> = found.into_iter().map(|it| (it.name, it.id)).collect();
    Ok(rows.iter().filter_map(|row| Some((row.path, *ids.get(row.path)?))).collect())
}

/// A cell that is run must be in some notebook; one that nobody names is the empty one.
fn notebook_of(event: &Event) -> Option<&str> {
    let path = event.cell.notebook_path.as_deref();
    path.or_else(|| (event.kind() == Kind::Execution).then_some(""))
}

async fn new_events<'a>(
    tx: &mut Tx,
    events: &[&'a Event],
    students: &Students<'_>,
    notebooks: &HashMap<&str, i64>,
) -> Result<Vec<Stored<'a>>, BatchError> {
    let mut candidates = HashMap::with_capacity(events.len());
    let mut rows = Vec::with_capacity(events.len());
    for event in events {
        let Some(student) = students.get(event.user_id.as_str()) else { continue };
        let notebook_id = notebook_of(event).and_then(|path| notebooks.get(path).copied());
        rows.push(EventRow {
            event_id: &event.event_id,
            event_type: &event.event_type,
            student_id: student.id,
            notebook_id,
            cell_id: event.cell.cell_id.as_deref(),
            session_id: event.who.session_id.as_deref(),
            class: event.who.class.as_deref(),
            event_time: time(event.event_time),
            received_at: time(event.received_at),
            payload: payload(event),
        });
        let stored = Stored { event, id: 0, student_id: student.id, notebook_id, cell: None };
        candidates.insert(event.event_id.as_str(), stored);
    }
    // Two servers that insert the same ids wait for each other, so they do it in the same order.
    rows.sort_by_key(|row| row.event_id);
    let ids = store_sql::events(tx, &rows).await?;
    let mut new = Vec::with_capacity(ids.len());
    for row in ids {
        if let Some(mut stored) = candidates.remove(row.name.as_str()) {
            stored.id = row.id;
            new.push(stored);
        }
    }
    new.sort_by_key(|stored| (stored.event.event_time, stored.id));
    Ok(new)
}

/// What the other columns and tables do not hold.
fn payload(event: &Event) -> Option<Value> {
    let mut fields = serde_json::Map::new();
    if event.kind() != Kind::Execution
        && let Ok(Value::Object(cell)) = serde_json::to_value(&event.cell)
    {
        fields.extend(cell.into_iter().filter(|(name, _)| name != "notebookPath" && name != "cellId"));
    }
    if let Some(metadata) = &event.metadata {
        fields.insert("metadata".into(), metadata.clone());
    }
    if !event.extra.is_empty() {
        fields.insert("extra".into(), Value::Object(event.extra.clone()));
    }
    if event.who.user_name.is_some() && event.kind() == Kind::Other {
        fields.insert("who".into(), json!(event.who));
    }
    (!fields.is_empty()).then_some(Value::Object(fields))
}

async fn find_cells(tx: &mut Tx, new: &mut [Stored<'_>]) -> Result<(), BatchError> {
    let mut rows: BTreeMap<(i64, &str), CellRow<'_>> = BTreeMap::new();
    for stored in new.iter() {
        let (Some(notebook_id), Some(cell_id)) = (stored.notebook_id, stored.event.cell.cell_id.as_deref()) else {
            continue;
        };
        let cell = &stored.event.cell;
        let row = rows.entry((notebook_id, cell_id)).or_insert_with(|| CellRow {
            cell_id,
            notebook_id,
            cell_type: None,
            cell_index: None,
            content: None,
            at: String::new(),
        });
        row.cell_type = cell.cell_type.as_deref().or(row.cell_type);
        row.cell_index = cell.cell_index.or(row.cell_index);
        row.content = cell.code.as_deref().or(row.content);
        row.at = time(stored.event.event_time);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let found = store_sql::cells(tx, &rows.into_values().collect::<Vec<_>>()).await?;
    let found: HashMap<(i64, &str), (i64, bool)> = found
        .iter()
        .map(|cell| ((cell.notebook_id, cell.cell_id.as_str()), (cell.id, is_code(cell.cell_type.as_deref()))))
        .collect();
    for stored in new {
        let name = stored.notebook_id.zip(stored.event.cell.cell_id.as_deref());
        stored.cell = name.and_then(|name| found.get(&name).copied());
    }
    Ok(())
}

fn is_code(cell_type: Option<&str>) -> bool {
    cell_type.is_none_or(|cell_type| cell_type == "code")
}

type InCells = HashMap<(i64, i64), StudentCell>;

/// Stores the executions among them; answers the state of each student in each cell that was run.
async fn executions(tx: &mut Tx, new: &[Stored<'_>]) -> Result<InCells, BatchError> {
    let mut rows = Vec::new();
    let mut states: BTreeMap<(i64, i64), StudentCellRow> = BTreeMap::new();
    for stored in new {
        let (Kind::Execution, Some((cell_id, _))) = (stored.event.kind(), stored.cell) else { continue };
        let event = stored.event;
        let (at, error_name) = (time(event.event_time), event.error_name());
        let solved_at = (!event.failed()).then(|| at.clone());
        let state = states.entry((stored.student_id, cell_id)).or_insert_with(|| StudentCellRow {
            student_id: stored.student_id,
            cell_id,
            cell_name: event.cell.cell_id.clone().unwrap_or_default(),
            runs: 0,
            errors: 0,
            first_at: at.clone(),
            hour_before: time(event.event_time - TimeDelta::hours(1)),
            last_at: String::new(),
            last_status: "",
            last_error: None,
            solved_at: None,
        });
        state.runs += 1;
        state.errors += i64::from(event.failed());
        state.last_status = event.status();
        state.last_error = error_name.clone();
        state.solved_at = state.solved_at.take().or(solved_at);
        rows.push(ExecutionRow {
            id: stored.id,
            student_id: stored.student_id,
            cell_id,
            executed_at: at.clone(),
            status: event.status(),
            duration: event.cell.execution_duration_ms,
            output: event.cell.result.as_deref(),
            error_name,
            error_message: event.cell.error_message.as_deref().filter(|message| !message.is_empty()),
            execution_count: event.cell.execution_count,
        });
        state.last_at = at;
    }
    if rows.is_empty() {
        return Ok(InCells::new());
    }
    store_sql::executions(tx, &rows).await?;
    let states = store_sql::student_cells(tx, &states.into_values().collect::<Vec<_>>()).await?;
    Ok(states.into_iter().map(|state| ((state.student_id, state.cell_id), state)).collect())
}

async fn sessions(tx: &mut Tx, new: &[Stored<'_>]) -> Result<(), BatchError> {
    let mut rows: BTreeMap<(i64, &str), SessionRow<'_>> = BTreeMap::new();
    for stored in new {
        let Some(session_id) = stored.event.who.session_id.as_deref() else { continue };
        let at = time(stored.event.event_time);
        let row = rows.entry((stored.student_id, session_id)).or_insert_with(|| SessionRow {
            student_id: stored.student_id,
            session_id,
            first_at: at.clone(),
            last_at: String::new(),
            events: 0,
        });
        (row.last_at, row.events) = (at, row.events + 1);
    }
    if !rows.is_empty() {
        store_sql::sessions(tx, &rows.into_values().collect::<Vec<_>>()).await?;
    }
    Ok(())
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

/// Where the student is after this event, unless later ones are known.
fn advance(state: &mut State, stored: &Stored<'_>) {
    let event = stored.event;
    state.last_event_at = state.last_event_at.max(event.event_time);
    state.last_received_at = state.last_received_at.max(event.received_at);
    if event.event_time < state.position_at {
        return;
    }
    if event.who.session_id.is_some() {
        state.session_id.clone_from(&event.who.session_id);
    }
    if stored.notebook_id.is_some() {
        state.position_at = event.event_time;
        // Asking for help or saving does not leave the cell.
        let left = state.notebook_id != stored.notebook_id;
        state.notebook_id = stored.notebook_id;
        state.cell_id = stored.cell.map(|(id, _)| id).or(state.cell_id.filter(|_| !left));
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
        let cell = stored.cell.and_then(|(cell_id, _)| in_cells.get(&(stored.student_id, cell_id)));
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

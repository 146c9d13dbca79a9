//! The rows that a batch of events makes: each kind of them written by one statement.

use std::collections::{BTreeMap, HashMap};

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::event::{Event, Kind};
use super::store_sql::{
    self, CellRow, EventRow, ExecutionRow, NotebookRow, SessionRow, StudentCell, StudentCellRow, StudentRow,
};
use crate::db::Tx;
use crate::queue::BatchError;

/// A new event with the ids of what it is about.
pub struct Stored<'a> {
    pub event: &'a Event,
    pub id: i64,
    pub student_id: i64,
    pub notebook_id: Option<i64>,
    /// The cell's row.
    pub cell_id: Option<i64>,
}

pub type Students<'a> = HashMap<&'a str, store_sql::Student>;

pub async fn students<'a>(tx: &mut Tx, events: &[&'a Event]) -> Result<Students<'a>, BatchError> {
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
            at: event.received_at,
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

pub async fn notebooks<'a>(tx: &mut Tx, events: &[&'a Event]) -> Result<HashMap<&'a str, i64>, BatchError> {
    let mut rows = BTreeMap::new();
    for event in events {
        if let Some(path) = notebook_of(event) {
            let name = path.rsplit('/').next().unwrap_or(path);
            rows.entry(path).or_insert_with(|| NotebookRow { path, name, at: event.received_at });
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

pub async fn new_events<'a>(
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
            event_time: event.event_time,
            received_at: event.received_at,
            payload: payload(event),
        });
        let stored = Stored { event, id: 0, student_id: student.id, notebook_id, cell_id: None };
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

pub async fn find_cells(tx: &mut Tx, new: &mut [Stored<'_>]) -> Result<(), BatchError> {
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
            at: stored.event.event_time,
        });
        row.cell_type = cell.cell_type.as_deref().or(row.cell_type);
        row.cell_index = cell.cell_index.or(row.cell_index);
        row.content = cell.code.as_deref().or(row.content);
        row.at = stored.event.event_time;
    }
    if rows.is_empty() {
        return Ok(());
    }
    let found = store_sql::cells(tx, &rows.into_values().collect::<Vec<_>>()).await?;
    let found: HashMap<(i64, &str), i64> =
        found.iter().map(|cell| ((cell.notebook_id, cell.cell_id.as_str()), cell.id)).collect();
    for stored in new {
        let name = stored.notebook_id.zip(stored.event.cell.cell_id.as_deref());
        stored.cell_id = name.and_then(|name| found.get(&name).copied());
    }
    Ok(())
}

pub type InCells = HashMap<(i64, i64), StudentCell>;

/// Stores the executions among them; answers the state of each student in each cell that was run.
pub async fn executions(tx: &mut Tx, new: &[Stored<'_>]) -> Result<InCells, BatchError> {
    let mut rows = Vec::new();
    let mut states: BTreeMap<(i64, i64), StudentCellRow> = BTreeMap::new();
    for stored in new {
        let (Kind::Execution, Some(cell_id)) = (stored.event.kind(), stored.cell_id) else { continue };
        let event = stored.event;
        let (at, error_name) = (event.event_time, event.error_name());
        let solved_at = (!event.failed()).then_some(at);
        let state = states.entry((stored.student_id, cell_id)).or_insert_with(|| StudentCellRow {
            student_id: stored.student_id,
            cell_id,
            cell_name: event.cell.cell_id.clone().unwrap_or_default(),
            runs: 0,
            errors: 0,
            first_at: at,
            hour_before: event.event_time - TimeDelta::hours(1),
            last_at: at,
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
            executed_at: at,
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

pub async fn sessions(tx: &mut Tx, new: &[Stored<'_>]) -> Result<(), BatchError> {
    let mut rows: BTreeMap<(i64, &str), SessionRow<'_>> = BTreeMap::new();
    for stored in new {
        let Some(session_id) = stored.event.who.session_id.as_deref() else { continue };
        let at = stored.event.event_time;
        let row = rows.entry((stored.student_id, session_id)).or_insert_with(|| SessionRow {
            student_id: stored.student_id,
            session_id,
            first_at: at,
            last_at: at,
            events: 0,
        });
        (row.last_at, row.events) = (at, row.events + 1);
    }
    if !rows.is_empty() {
        store_sql::sessions(tx, &rows.into_values().collect::<Vec<_>>()).await?;
    }
    Ok(())
}

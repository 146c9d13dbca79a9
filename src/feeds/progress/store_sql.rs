//! Storage of events: each statement takes a whole batch as one JSON argument.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::args;
use crate::db::{DbError, Tx};

/// A statement over `r`, the rows of the JSON list `$1`, for SQLite and for PostgreSQL.
macro_rules! over_rows {
    ($before:literal, [$($column:ident $type:literal),* $(,)?], $after:literal) => {[
        concat!($before, " FROM (SELECT ", $("value ->> '", stringify!($column), "' AS ", stringify!($column), ", ",)*
            "1 AS one FROM json_each($1)) AS r ", $after),
        concat!($before, " FROM jsonb_to_recordset($1) AS r(", $(stringify!($column), " ", $type, ", ",)* "one int) ",
            $after),
    ]};
}

/// A time in a JSON row: in the form that SQLite's columns have, so that texts compare as times do.
pub fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, false)
}

fn list(rows: &impl Serialize) -> Value {
    // Plain data types of ours can always be written.
    serde_json::to_value(rows).unwrap_or_default()
}

async fn fetch<T: crate::db::Row>(
    tx: &mut Tx,
    sql: [&'static str; 2],
    rows: &impl Serialize,
) -> Result<Vec<T>, DbError> {
    let [sqlite, postgres] = sql;
    tx.fetch_all(tx.by_engine(sqlite, postgres), args![list(rows)]).await
}

async fn execute(tx: &mut Tx, sql: [&'static str; 2], rows: &impl Serialize) -> Result<u64, DbError> {
    let [sqlite, postgres] = sql;
    tx.execute(tx.by_engine(sqlite, postgres), args![list(rows)]).await
}

#[derive(Debug, Serialize)]
pub struct StudentRow<'a> {
    pub user_id: &'a str,
    pub name: Option<&'a str>,
    pub email: Option<&'a str>,
    pub team: Option<&'a str>,
    pub class: Option<&'a str>,
    pub at: String,
}

/// A student as it is known after this batch.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Student {
    pub id: i64,
    pub user_id: String,
    pub class: Option<String>,
}

pub async fn students(tx: &mut Tx, rows: &[StudentRow<'_>]) -> Result<Vec<Student>, DbError> {
    const SQL: [&str; 2] = over_rows!(
        "INSERT INTO students (user_id, name, email, team, class, created_at)
         SELECT r.user_id, r.name, r.email, r.team, r.class, r.at",
        [user_id "text", name "text", email "text", team "text", class "text", at "timestamptz"],
        "WHERE true ON CONFLICT (user_id) DO UPDATE SET name = coalesce(excluded.name, students.name),
         email = coalesce(excluded.email, students.email), team = coalesce(excluded.team, students.team),
         class = coalesce(excluded.class, students.class) RETURNING id, user_id, class"
    );
    fetch(tx, SQL, &rows).await
}

#[derive(Debug, Serialize)]
pub struct NotebookRow<'a> {
    pub path: &'a str,
    pub name: &'a str,
    pub at: String,
}

#[derive(Debug, sqlx::FromRow)]
pub struct Named {
    pub id: i64,
    pub name: String,
}

/// Ids by path.
pub async fn notebooks(tx: &mut Tx, rows: &[NotebookRow<'_>]) -> Result<Vec<Named>, DbError> {
    const SQL: [&str; 2] = over_rows!(
        "INSERT INTO notebooks (path, name, created_at) SELECT r.path, r.name, r.at",
        [path "text", name "text", at "timestamptz"],
        "WHERE true ON CONFLICT (path) DO UPDATE SET path = excluded.path RETURNING id, path AS name"
    );
    fetch(tx, SQL, &rows).await
}

#[derive(Debug, Serialize)]
pub struct EventRow<'a> {
    pub event_id: &'a str,
    pub event_type: &'a str,
    pub student_id: i64,
    pub notebook_id: Option<i64>,
    pub cell_id: Option<&'a str>,
    pub session_id: Option<&'a str>,
    pub class: Option<&'a str>,
    pub event_time: String,
    pub received_at: String,
    pub payload: Option<Value>,
}

/// Ids of the events that had not been seen before, by event id; the others change nothing.
pub async fn events(tx: &mut Tx, rows: &[EventRow<'_>]) -> Result<Vec<Named>, DbError> {
    const SQL: [&str; 2] = over_rows!(
        "INSERT INTO progress_events (event_id, event_type, student_id, notebook_id, cell_id, session_id, class,
             event_time, received_at, payload)
         SELECT r.event_id, r.event_type, r.student_id, r.notebook_id, r.cell_id, r.session_id, r.class,
             r.event_time, r.received_at, r.payload",
        [event_id "text", event_type "text", student_id "bigint", notebook_id "bigint", cell_id "text",
         session_id "text", class "text", event_time "timestamptz", received_at "timestamptz", payload "jsonb"],
        "WHERE true ON CONFLICT (event_id) DO NOTHING RETURNING id, event_id AS name"
    );
    fetch(tx, SQL, &rows).await
}

#[derive(Debug, Serialize)]
pub struct CellRow<'a> {
    pub cell_id: &'a str,
    pub notebook_id: i64,
    pub cell_type: Option<&'a str>,
    pub cell_index: Option<i64>,
    pub content: Option<&'a str>,
    pub at: String,
}

#[derive(Debug, sqlx::FromRow)]
pub struct Cell {
    pub id: i64,
    pub cell_id: String,
    pub notebook_id: i64,
}

pub async fn cells(tx: &mut Tx, rows: &[CellRow<'_>]) -> Result<Vec<Cell>, DbError> {
    const SQL: [&str; 2] = over_rows!(
        "INSERT INTO cells (cell_id, notebook_id, cell_type, cell_index, content, content_at)
         SELECT r.cell_id, r.notebook_id, r.cell_type, r.cell_index, r.content, r.at",
        [cell_id "text", notebook_id "bigint", cell_type "text", cell_index "bigint", content "text", at "timestamptz"],
        "WHERE true ON CONFLICT (notebook_id, cell_id) DO UPDATE SET
         cell_type = coalesce(excluded.cell_type, cells.cell_type),
         cell_index = CASE WHEN excluded.content_at >= cells.content_at
             THEN coalesce(excluded.cell_index, cells.cell_index) ELSE cells.cell_index END,
         content = CASE WHEN excluded.content_at >= cells.content_at
             THEN coalesce(excluded.content, cells.content) ELSE coalesce(cells.content, excluded.content) END,
         content_at = CASE WHEN excluded.content_at >= cells.content_at
             THEN excluded.content_at ELSE cells.content_at END
         RETURNING id, cell_id, notebook_id"
    );
    fetch(tx, SQL, &rows).await
}

#[derive(Debug, Serialize)]
pub struct ExecutionRow<'a> {
    pub id: i64,
    pub student_id: i64,
    pub cell_id: i64,
    pub executed_at: String,
    pub status: &'static str,
    pub duration: Option<f64>,
    pub output: Option<&'a str>,
    pub error_name: Option<String>,
    pub error_message: Option<&'a str>,
    pub execution_count: Option<i64>,
}

pub async fn executions(tx: &mut Tx, rows: &[ExecutionRow<'_>]) -> Result<u64, DbError> {
    const SQL: [&str; 2] = over_rows!(
        "INSERT INTO cell_executions (id, student_id, cell_id, executed_at, status, duration, output, error_name,
             error_message, execution_count)
         SELECT r.id, r.student_id, r.cell_id, r.executed_at, r.status, r.duration, r.output, r.error_name,
             r.error_message, r.execution_count",
        [id "bigint", student_id "bigint", cell_id "bigint", executed_at "timestamptz", status "text",
         duration "double precision", output "text", error_name "text", error_message "text", execution_count "bigint"],
        ""
    );
    execute(tx, SQL, &rows).await
}

/// What a batch adds to a student's state in a cell.
#[derive(Clone, Debug, Serialize)]
pub struct StudentCellRow {
    pub student_id: i64,
    pub cell_id: i64,
    /// The client's name of the cell: what was done elsewhere before tells when the work on this one began.
    pub cell_name: String,
    pub runs: i64,
    pub errors: i64,
    pub first_at: String,
    pub hour_before: String,
    pub last_at: String,
    pub last_status: &'static str,
    pub last_error: Option<String>,
    pub solved_at: Option<String>,
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct StudentCell {
    pub student_id: i64,
    pub cell_id: i64,
    pub runs: i64,
    pub errors: i64,
    pub solved_at: Option<DateTime<Utc>>,
}

/// Work on a cell begins with the student's last event elsewhere, at most an hour before the first run; that makes the
/// result the same in whatever order the events arrive, but for what comes later than the first run of the next cell.
pub async fn student_cells(tx: &mut Tx, rows: &[StudentCellRow]) -> Result<Vec<StudentCell>, DbError> {
    const SQLITE: &str = over_rows!(
        "INSERT INTO student_cells (student_id, cell_id, runs, errors, started_at, first_at, last_at, last_status,
             last_error, solved_at)
         SELECT r.student_id, r.cell_id, r.runs, r.errors, coalesce((SELECT e.event_time FROM progress_events e
             WHERE e.student_id = r.student_id AND e.event_time < r.first_at AND e.event_time > r.hour_before
             AND coalesce(e.cell_id, '') <> r.cell_name ORDER BY e.event_time DESC LIMIT 1), r.first_at),
             r.first_at, r.last_at, r.last_status, r.last_error, r.solved_at",
        [student_id "bigint", cell_id "bigint", cell_name "text", runs "bigint", errors "bigint",
         first_at "timestamptz", hour_before "timestamptz", last_at "timestamptz", last_status "text",
         last_error "text", solved_at "timestamptz"],
        "WHERE true ON CONFLICT (student_id, cell_id) DO UPDATE SET runs = student_cells.runs + excluded.runs,
         errors = student_cells.errors + excluded.errors,
         started_at = min(student_cells.started_at, excluded.started_at),
         first_at = min(student_cells.first_at, excluded.first_at),
         last_status = CASE WHEN excluded.last_at >= student_cells.last_at
             THEN excluded.last_status ELSE student_cells.last_status END,
         last_error = CASE WHEN excluded.last_at >= student_cells.last_at
             THEN excluded.last_error ELSE student_cells.last_error END,
         last_at = max(student_cells.last_at, excluded.last_at),
         solved_at = CASE WHEN excluded.solved_at < coalesce(student_cells.solved_at, '9999')
             THEN excluded.solved_at ELSE student_cells.solved_at END
         RETURNING student_id, cell_id, runs, errors, solved_at"
    )[0];
    const POSTGRES: &str = over_rows!(
        "INSERT INTO student_cells (student_id, cell_id, runs, errors, started_at, first_at, last_at, last_status,
             last_error, solved_at)
         SELECT r.student_id, r.cell_id, r.runs, r.errors, coalesce((SELECT e.event_time FROM progress_events e
             WHERE e.student_id = r.student_id AND e.event_time < r.first_at AND e.event_time > r.hour_before
             AND coalesce(e.cell_id, '') <> r.cell_name ORDER BY e.event_time DESC LIMIT 1), r.first_at),
             r.first_at, r.last_at, r.last_status, r.last_error, r.solved_at",
        [student_id "bigint", cell_id "bigint", cell_name "text", runs "bigint", errors "bigint",
         first_at "timestamptz", hour_before "timestamptz", last_at "timestamptz", last_status "text",
         last_error "text", solved_at "timestamptz"],
        "WHERE true ON CONFLICT (student_id, cell_id) DO UPDATE SET runs = student_cells.runs + excluded.runs,
         errors = student_cells.errors + excluded.errors,
         started_at = least(student_cells.started_at, excluded.started_at),
         first_at = least(student_cells.first_at, excluded.first_at),
         last_status = CASE WHEN excluded.last_at >= student_cells.last_at
             THEN excluded.last_status ELSE student_cells.last_status END,
         last_error = CASE WHEN excluded.last_at >= student_cells.last_at
             THEN excluded.last_error ELSE student_cells.last_error END,
         last_at = greatest(student_cells.last_at, excluded.last_at),
         solved_at = least(student_cells.solved_at, excluded.solved_at)
         RETURNING student_id, cell_id, runs, errors, solved_at"
    )[1];
    fetch(tx, [SQLITE, POSTGRES], &rows).await
}

#[derive(Clone, Debug, Serialize)]
pub struct SessionRow<'a> {
    pub student_id: i64,
    pub session_id: &'a str,
    pub first_at: String,
    pub last_at: String,
    pub events: i64,
}

pub async fn sessions(tx: &mut Tx, rows: &[SessionRow<'_>]) -> Result<u64, DbError> {
    const SQL: [&str; 2] = over_rows!(
        "INSERT INTO student_sessions (student_id, session_id, first_at, last_at, events)
         SELECT r.student_id, r.session_id, r.first_at, r.last_at, r.events",
        [student_id "bigint", session_id "text", first_at "timestamptz", last_at "timestamptz", events "bigint"],
        "WHERE true ON CONFLICT (student_id, session_id) DO UPDATE SET
         first_at = CASE WHEN excluded.first_at < student_sessions.first_at
             THEN excluded.first_at ELSE student_sessions.first_at END,
         last_at = CASE WHEN excluded.last_at > student_sessions.last_at
             THEN excluded.last_at ELSE student_sessions.last_at END,
         events = student_sessions.events + excluded.events"
    );
    execute(tx, SQL, &rows).await
}

#[derive(Debug, sqlx::FromRow)]
pub struct InRow {
    pub student_id: i64,
    pub errors: i64,
}

#[derive(Serialize)]
pub struct IdRow {
    pub id: i64,
}

/// Failed runs of code since the last that succeeded, in the order of the events' own times.
pub async fn errors_in_row(tx: &mut Tx, students: &[IdRow]) -> Result<Vec<InRow>, DbError> {
    const SQL: [&str; 2] = over_rows!(
        "SELECT r.id AS student_id, (SELECT count(*) FROM cell_executions x WHERE x.student_id = r.id
            AND x.status = 'error' AND x.executed_at > coalesce((SELECT y.executed_at FROM cell_executions y
                JOIN cells c ON c.id = y.cell_id
                WHERE y.student_id = r.id AND y.status = 'success' AND coalesce(c.cell_type, 'code') = 'code'
                ORDER BY y.executed_at DESC LIMIT 1),
                '1970-01-01T00:00:00+00:00')) AS errors",
        [id "bigint"],
        ""
    );
    fetch(tx, SQL, &students).await
}

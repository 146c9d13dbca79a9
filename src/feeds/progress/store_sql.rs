//! Storage of events: one statement for all rows of a kind that a batch has.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::db::{DbError, Tx};
use crate::over_rows;

over_rows! {
    #[derive(Debug)]
    pub struct StudentRow<'a> {
        pub user_id: &'a str => "text",
        pub name: Option<&'a str> => "text",
        pub email: Option<&'a str> => "text",
        pub team: Option<&'a str> => "text",
        pub class: Option<&'a str> => "text",
        pub at: DateTime<Utc> => "timestamptz",
    }
    before "INSERT INTO students (user_id, name, email, team, class, created_at)
        SELECT r.user_id, r.name, r.email, r.team, r.class, r.at"
    after "WHERE true ON CONFLICT (user_id) DO UPDATE SET name = coalesce(excluded.name, students.name),
        email = coalesce(excluded.email, students.email), team = coalesce(excluded.team, students.team),
        class = coalesce(excluded.class, students.class) RETURNING id, user_id, class"
}

/// A student as it is known after this batch.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Student {
    pub id: i64,
    pub user_id: String,
    pub class: Option<String>,
}

pub async fn students(tx: &mut Tx, rows: &[StudentRow<'_>]) -> Result<Vec<Student>, DbError> {
    tx.fetch_over(&StudentRow::OVER, rows).await
}

over_rows! {
    #[derive(Debug)]
    pub struct NotebookRow<'a> {
        pub path: &'a str => "text",
        pub name: &'a str => "text",
        pub at: DateTime<Utc> => "timestamptz",
    }
    before "INSERT INTO notebooks (path, name, created_at) SELECT r.path, r.name, r.at"
    after "WHERE true ON CONFLICT (path) DO UPDATE SET path = excluded.path RETURNING id, path AS name"
}

#[derive(Debug, sqlx::FromRow)]
pub struct Named {
    pub id: i64,
    pub name: String,
}

/// Ids by path.
pub async fn notebooks(tx: &mut Tx, rows: &[NotebookRow<'_>]) -> Result<Vec<Named>, DbError> {
    tx.fetch_over(&NotebookRow::OVER, rows).await
}

over_rows! {
    #[derive(Debug)]
    pub struct EventRow<'a> {
        pub event_id: &'a str => "text",
        pub event_type: &'a str => "text",
        pub student_id: i64 => "bigint",
        pub notebook_id: Option<i64> => "bigint",
        pub cell_id: Option<&'a str> => "text",
        pub session_id: Option<&'a str> => "text",
        pub class: Option<&'a str> => "text",
        pub event_time: DateTime<Utc> => "timestamptz",
        pub received_at: DateTime<Utc> => "timestamptz",
        pub payload: Option<Value> => "jsonb",
    }
    before "INSERT INTO progress_events (event_id, event_type, student_id, notebook_id, cell_id, session_id, class,
            event_time, received_at, payload)
        SELECT r.event_id, r.event_type, r.student_id, r.notebook_id, r.cell_id, r.session_id, r.class, r.event_time,
            r.received_at, r.payload"
    after "WHERE true ON CONFLICT (event_id) DO NOTHING RETURNING id, event_id AS name"
}

/// Ids of the events that had not been seen before, by event id; the others change nothing.
pub async fn events(tx: &mut Tx, rows: &[EventRow<'_>]) -> Result<Vec<Named>, DbError> {
    tx.fetch_over(&EventRow::OVER, rows).await
}

over_rows! {
    #[derive(Debug)]
    pub struct CellRow<'a> {
        pub cell_id: &'a str => "text",
        pub notebook_id: i64 => "bigint",
        pub cell_type: Option<&'a str> => "text",
        pub cell_index: Option<i64> => "bigint",
        pub content: Option<&'a str> => "text",
        pub at: DateTime<Utc> => "timestamptz",
    }
    before "INSERT INTO cells (cell_id, notebook_id, cell_type, cell_index, content, content_at)
        SELECT r.cell_id, r.notebook_id, r.cell_type, r.cell_index, r.content, r.at"
    after "WHERE true ON CONFLICT (notebook_id, cell_id) DO UPDATE SET
        cell_type = coalesce(excluded.cell_type, cells.cell_type),
        cell_index = CASE WHEN excluded.content_at >= cells.content_at
            THEN coalesce(excluded.cell_index, cells.cell_index) ELSE cells.cell_index END,
        content = CASE WHEN excluded.content_at >= cells.content_at
            THEN coalesce(excluded.content, cells.content) ELSE coalesce(cells.content, excluded.content) END,
        content_at = CASE WHEN excluded.content_at >= cells.content_at
            THEN excluded.content_at ELSE cells.content_at END
        RETURNING id, cell_id, notebook_id"
}

#[derive(Debug, sqlx::FromRow)]
pub struct Cell {
    pub id: i64,
    pub cell_id: String,
    pub notebook_id: i64,
}

pub async fn cells(tx: &mut Tx, rows: &[CellRow<'_>]) -> Result<Vec<Cell>, DbError> {
    tx.fetch_over(&CellRow::OVER, rows).await
}

over_rows! {
    #[derive(Debug)]
    pub struct ExecutionRow<'a> {
        pub id: i64 => "bigint",
        pub student_id: i64 => "bigint",
        pub cell_id: i64 => "bigint",
        pub executed_at: DateTime<Utc> => "timestamptz",
        pub status: &'static str => "text",
        pub duration: Option<f64> => "double precision",
        pub output: Option<&'a str> => "text",
        pub error_name: Option<String> => "text",
        pub error_message: Option<&'a str> => "text",
        pub execution_count: Option<i64> => "bigint",
    }
    before "INSERT INTO cell_executions (id, student_id, cell_id, executed_at, status, duration, output, error_name,
            error_message, execution_count)
        SELECT r.id, r.student_id, r.cell_id, r.executed_at, r.status, r.duration, r.output, r.error_name,
            r.error_message, r.execution_count"
    after ""
}

pub async fn executions(tx: &mut Tx, rows: &[ExecutionRow<'_>]) -> Result<u64, DbError> {
    tx.execute_over(&ExecutionRow::OVER, rows).await
}

over_rows! {
    /// What a batch adds to a student's state in a cell. Work on a cell begins with the student's last event elsewhere,
    /// at most an hour before the first run; that makes the result the same in whatever order the events arrive, but for
    /// what comes later than the first run of the next cell. Once an event elsewhere has begun the work, a later run cannot
    /// begin it earlier, and nothing is looked for.
    #[derive(Clone, Debug)]
    pub struct StudentCellRow {
        pub student_id: i64 => "bigint",
        pub cell_id: i64 => "bigint",
        /// The client's name of the cell: what was done elsewhere before tells when the work on this one began.
        pub cell_name: String => "text",
        pub runs: i64 => "bigint",
        pub errors: i64 => "bigint",
        pub first_at: DateTime<Utc> => "timestamptz",
        pub hour_before: DateTime<Utc> => "timestamptz",
        pub last_at: DateTime<Utc> => "timestamptz",
        pub last_status: &'static str => "text",
        pub last_error: Option<String> => "text",
        pub solved_at: Option<DateTime<Utc>> => "timestamptz",
    }
    before "INSERT INTO student_cells (student_id, cell_id, runs, errors, started_at, first_at, last_at, last_status,
            last_error, solved_at)
        SELECT r.student_id, r.cell_id, r.runs, r.errors,
            CASE WHEN k.started_at < k.first_at AND k.first_at <= r.first_at THEN k.started_at
            ELSE coalesce((SELECT e.event_time FROM progress_events e
                WHERE e.student_id = r.student_id AND e.event_time < r.first_at AND e.event_time > r.hour_before
                AND coalesce(e.cell_id, '') <> r.cell_name ORDER BY e.event_time DESC LIMIT 1), r.first_at) END,
            r.first_at, r.last_at, r.last_status, r.last_error, r.solved_at"
    after "LEFT JOIN student_cells k ON k.student_id = r.student_id AND k.cell_id = r.cell_id
        WHERE true ON CONFLICT (student_id, cell_id) DO UPDATE SET runs = student_cells.runs + excluded.runs,
        errors = student_cells.errors + excluded.errors,
        started_at = CASE WHEN excluded.started_at < student_cells.started_at
            THEN excluded.started_at ELSE student_cells.started_at END,
        first_at = CASE WHEN excluded.first_at < student_cells.first_at
            THEN excluded.first_at ELSE student_cells.first_at END,
        last_status = CASE WHEN excluded.last_at >= student_cells.last_at
            THEN excluded.last_status ELSE student_cells.last_status END,
        last_error = CASE WHEN excluded.last_at >= student_cells.last_at
            THEN excluded.last_error ELSE student_cells.last_error END,
        last_at = CASE WHEN excluded.last_at > student_cells.last_at
            THEN excluded.last_at ELSE student_cells.last_at END,
        solved_at = CASE WHEN student_cells.solved_at IS NULL OR excluded.solved_at < student_cells.solved_at
            THEN excluded.solved_at ELSE student_cells.solved_at END
        RETURNING student_id, cell_id, runs, errors, solved_at"
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct StudentCell {
    pub student_id: i64,
    pub cell_id: i64,
    pub runs: i64,
    pub errors: i64,
    pub solved_at: Option<DateTime<Utc>>,
}

pub async fn student_cells(tx: &mut Tx, rows: &[StudentCellRow]) -> Result<Vec<StudentCell>, DbError> {
    tx.fetch_over(&StudentCellRow::OVER, rows).await
}

over_rows! {
    #[derive(Clone, Debug)]
    pub struct SessionRow<'a> {
        pub student_id: i64 => "bigint",
        pub session_id: &'a str => "text",
        pub first_at: DateTime<Utc> => "timestamptz",
        pub last_at: DateTime<Utc> => "timestamptz",
        pub events: i64 => "bigint",
    }
    before "INSERT INTO student_sessions (student_id, session_id, first_at, last_at, events)
        SELECT r.student_id, r.session_id, r.first_at, r.last_at, r.events"
    after "WHERE true ON CONFLICT (student_id, session_id) DO UPDATE SET
        first_at = CASE WHEN excluded.first_at < student_sessions.first_at
            THEN excluded.first_at ELSE student_sessions.first_at END,
        last_at = CASE WHEN excluded.last_at > student_sessions.last_at
            THEN excluded.last_at ELSE student_sessions.last_at END,
        events = student_sessions.events + excluded.events"
}

pub async fn sessions(tx: &mut Tx, rows: &[SessionRow<'_>]) -> Result<u64, DbError> {
    tx.execute_over(&SessionRow::OVER, rows).await
}

#[derive(Debug, sqlx::FromRow)]
pub struct InRow {
    pub student_id: i64,
    pub errors: i64,
}

over_rows! {
    pub struct IdRow {
        pub id: i64 => "bigint",
    }
    before "SELECT r.id AS student_id, (SELECT count(*) FROM cell_executions x WHERE x.student_id = r.id
            AND x.status = 'error' AND x.executed_at > coalesce((SELECT y.executed_at FROM cell_executions y
                WHERE y.student_id = r.id AND y.status <> 'error'
                AND coalesce((SELECT c.cell_type = 'code' FROM cells c WHERE c.id = y.cell_id), true)
                ORDER BY y.executed_at DESC LIMIT 1),
                '1970-01-01T00:00:00+00:00')) AS errors"
    after ""
}

/// Failed runs of code since the last that succeeded, in the order of the events' own times. A cell's type is looked up for
/// one run after the other, the newest first, and most runs are taken for no error: else PostgreSQL, without statistics,
/// sorts all runs of each student.
pub async fn errors_in_row(tx: &mut Tx, students: &[IdRow]) -> Result<Vec<InRow>, DbError> {
    tx.fetch_over(&IdRow::OVER, students).await
}

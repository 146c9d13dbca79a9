//! Storage of where each student is and of what was told of it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::db::{Db, DbError, Tx};
use crate::{args, over_rows};

/// The latest state of a student. The four signals are those that were told last.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct State {
    pub student_id: i64,
    pub notebook_id: Option<i64>,
    pub cell_id: Option<i64>,
    pub session_id: Option<String>,
    /// When the student was seen at this place, by the event's own time.
    pub position_at: DateTime<Utc>,
    pub last_event_at: DateTime<Utc>,
    pub last_received_at: DateTime<Utc>,
    pub errors_in_row: i64,
    /// The latest call for help, by its own time and by ours.
    pub help_at: Option<DateTime<Utc>>,
    pub help_received_at: Option<DateTime<Utc>>,
    pub help_stop_at: Option<DateTime<Utc>>,
    pub is_stuck: bool,
    pub is_failing: bool,
    pub is_asking: bool,
    pub is_idle: bool,
}

const COLUMNS_OF_BATCH: [&str; 2] = [
    "SELECT student_id, notebook_id, cell_id, session_id, position_at, last_event_at, last_received_at, errors_in_row,
        help_at, help_received_at, help_stop_at, is_stuck, is_failing, is_asking, is_idle FROM student_states
     WHERE student_id IN (SELECT value FROM json_each($1))",
    "SELECT student_id, notebook_id, cell_id, session_id, position_at, last_event_at, last_received_at, errors_in_row,
        help_at, help_received_at, help_stop_at, is_stuck, is_failing, is_asking, is_idle FROM student_states
     WHERE student_id IN (SELECT value::bigint FROM jsonb_array_elements_text($1)) ORDER BY student_id FOR UPDATE",
];

/// The states of these students, held until the transaction ends.
pub async fn lock(tx: &mut Tx, students: &[i64]) -> Result<Vec<State>, DbError> {
    let [sqlite, postgres] = COLUMNS_OF_BATCH;
    tx.fetch_all(tx.by_engine(sqlite, postgres), args![Value::from(students)]).await
}

over_rows! {
    #[derive(Debug)]
    pub struct StateRow<'a> {
        pub student_id: i64 => "bigint",
        pub notebook_id: Option<i64> => "bigint",
        pub cell_id: Option<i64> => "bigint",
        pub session_id: Option<&'a str> => "text",
        pub position_at: DateTime<Utc> => "timestamptz",
        pub last_event_at: DateTime<Utc> => "timestamptz",
        pub last_received_at: DateTime<Utc> => "timestamptz",
        pub errors_in_row: i64 => "bigint",
        pub help_at: Option<DateTime<Utc>> => "timestamptz",
        pub help_received_at: Option<DateTime<Utc>> => "timestamptz",
        pub help_stop_at: Option<DateTime<Utc>> => "timestamptz",
        pub is_stuck: bool => "boolean",
        pub is_failing: bool => "boolean",
        pub is_asking: bool => "boolean",
        pub is_idle: bool => "boolean",
    }
    before "INSERT INTO student_states (student_id, notebook_id, cell_id, session_id, position_at, last_event_at,
            last_received_at, errors_in_row, help_at, help_received_at, help_stop_at, is_stuck, is_failing, is_asking,
            is_idle)
        SELECT r.student_id, r.notebook_id, r.cell_id, r.session_id, r.position_at, r.last_event_at, r.last_received_at,
            r.errors_in_row, r.help_at, r.help_received_at, r.help_stop_at, r.is_stuck, r.is_failing, r.is_asking,
            r.is_idle"
    after "WHERE true ON CONFLICT (student_id) DO UPDATE SET notebook_id = excluded.notebook_id,
        cell_id = excluded.cell_id, session_id = excluded.session_id, position_at = excluded.position_at,
        last_event_at = excluded.last_event_at, last_received_at = excluded.last_received_at,
        errors_in_row = excluded.errors_in_row, help_at = excluded.help_at,
        help_received_at = excluded.help_received_at, help_stop_at = excluded.help_stop_at,
        is_stuck = excluded.is_stuck, is_failing = excluded.is_failing, is_asking = excluded.is_asking,
        is_idle = excluded.is_idle"
}

impl<'a> From<&'a State> for StateRow<'a> {
    fn from(state: &'a State) -> Self {
        Self {
            student_id: state.student_id,
            notebook_id: state.notebook_id,
            cell_id: state.cell_id,
            session_id: state.session_id.as_deref(),
            position_at: state.position_at,
            last_event_at: state.last_event_at,
            last_received_at: state.last_received_at,
            errors_in_row: state.errors_in_row,
            help_at: state.help_at,
            help_received_at: state.help_received_at,
            help_stop_at: state.help_stop_at,
            is_stuck: state.is_stuck,
            is_failing: state.is_failing,
            is_asking: state.is_asking,
            is_idle: state.is_idle,
        }
    }
}

/// Writes whole states, new ones and old ones alike.
pub async fn save(tx: &mut Tx, states: &[State]) -> Result<(), DbError> {
    let rows: Vec<StateRow<'_>> = states.iter().map(StateRow::from).collect();
    tx.execute_over(&StateRow::OVER, &rows).await?;
    Ok(())
}

/// A student who is awake, with what the rules of the signals look at.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Watched {
    pub student_id: i64,
    pub class: Option<String>,
    pub cell_id: Option<i64>,
    pub last_received_at: DateTime<Utc>,
    pub help_received_at: Option<DateTime<Utc>>,
    pub is_stuck: bool,
    pub is_asking: bool,
    /// When the work on the present cell began, unless it is solved.
    pub unsolved_since: Option<DateTime<Utc>>,
}

/// Everybody who is not idle, a page at a time by id.
pub async fn awake(db: &Db, after: i64, limit: i64) -> Result<Vec<Watched>, DbError> {
    let sql =
        "SELECT t.student_id, s.class, t.cell_id, t.last_received_at, t.help_received_at, t.is_stuck, t.is_asking,
            CASE WHEN k.solved_at IS NULL THEN k.started_at END AS unsolved_since
        FROM student_states t JOIN students s ON s.id = t.student_id
        LEFT JOIN student_cells k ON k.student_id = t.student_id AND k.cell_id = t.cell_id
        WHERE NOT t.is_idle AND t.student_id > $1 ORDER BY t.student_id LIMIT $2";
    db.fetch_all(sql, args![after, limit]).await
}

#[derive(Debug, sqlx::FromRow)]
pub struct Solved {
    pub started_at: DateTime<Utc>,
    pub solved_at: DateTime<Utc>,
}

/// How the class came through a cell, the latest first.
pub async fn solved(db: &Db, cell_id: i64, class: Option<&str>) -> Result<Vec<Solved>, DbError> {
    let sql = "SELECT k.started_at, k.solved_at FROM student_cells k JOIN students s ON s.id = k.student_id
        WHERE k.cell_id = $1 AND k.solved_at IS NOT NULL AND coalesce(s.class, '') = $2
        ORDER BY k.solved_at DESC LIMIT 500";
    db.fetch_all(sql, args![cell_id, class.unwrap_or_default()]).await
}

/// Who and where a student is, by the names that clients know.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Place {
    pub student_id: i64,
    pub user_id: String,
    pub name: Option<String>,
    pub team: Option<String>,
    pub class: Option<String>,
    pub notebook: Option<String>,
    pub cell: Option<String>,
    pub cell_index: Option<i64>,
}

pub async fn places(tx: &mut Tx, students: &[i64]) -> Result<Vec<Place>, DbError> {
    let sql = tx.by_engine(
        "SELECT s.id AS student_id, s.user_id, s.name, s.team, s.class, n.path AS notebook, c.cell_id AS cell, c.cell_index
         FROM students s LEFT JOIN student_states t ON t.student_id = s.id LEFT JOIN notebooks n ON n.id = t.notebook_id
         LEFT JOIN cells c ON c.id = t.cell_id WHERE s.id IN (SELECT value FROM json_each($1))",
        "SELECT s.id AS student_id, s.user_id, s.name, s.team, s.class, n.path AS notebook, c.cell_id AS cell, c.cell_index
         FROM students s LEFT JOIN student_states t ON t.student_id = s.id LEFT JOIN notebooks n ON n.id = t.notebook_id
         LEFT JOIN cells c ON c.id = t.cell_id
         WHERE s.id IN (SELECT value::bigint FROM jsonb_array_elements_text($1))",
    );
    tx.fetch_all(sql, args![Value::from(students)]).await
}

#[derive(Debug, sqlx::FromRow)]
struct HelpRequest {
    id: i64,
    started_at: DateTime<Utc>,
    last_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
}

async fn request_around(tx: &mut Tx, student_id: i64, at: DateTime<Utc>) -> Result<Option<HelpRequest>, DbError> {
    // Open, or ended after this: the same call, of which this is a part that arrived late.
    let sql = "SELECT id, started_at, last_at, ended_at FROM help_requests
        WHERE student_id = $1 AND (ended_at IS NULL OR ended_at >= $2) ORDER BY started_at LIMIT 1";
    tx.fetch_optional(sql, args![student_id, at]).await
}

/// A call for help at `at`: the beginning of a request, or a repetition within one. `stopped_at`: the latest known end.
pub async fn help(
    tx: &mut Tx,
    student_id: i64,
    notebook_id: Option<i64>,
    at: DateTime<Utc>,
    stopped_at: Option<DateTime<Utc>>,
) -> Result<(), DbError> {
    match request_around(tx, student_id, at).await? {
        Some(request) => {
            let sql = "UPDATE help_requests SET started_at = $2, last_at = $3 WHERE id = $1";
            let (first, last) = (request.started_at.min(at), request.last_at.max(at));
            tx.execute(sql, args![request.id, first, request.ended_at.map_or(last, |end| last.min(end))]).await?;
        }
        None => {
            let ended_at = stopped_at.filter(|end| *end >= at);
            let sql = "INSERT INTO help_requests (student_id, notebook_id, started_at, last_at, ended_at)
                VALUES ($1, $2, $3, $3, $4)";
            tx.execute(sql, args![student_id, notebook_id, at, ended_at]).await?;
        }
    }
    Ok(())
}

/// The end of whatever request is open and began before `at`.
pub async fn help_stop(tx: &mut Tx, student_id: i64, at: DateTime<Utc>) -> Result<(), DbError> {
    let sql = "UPDATE help_requests SET ended_at = $2 WHERE student_id = $1 AND ended_at IS NULL AND started_at <= $2";
    tx.execute(sql, args![student_id, at]).await?;
    Ok(())
}

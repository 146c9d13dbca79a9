//! What the reports read. Every range is of the events' own times.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::report::Scope;
use crate::args;
use crate::db::{Arg, Db, DbError, Sql};
use crate::feeds::body::utc;
use crate::feeds::page::PageRequest;

#[derive(Debug, sqlx::FromRow)]
struct Id {
    id: i64,
}

#[derive(Debug, sqlx::FromRow)]
struct Count {
    count: i64,
}

pub(super) async fn count(db: &Db, sql: Sql) -> Result<i64, DbError> {
    Ok(db.fetch_built::<Count>(sql).await?.first().map_or(0, |row| row.count))
}

pub(super) fn paged(sql: Sql, page: PageRequest) -> Sql {
    sql.push(" LIMIT ").bind(page.limit).push(" OFFSET ").bind(page.offset())
}

/// `$1` class, `$2` notebook, `$3` and `$4` the range: of every statement that names them.
fn scoped(scope: &Scope) -> Vec<Arg> {
    args![scope.class.clone(), scope.notebook.clone(), scope.from, scope.to]
}

pub async fn student_id(db: &Db, user_id: &str) -> Result<Option<i64>, DbError> {
    let found: Option<Id> = db.fetch_optional("SELECT id FROM students WHERE user_id = $1", args![user_id]).await?;
    Ok(found.map(|row| row.id))
}

pub async fn notebook_id(db: &Db, path: &str) -> Result<Option<i64>, DbError> {
    let found: Option<Id> = db.fetch_optional("SELECT id FROM notebooks WHERE path = $1", args![path]).await?;
    Ok(found.map(|row| row.id))
}

/// Those of the scope: of the class, with an event in the range and the notebook.
macro_rules! of_scope {
    () => {
        "(CAST($1 AS TEXT) IS NULL OR s.class = $1) AND EXISTS (SELECT 1 FROM progress_events e
            LEFT JOIN notebooks en ON en.id = e.notebook_id WHERE e.student_id = s.id AND e.event_time >= $3
            AND e.event_time < $4 AND (CAST($2 AS TEXT) IS NULL OR en.path = $2))"
    };
}

#[derive(Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Summary {
    pub students: i64,
    pub active: i64,
    pub stuck: i64,
    pub failing: i64,
    pub help: i64,
    pub idle: i64,
}

pub async fn summary(db: &Db, scope: &Scope) -> Result<Summary, DbError> {
    let sql = concat!(
        "SELECT count(*) AS students, count(CASE WHEN NOT t.is_idle THEN 1 END) AS active,
            count(CASE WHEN t.is_stuck THEN 1 END) AS stuck, count(CASE WHEN t.is_failing THEN 1 END) AS failing,
            count(CASE WHEN t.is_asking THEN 1 END) AS help, count(CASE WHEN t.is_idle THEN 1 END) AS idle
        FROM students s JOIN student_states t ON t.student_id = s.id WHERE ",
        of_scope!()
    );
    db.fetch_one(sql, scoped(scope)).await
}

/// A student: where, how far, and the signals.
#[derive(Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct StudentLine {
    #[serde(skip)]
    pub id: i64,
    pub user_id: String,
    pub name: Option<String>,
    pub email: Option<String>,
    pub team: Option<String>,
    pub class: Option<String>,
    pub session_id: Option<String>,
    pub notebook: Option<String>,
    pub cell_id: Option<String>,
    pub cell_index: Option<i64>,
    #[serde(serialize_with = "utc::serialize")]
    pub last_event_at: DateTime<Utc>,
    pub errors_in_row: i64,
    pub runs: i64,
    pub errors: i64,
    /// Cells of code that succeeded at least once.
    pub solved: i64,
    pub is_stuck: bool,
    pub is_failing: bool,
    pub is_asking: bool,
    pub is_idle: bool,
}

macro_rules! student_lines {
    ($after:expr) => {
        concat!(
            "SELECT s.id, s.user_id, s.name, s.email, s.team, s.class, t.session_id, n.path AS notebook, c.cell_id,
                c.cell_index, t.last_event_at, t.errors_in_row, coalesce(x.runs, 0) AS runs,
                coalesce(x.errors, 0) AS errors, coalesce(x.solved, 0) AS solved, t.is_stuck, t.is_failing,
                t.is_asking, t.is_idle
            FROM students s JOIN student_states t ON t.student_id = s.id
            LEFT JOIN notebooks n ON n.id = t.notebook_id LEFT JOIN cells c ON c.id = t.cell_id
            LEFT JOIN (SELECT r.student_id, count(*) AS runs, count(CASE WHEN r.status = 'error' THEN 1 END) AS errors,
                    count(DISTINCT CASE WHEN r.status = 'success' THEN r.cell_id END) AS solved
                FROM cell_executions r JOIN cells k ON k.id = r.cell_id JOIN notebooks kn ON kn.id = k.notebook_id
                WHERE r.executed_at >= $3 AND r.executed_at < $4 AND (CAST($2 AS TEXT) IS NULL OR kn.path = $2)
                    AND coalesce(k.cell_type, 'code') = 'code' GROUP BY r.student_id) x ON x.student_id = s.id WHERE ",
            $after
        )
    };
}

pub async fn students(db: &Db, scope: &Scope, page: PageRequest) -> Result<Vec<StudentLine>, DbError> {
    let sql = concat!(student_lines!(""), of_scope!(), " ORDER BY s.user_id LIMIT $5 OFFSET $6");
    let mut args = scoped(scope);
    args.extend(args![page.limit, page.offset()]);
    db.fetch_all(sql, args).await
}

pub async fn student(db: &Db, user_id: &str, scope: &Scope) -> Result<Option<StudentLine>, DbError> {
    let sql = student_lines!("s.user_id = $5 AND (CAST($1 AS TEXT) IS NULL OR s.class = $1)");
    let mut args = scoped(scope);
    args.extend(args![user_id]);
    db.fetch_optional(sql, args).await
}

/// An event of a student's day.
#[derive(Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct EventLine {
    pub event_id: String,
    pub event_type: String,
    #[serde(serialize_with = "utc::serialize")]
    pub event_time: DateTime<Utc>,
    #[serde(serialize_with = "utc::serialize")]
    pub received_at: DateTime<Utc>,
    pub session_id: Option<String>,
    pub notebook: Option<String>,
    pub cell_id: Option<String>,
    /// Of an execution.
    pub status: Option<String>,
    pub duration_ms: Option<f64>,
    pub execution_count: Option<i64>,
    pub output: Option<String>,
    pub error_name: Option<String>,
    pub error_message: Option<String>,
    /// What else the event held.
    pub payload: Option<Value>,
}

pub async fn timeline(
    db: &Db,
    student_id: i64,
    scope: &Scope,
    page: PageRequest,
) -> Result<(Vec<EventLine>, i64), DbError> {
    let narrowed = |sql: Sql| {
        sql.filter("e.student_id = ?", student_id)
            .filter("e.event_time >= ?", scope.from)
            .filter("e.event_time < ?", scope.to)
            .filter_some("n.path = ?", scope.notebook.clone())
    };
    let from = " FROM progress_events e LEFT JOIN notebooks n ON n.id = e.notebook_id";
    let total = count(db, narrowed(Sql::new("SELECT count(*) AS count").push(from))).await?;
    let select = Sql::new(
        "SELECT e.event_id, e.event_type, e.event_time, e.received_at, e.session_id, n.path AS notebook, e.cell_id,
            x.status, x.duration AS duration_ms, x.execution_count, x.output, x.error_name, x.error_message, e.payload",
    );
    let select = narrowed(select.push(from).push(" LEFT JOIN cell_executions x ON x.id = e.id"));
    Ok((db.fetch_built(paged(select.push(" ORDER BY e.event_time DESC, e.id DESC"), page)).await?, total))
}

/// A call for help.
#[derive(Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct HelpLine {
    pub id: i64,
    pub user_id: String,
    pub name: Option<String>,
    pub team: Option<String>,
    pub class: Option<String>,
    pub notebook: Option<String>,
    #[serde(serialize_with = "utc::serialize")]
    pub started_at: DateTime<Utc>,
    #[serde(serialize_with = "utc::serialize")]
    pub last_at: DateTime<Utc>,
    #[serde(serialize_with = "utc::optional::serialize")]
    pub ended_at: Option<DateTime<Utc>>,
}

pub async fn help(
    db: &Db,
    scope: &Scope,
    open: Option<bool>,
    page: PageRequest,
) -> Result<(Vec<HelpLine>, i64), DbError> {
    let narrowed = |sql: Sql| {
        let sql = sql
            .push(" FROM help_requests h JOIN students s ON s.id = h.student_id LEFT JOIN notebooks n ON n.id = h.notebook_id")
            .filter("h.last_at >= ?", scope.from)
            .filter("h.started_at < ?", scope.to)
            .filter_some("n.path = ?", scope.notebook.clone())
            .filter_some("s.class = ?", scope.class.clone());
        match open {
            Some(true) => sql.filter_by("h.ended_at IS NULL"),
            Some(false) => sql.filter_by("h.ended_at IS NOT NULL"),
            None => sql,
        }
    };
    let total = count(db, narrowed(Sql::new("SELECT count(*) AS count"))).await?;
    let select = narrowed(Sql::new(
        "SELECT h.id, s.user_id, s.name, s.team, s.class, n.path AS notebook, h.started_at, h.last_at, h.ended_at",
    ));
    Ok((db.fetch_built(paged(select.push(" ORDER BY h.started_at DESC, h.id DESC"), page)).await?, total))
}

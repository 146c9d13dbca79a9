//! What the reports read of cells and their executions, in the events' own times.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::report::{CellOrder, Scope};
use super::report_sql::{count, paged};
use crate::args;
use crate::db::{Db, DbError, Sql};
use crate::feeds::page::PageRequest;

#[derive(Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct CellTotals {
    #[serde(skip)]
    pub id: i64,
    pub notebook: String,
    pub cell_id: String,
    pub cell_index: Option<i64>,
    pub content: Option<String>,
    pub runs: i64,
    pub errors: i64,
    pub students: i64,
    /// Students of whom a run succeeded.
    pub solved: i64,
}

/// Executions of code in the scope.
fn executions(sql: Sql, scope: &Scope) -> Sql {
    sql.push(
        " FROM cell_executions x JOIN cells c ON c.id = x.cell_id JOIN notebooks n ON n.id = c.notebook_id
          JOIN students s ON s.id = x.student_id",
    )
    .filter_by("coalesce(c.cell_type, 'code') = 'code'")
    .filter("x.executed_at >= ?", scope.from)
    .filter("x.executed_at < ?", scope.to)
    .filter_some("n.path = ?", scope.notebook.clone())
    .filter_some("s.class = ?", scope.class.clone())
}

pub async fn cells(
    db: &Db,
    scope: &Scope,
    order: CellOrder,
    page: PageRequest,
) -> Result<(Vec<CellTotals>, i64), DbError> {
    let total = count(db, executions(Sql::new("SELECT count(DISTINCT x.cell_id) AS count"), scope)).await?;
    let select = Sql::new(
        "SELECT c.id, n.path AS notebook, c.cell_id, c.cell_index, c.content, count(*) AS runs,
            count(CASE WHEN x.status = 'error' THEN 1 END) AS errors, count(DISTINCT x.student_id) AS students,
            count(DISTINCT CASE WHEN x.status = 'success' THEN x.student_id END) AS solved",
    );
    let select = executions(select, scope).push(" GROUP BY c.id, n.path, c.cell_id, c.cell_index, c.content");
    let select = select.push(match order {
        CellOrder::ErrorRate => {
            " ORDER BY count(CASE WHEN x.status = 'error' THEN 1 END) * 1000000 / count(*) DESC, count(*) DESC, c.id"
        }
        CellOrder::Runs => " ORDER BY count(*) DESC, c.id",
        CellOrder::Errors => " ORDER BY count(CASE WHEN x.status = 'error' THEN 1 END) DESC, c.id",
        CellOrder::Place => " ORDER BY n.path, coalesce(c.cell_index, 1000000000), c.id",
    });
    Ok((db.fetch_built(paged(select, page)).await?, total))
}

/// Narrows to cells of these ids.
fn among(db: &Db, sql: Sql, ids: &[i64]) -> Sql {
    sql.filter(
        db.by_engine(
            "c.id IN (SELECT value FROM json_each(?))",
            "c.id IN (SELECT value::bigint FROM jsonb_array_elements_text(?))",
        ),
        Value::from(ids),
    )
}

#[derive(Debug, sqlx::FromRow)]
pub struct ErrorRow {
    pub cell_id: i64,
    pub name: String,
    pub count: i64,
}

pub async fn frequent_errors(db: &Db, scope: &Scope, ids: &[i64]) -> Result<Vec<ErrorRow>, DbError> {
    let select = Sql::new("SELECT c.id AS cell_id, coalesce(x.error_name, 'unknown') AS name, count(*) AS count");
    let select = among(db, executions(select, scope).filter_by("x.status = 'error'"), ids);
    db.fetch_built(select.push(" GROUP BY c.id, x.error_name ORDER BY count(*) DESC, 2")).await
}

#[derive(Debug, sqlx::FromRow)]
pub struct RankRow {
    pub cell_id: i64,
    pub mean: Option<f64>,
    pub median: Option<f64>,
    pub p95: Option<f64>,
    pub max: Option<f64>,
}

/// By nearest rank, which both engines can count.
pub async fn duration_ranks(db: &Db, scope: &Scope, ids: &[i64]) -> Result<Vec<RankRow>, DbError> {
    let inner = Sql::new(
        "SELECT q.cell_id, avg(q.duration) AS mean, max(CASE WHEN q.place = (q.of + 1) / 2 THEN q.duration END) AS median,
            max(CASE WHEN q.place = (q.of * 95 + 99) / 100 THEN q.duration END) AS p95, max(q.duration) AS max
        FROM (SELECT c.id AS cell_id, x.duration, row_number() OVER (PARTITION BY c.id ORDER BY x.duration) AS place,
            count(*) OVER (PARTITION BY c.id) AS of",
    );
    let select = among(db, executions(inner, scope).filter_by("x.duration IS NOT NULL"), ids);
    db.fetch_built(select.push(") q GROUP BY q.cell_id")).await
}

#[derive(Debug, sqlx::FromRow)]
pub struct SolvingRow {
    pub cell_id: i64,
    pub started_at: DateTime<Utc>,
    pub solved_at: DateTime<Utc>,
}

pub async fn solving_times(db: &Db, scope: &Scope, ids: &[i64]) -> Result<Vec<SolvingRow>, DbError> {
    let select = Sql::new(
        "SELECT c.id AS cell_id, k.started_at, k.solved_at FROM student_cells k JOIN cells c ON c.id = k.cell_id
         JOIN students s ON s.id = k.student_id",
    )
    .filter("k.solved_at >= ?", scope.from)
    .filter("k.solved_at < ?", scope.to)
    .filter_some("s.class = ?", scope.class.clone());
    db.fetch_built(among(db, select, ids).push(" LIMIT 100000")).await
}

#[derive(Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct MatrixCell {
    #[serde(skip)]
    pub id: i64,
    pub cell_id: String,
    pub cell_index: Option<i64>,
}

pub async fn matrix_cells(db: &Db, notebook_id: i64) -> Result<Vec<MatrixCell>, DbError> {
    let sql =
        "SELECT id, cell_id, cell_index FROM cells WHERE notebook_id = $1 AND coalesce(cell_type, 'code') = 'code'
        ORDER BY coalesce(cell_index, 1000000000), id LIMIT 2000";
    db.fetch_all(sql, args![notebook_id]).await
}

#[derive(Debug, sqlx::FromRow)]
pub struct MatrixRow {
    pub student_id: i64,
    pub cell_id: i64,
    pub runs: i64,
    pub errors: i64,
    pub solved_at: Option<DateTime<Utc>>,
}

pub async fn matrix(db: &Db, scope: &Scope, notebook_id: i64, students: &[i64]) -> Result<Vec<MatrixRow>, DbError> {
    let select = Sql::new(
        "SELECT x.student_id, x.cell_id, count(*) AS runs, count(CASE WHEN x.status = 'error' THEN 1 END) AS errors,
            min(CASE WHEN x.status = 'success' THEN x.executed_at END) AS solved_at",
    );
    let select = executions(select, scope).filter("c.notebook_id = ?", notebook_id).filter(
        db.by_engine(
            "x.student_id IN (SELECT value FROM json_each(?))",
            "x.student_id IN (SELECT value::bigint FROM jsonb_array_elements_text(?))",
        ),
        Value::from(students),
    );
    db.fetch_built(select.push(" GROUP BY x.student_id, x.cell_id")).await
}

/// A step of time.
#[derive(Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct ActivityRow {
    /// Seconds since 1970 at the step's beginning.
    pub at_s: i64,
    pub runs: i64,
    pub errors: i64,
    pub students: i64,
    /// Cells that a student came through for the first time ever, over all students.
    pub solved: i64,
}

pub async fn activity(db: &Db, scope: &Scope, step_s: i64) -> Result<Vec<ActivityRow>, DbError> {
    let select = Sql::new("SELECT ")
        .push(db.by_engine(
            "CAST(strftime('%s', x.executed_at) AS INTEGER) / ",
            "floor(extract(epoch FROM x.executed_at))::bigint / ",
        ))
        .bind(step_s)
        .push(" * ")
        .bind(step_s)
        .push(
            " AS at_s, count(*) AS runs, count(CASE WHEN x.status = 'error' THEN 1 END) AS errors,
             count(DISTINCT x.student_id) AS students, count(CASE WHEN x.status = 'success' AND x.executed_at =
                 (SELECT k.solved_at FROM student_cells k WHERE k.student_id = x.student_id AND k.cell_id = x.cell_id)
                 THEN 1 END) AS solved",
        );
    let select = executions(select, scope).push(" GROUP BY 1 ORDER BY 1 LIMIT 10000");
    db.fetch_built(select).await
}

//! What instructors ask: who is where, who needs help, which cells fail, how fast the class moves.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Progress;
use super::cells_sql::{self, ActivityRow, CellTotals, MatrixCell};
use super::report_sql::{self, EventLine, HelpLine, StudentLine, Summary};
use crate::db::DbError;
use crate::feeds::body::utc;
use crate::feeds::page::{Page, PageRequest, Pagination};

/// What an answer is narrowed to. The range is of the events' own times: from, inclusive, to, exclusive.
#[derive(Clone, Debug)]
pub struct Scope {
    pub class: Option<String>,
    pub notebook: Option<String>,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Overview {
    pub summary: Summary,
    #[serde(flatten)]
    pub students: Page<StudentLine>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CellLine {
    #[serde(flatten)]
    pub totals: CellTotals,
    /// Failed runs of all runs.
    pub error_rate: f64,
    pub most_frequent_error: Option<FrequentError>,
    pub duration_ms: Durations,
    /// Half of those who solved it took no longer, in seconds, from when their work on it began.
    pub median_seconds_to_solve: Option<f64>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FrequentError {
    pub name: String,
    pub count: i64,
}

#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Durations {
    pub mean: Option<f64>,
    pub median: Option<f64>,
    pub p95: Option<f64>,
    pub max: Option<f64>,
}

/// Students by cells of one notebook.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Matrix {
    pub notebook: String,
    pub cells: Vec<MatrixCell>,
    pub items: Vec<MatrixLine>,
    pub pagination: Pagination,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct MatrixLine {
    pub user_id: String,
    pub name: Option<String>,
    pub solved: usize,
    /// In the order of the cells; null: never run.
    pub cells: Vec<Option<MatrixEntry>>,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct MatrixEntry {
    pub status: &'static str,
    pub runs: i64,
    pub errors: i64,
    #[serde(serialize_with = "utc::optional::serialize")]
    pub solved_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Copy, Debug)]
pub enum CellOrder {
    ErrorRate,
    Runs,
    Errors,
    Place,
}

impl Progress {
    pub async fn overview(&self, scope: &Scope, page: PageRequest) -> Result<Overview, DbError> {
        let summary = report_sql::summary(&self.0.db, scope).await?;
        let students = report_sql::students(&self.0.db, scope, page).await?;
        let total = summary.students;
        Ok(Overview { summary, students: Page::new(students, page, total) })
    }

    /// One student, as the overview has it; none when nobody is known by this name.
    pub async fn student(&self, user_id: &str, scope: &Scope) -> Result<Option<StudentLine>, DbError> {
        report_sql::student(&self.0.db, user_id, scope).await
    }

    /// What a student did, the latest first; none when nobody is known by this name.
    pub async fn timeline(
        &self,
        user_id: &str,
        scope: &Scope,
        page: PageRequest,
    ) -> Result<Option<Page<EventLine>>, DbError> {
        let Some(id) = report_sql::student_id(&self.0.db, user_id).await? else { return Ok(None) };
        let (events, total) = report_sql::timeline(&self.0.db, id, scope, page).await?;
        Ok(Some(Page::new(events, page, total)))
    }

    pub async fn cells(&self, scope: &Scope, order: CellOrder, page: PageRequest) -> Result<Page<CellLine>, DbError> {
        let db = &self.0.db;
        let (totals, total) = cells_sql::cells(db, scope, order, page).await?;
        let ids: Vec<i64> = totals.iter().map(|cell| cell.id).collect();
        let mut frequent = HashMap::new();
        for row in cells_sql::frequent_errors(db, scope, &ids).await? {
            // The most frequent comes first.
            frequent.entry(row.cell_id).or_insert(FrequentError { name: row.name, count: row.count });
        }
        let ranks = cells_sql::duration_ranks(db, scope, &ids).await?;
        let mut ranks: HashMap<i64, _> = ranks.into_iter().map(|row| (row.cell_id, row)).collect();
        let mut solving: HashMap<i64, Vec<f64>> = HashMap::new();
        for row in cells_sql::solving_times(db, scope, &ids).await? {
            let seconds = (row.solved_at - row.started_at).num_milliseconds() as f64 / 1000.0;
            solving.entry(row.cell_id).or_default().push(seconds);
        }
        let lines = totals.into_iter().map(|totals| {
            let rank = ranks.remove(&totals.id);
            let duration_ms = rank.map_or_else(Durations::default, |rank| Durations {
                mean: rank.mean,
                median: rank.median,
                p95: rank.p95,
                max: rank.max,
            });
            CellLine {
                error_rate: if totals.runs > 0 { totals.errors as f64 / totals.runs as f64 } else { 0.0 },
                most_frequent_error: frequent.remove(&totals.id),
                duration_ms,
                median_seconds_to_solve: solving.remove(&totals.id).and_then(median),
                totals,
            }
        });
        Ok(Page::new(lines.collect(), page, total))
    }

    /// Who has come through which cell of a notebook; none when nobody has opened such a notebook.
    pub async fn matrix(&self, scope: &Scope, notebook: &str, page: PageRequest) -> Result<Option<Matrix>, DbError> {
        let db = &self.0.db;
        let Some(notebook_id) = report_sql::notebook_id(db, notebook).await? else { return Ok(None) };
        let cells = cells_sql::matrix_cells(db, notebook_id).await?;
        let summary = report_sql::summary(db, scope).await?;
        let students = report_sql::students(db, scope, page).await?;
        let ids: Vec<i64> = students.iter().map(|student| student.id).collect();
        let mut entries = HashMap::new();
        for row in cells_sql::matrix(db, scope, notebook_id, &ids).await? {
            let status = if row.solved_at.is_some() { "solved" } else { "failed" };
            let entry = MatrixEntry { status, runs: row.runs, errors: row.errors, solved_at: row.solved_at };
            entries.insert((row.student_id, row.cell_id), entry);
        }
        let items = students.into_iter().map(|student| {
            let of_student: Vec<_> = cells.iter().map(|cell| entries.remove(&(student.id, cell.id))).collect();
            let solved = of_student.iter().flatten().filter(|entry| entry.solved_at.is_some()).count();
            MatrixLine { user_id: student.user_id, name: student.name, solved, cells: of_student }
        });
        let Page { items, pagination } = Page::new(items.collect(), page, summary.students);
        Ok(Some(Matrix { notebook: notebook.to_owned(), cells, items, pagination }))
    }

    /// Calls for help, the latest first.
    pub async fn help(&self, scope: &Scope, open: Option<bool>, page: PageRequest) -> Result<Page<HelpLine>, DbError> {
        let (lines, total) = report_sql::help(&self.0.db, scope, open, page).await?;
        Ok(Page::new(lines, page, total))
    }

    /// How much was done in each step of time that has anything, in order.
    pub async fn activity(&self, scope: &Scope, step_s: i64) -> Result<Vec<ActivityRow>, DbError> {
        cells_sql::activity(&self.0.db, scope, step_s).await
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

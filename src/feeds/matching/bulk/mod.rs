//! Imports: rows that are right go in, the others are listed with line, field and reason. Up to 100 rows at once, more in
//! the background, where a part's rows and its end are one transaction.

mod csv;
pub mod routes;
pub mod rows;
mod sql;

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::rows::Row;
pub use self::sql::ImportTask;
use super::jobs::{self, NewJob};
use super::users::{self, NewUser};
use super::{IMPORT_TOPIC, Matching};
use crate::db::{DbError, Tx};
use crate::feeds::BATCH_PROGRESS;
use crate::feeds::failure::Failure;
use crate::http::{FieldError, Problem};
use crate::queue::{self, Item, Outcome};

/// More rows than this go to the background.
pub const AT_ONCE: usize = 100;
/// Rows of one part: one transaction, and what is in memory at a time.
const PART: usize = 500;
/// Subscribers are told of an import's progress no more often than this, but of its end always.
const TELL_EVERY_MS: i64 = 100;
/// Refusals that an answer lists.
const LISTED: i64 = 1_000;
const MOST_ATTEMPTS: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    Jobs,
    Users,
}

impl Target {
    pub fn as_str(self) -> &'static str {
        if self == Self::Jobs { "jobs" } else { "users" }
    }
}

/// Why a row is not in.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = RowRefusal)]
pub struct Refusal {
    pub line: i64,
    pub field: String,
    pub reason: String,
}

/// What came of an import.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Imported {
    pub processed: usize,
    pub total: usize,
    pub succeeded: usize,
    pub failed: usize,
    pub errors: Vec<Refusal>,
}

/// An import's answer: it is done, or a task does it.
pub enum Answer {
    Done(Imported),
    Task(ImportTask),
}

#[derive(Debug, Serialize, Deserialize)]
struct ToImport {
    target: Target,
    task_id: String,
    part_id: i64,
}

impl Matching {
    pub async fn import(
        &self,
        target: Target,
        mut rows: Box<dyn Iterator<Item = Row> + Send + '_>,
    ) -> Result<Answer, Failure> {
        let first: Vec<Row> = rows.by_ref().take(AT_ONCE + 1).collect();
        if first.len() <= AT_ONCE {
            let total = first.len();
            let mut tx = self.0.db.begin().await?;
            let errors = self.store(&mut tx, target, first).await?;
            self.0.outbox.commit(tx).await?;
            let failed = failed_lines(&errors);
            return Ok(Answer::Done(Imported { processed: total, total, succeeded: total - failed, failed, errors }));
        }
        let task_id = uuid::Uuid::now_v7().to_string();
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        sql::insert(&mut tx, &task_id, target, now).await?;
        let mut rows = first.into_iter().chain(rows).peekable();
        while rows.peek().is_some() {
            let part: Vec<Row> = rows.by_ref().take(PART).collect();
            let part_id = sql::insert_part(&mut tx, &task_id, json!(part), part.len() as i64).await?;
            queue::push(&mut tx, IMPORT_TOPIC, &ToImport { target, task_id: task_id.clone(), part_id }, now).await?;
        }
        self.0.outbox.commit(tx).await?;
        let task = sql::find(&self.0.db, &task_id).await?;
        Ok(Answer::Task(task.ok_or_else(|| Problem::internal("an import that was just begun is gone"))?))
    }

    /// Inserts what is right; answers why the rest is not.
    async fn store(&self, tx: &mut Tx, target: Target, rows: Vec<Row>) -> Result<Vec<Refusal>, DbError> {
        let mut refusals = Vec::new();
        match target {
            Target::Jobs => {
                let (lines, checked) = checked(rows, NewJob::check, &mut refusals);
                let stored = jobs::sql::insert(tx, &checked, self.now()).await?;
                if !stored.is_empty() {
                    self.queue_scoring(tx, stored.iter().map(|job| job.id).collect()).await?;
                }
                let given = checked.iter().map(|job| job.external_id.as_deref().unwrap_or_default());
                left_out(lines, given, stored.iter().map(|job| job.external_id.as_str()), &mut refusals);
            }
            Target::Users => {
                let (lines, checked) = checked(rows, NewUser::check, &mut refusals);
                let stored = users::sql::insert(tx, &checked, self.now()).await?;
                let given = checked.iter().map(|user| user.external_id.as_deref().unwrap_or_default());
                left_out(lines, given, stored.iter().map(|user| user.external_id.as_str()), &mut refusals);
            }
        }
        refusals.sort_by_key(|refusal| refusal.line);
        Ok(refusals)
    }

    pub(super) async fn handle_import(&self, item: &Item) -> Outcome {
        let todo: ToImport = match item.parse() {
            Ok(todo) => todo,
            Err(outcome) => return outcome,
        };
        match self.import_part(&todo, item.attempts > MOST_ATTEMPTS).await {
            Ok(()) => Outcome::Done,
            Err(failure) if item.attempts < MOST_ATTEMPTS => Outcome::Retry(format!("{failure:?}")),
            // The last resort: say of each row that it is not in.
            Err(failure) => match self.import_part(&todo, true).await {
                Ok(()) => Outcome::Done,
                Err(_) => Outcome::Retry(format!("{failure:?}")),
            },
        }
    }

    async fn import_part(&self, todo: &ToImport, give_up: bool) -> Result<(), Failure> {
        let Some(part) = sql::part(&self.0.db, todo.part_id).await? else { return Ok(()) };
        let rows: Vec<Row> = serde_json::from_value(part.rows).map_err(Problem::internal)?;
        let total = rows.len();
        let mut tx = self.0.db.begin().await?;
        if !sql::remove_part(&mut tx, part.id).await? {
            return Ok(tx.rollback().await?);
        }
        let refusals = if give_up {
            let refuse =
                |row: Row| Refusal { line: row.line, field: "row".into(), reason: "could not be stored".into() };
            rows.into_iter().map(refuse).collect()
        } else {
            self.store(&mut tx, todo.target, rows).await?
        };
        sql::refuse(&mut tx, &todo.task_id, &refusals).await?;
        let (failed, now) = (failed_lines(&refusals), self.now());
        let (done, at) = ((total - failed) as i64, (now, TELL_EVERY_MS));
        let (task, tell) = sql::advance(&mut tx, &todo.task_id, done, failed as i64, at).await?;
        if !tell {
            return Ok(self.0.outbox.commit(tx).await?);
        }
        let message = json!({
            "message_type": "batch_progress", "batch_id": task.id, "batch_type": format!("import_{}", task.kind),
            "state": task.state, "processed": task.processed, "total": task.total, "failed": task.failed,
            "timestamp": now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        });
        let tags = vec![("batch_id".into(), task.id.clone())];
        self.0.outbox.stage(&mut tx, BATCH_PROGRESS, &message, tags, now).await?;
        Ok(self.0.outbox.commit(tx).await?)
    }

    /// The task, and the first of its refusals.
    pub async fn import_task(&self, id: &str) -> Result<(ImportTask, Vec<Refusal>), Failure> {
        let task = sql::find(&self.0.db, id).await?;
        let task = task.ok_or_else(|| Problem::not_found(format!("there is no task {id}")))?;
        let refusals = sql::refusals(&self.0.db, id, LISTED).await?;
        Ok((task, refusals))
    }
}

/// Rows that follow every rule, with their lines.
fn checked<T: DeserializeOwned>(
    rows: Vec<Row>,
    check: impl Fn(T) -> Result<T, Vec<FieldError>>,
    refusals: &mut Vec<Refusal>,
) -> (Vec<i64>, Vec<T>) {
    let (mut lines, mut good) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for Row { line, value } in rows {
        let read = value.map_err(|reason| vec![FieldError::new("row", reason)]).and_then(|value| read::<T>(value));
        match read.and_then(&check) {
            Ok(row) => {
                lines.push(line);
                good.push(row);
            }
            Err(errors) => refusals.extend(errors.into_iter().map(|error| Refusal {
                line,
                field: error.field.into_owned(),
                reason: error.message.into_owned(),
            })),
        }
    }
    (lines, good)
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, Vec<FieldError>> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.into_inner().to_string();
        let quoted = |prefix| reason.strip_prefix(prefix)?.split('`').next().map(str::to_owned);
        let named = quoted("missing field `").or_else(|| quoted("unknown field `"));
        let field = named.unwrap_or(if path == "." { "row".into() } else { path });
        vec![FieldError::new(field, reason)]
    })
}

/// Notes the rows that the database left out, because one like them is there; the first of several like it is in.
fn left_out<'a>(
    lines: Vec<i64>,
    given: impl Iterator<Item = &'a str>,
    stored: impl Iterator<Item = &'a str>,
    refusals: &mut Vec<Refusal>,
) {
    let mut stored: HashMap<&str, usize> = stored.map(|id| (id, 1)).collect();
    for (line, id) in lines.into_iter().zip(given) {
        match stored.get_mut(id) {
            Some(count @ 1) => *count = 0,
            _ => refusals.push(Refusal { line, field: "external_id".into(), reason: "is taken".into() }),
        }
    }
}

/// A row may have several refusals.
fn failed_lines(refusals: &[Refusal]) -> usize {
    let mut lines: Vec<i64> = refusals.iter().map(|refusal| refusal.line).collect();
    lines.sort_unstable();
    lines.dedup();
    lines.len()
}

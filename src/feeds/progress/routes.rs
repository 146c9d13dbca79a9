//! `/api/v1/events` and `/api/v1/progress`.

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cells_sql::ActivityRow;
use super::report::{CellLine, CellOrder, Matrix, Overview, Scope};
use super::report_sql::{EventLine, HelpLine, StudentLine};
use super::{Progress, Taken};
use crate::feeds::failure::Failure;
use crate::feeds::page::{Page, PageRequest};
use crate::feeds::text::Checks;
use crate::http::{FieldError, Json, Path, Problem, Query};
use crate::queue::IntakeError;

/// Events of one request, at most.
const MAX_EVENTS: usize = 100;

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = EventsTaken)]
struct Answer {
    message: String,
    processed_count: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rejected: Vec<Rejected>,
}

/// An event that was not taken, by its place in the batch.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = EventRejected)]
struct Rejected {
    index: usize,
    field: &'static str,
    reason: String,
}

/// What the URL says. Unknown parameters are let pass: the client's settings have only the URL.
#[derive(Default)]
struct FromUrl {
    class: Option<String>,
}

impl FromUrl {
    fn read(query: Option<&str>) -> Result<Self, Problem> {
        let mut read = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if name == "class" {
                read.class = Some(value.into_owned()).filter(|class| !class.is_empty());
            }
        }
        let mut checks = Checks::default();
        checks.lookup("class", read.class.as_deref());
        checks.done().map_err(Problem::invalid)?;
        Ok(read)
    }
}

/// `POST /api/v1/events`
#[utoipa::path(post, path = "/api/v1/events", tag = "events", params(("class" = Option<String>, Query)), request_body = Vec<Value>, responses((status = 202, description = "Taken", body = Answer)))]
pub async fn ingest(
    State(progress): State<Progress>,
    RawQuery(query): RawQuery,
    request: axum::extract::Request,
) -> Result<Response, Problem> {
    let from_url = FromUrl::read(query.as_deref())?;
    let Json(batch) = body::<Vec<Value>>(request).await?;
    if batch.is_empty() {
        return Err(Problem::bad_request("no events: the batch is empty"));
    }
    if batch.len() > MAX_EVENTS {
        let detail = format!("{} events: send at most {MAX_EVENTS} at once", batch.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail));
    }
    answer(progress.take(batch, from_url.class).await)
}

/// `POST /api/v1/events/pioneer`: one event of jupyterlab-pioneer's remote exporter.
#[utoipa::path(post, path = "/api/v1/events/pioneer", tag = "events", params(("class" = Option<String>, Query)), request_body = Value, responses((status = 202, description = "Taken", body = Answer)))]
pub async fn pioneer(
    State(progress): State<Progress>,
    RawQuery(query): RawQuery,
    request: axum::extract::Request,
) -> Result<Response, Problem> {
    let from_url = FromUrl::read(query.as_deref())?;
    let Json(event) = body::<Value>(request).await?;
    answer(progress.take_pioneer(&event, from_url.class).await)
}

async fn body<T: serde::de::DeserializeOwned>(request: axum::extract::Request) -> Result<Json<T>, Problem> {
    use axum::extract::FromRequest;
    Json::from_request(request, &()).await
}

fn answer(taken: Result<Taken, IntakeError>) -> Result<Response, Problem> {
    let Taken { accepted, refused } = taken.map_err(|error| {
        tracing::warn!(%error, "events were not taken");
        // Not 429: this client retries what is a server's fault, and drops everything else.
        Problem::unavailable("the events cannot be queued now; nothing was kept", 1)
    })?;
    if accepted == 0 {
        let named = |index: usize, field: &str| match field {
            "" => format!("[{index}]"),
            field => format!("[{index}].{field}"),
        };
        let errors = refused.into_iter().map(|(index, it)| FieldError::new(named(index, it.field), it.reason));
        return Err(Problem::invalid(errors.collect()));
    }
    let rejected = refused.into_iter().map(|(index, it)| Rejected { index, field: it.field, reason: it.reason });
    let message = format!("{accepted} events received and queued");
    let answer = Answer { message, processed_count: accepted, rejected: rejected.collect() };
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

/// Parameters that every report has.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    page: Option<i64>,
    limit: Option<i64>,
    class: Option<String>,
    notebook: Option<String>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    /// Cells: `error_rate`, `runs`, `errors`, `position`.
    sort_by: Option<String>,
    /// Calls for help: those that are open, or those that have ended.
    open: Option<bool>,
    /// Activity: seconds of a step.
    step_s: Option<i64>,
}

impl Parameters {
    fn scope(&self) -> Result<(Scope, PageRequest), Problem> {
        let page = PageRequest::new(self.page, self.limit).map_err(Problem::invalid)?;
        let mut checks = Checks::default();
        checks.lookup("class", self.class.as_deref());
        checks.lookup("notebook", self.notebook.as_deref());
        let step = self.step_s.is_none_or(|step_s| (1..=86_400 * 31).contains(&step_s));
        checks.require("step_s", step, "is from 1 to 2678400");
        let first = DateTime::UNIX_EPOCH;
        let last = DateTime::from_timestamp(4_102_444_800, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let (from, to) = (self.from.unwrap_or(first).max(first), self.to.unwrap_or(last).min(last));
        checks.require("to", from <= to, "is before from");
        checks.done().map_err(Problem::invalid)?;
        Ok((Scope { class: self.class.clone(), notebook: self.notebook.clone(), from, to }, page))
    }
}

fn nobody(user_id: &str) -> Problem {
    Problem::not_found(format!("there is no student {user_id}"))
}

#[utoipa::path(get, path = "/api/v1/progress/overview", tag = "progress", params(Parameters), responses((status = 200, description = "Found", body = Overview)))]
pub async fn overview(
    State(progress): State<Progress>,
    Query(parameters): Query<Parameters>,
) -> Result<Json<Overview>, Failure> {
    let (scope, page) = parameters.scope()?;
    Ok(Json(progress.overview(&scope, page).await?))
}

#[utoipa::path(get, path = "/api/v1/progress/students/{user_id}", tag = "progress", params(("user_id" = String, Path), Parameters), responses((status = 200, description = "Found", body = StudentLine)))]
pub async fn student(
    State(progress): State<Progress>,
    Path(user_id): Path<String>,
    Query(parameters): Query<Parameters>,
) -> Result<Json<StudentLine>, Failure> {
    let (scope, _) = parameters.scope()?;
    let user_id = looked_up(user_id)?;
    Ok(Json(progress.student(&user_id, &scope).await?.ok_or_else(|| nobody(&user_id))?))
}

#[utoipa::path(get, path = "/api/v1/progress/students/{user_id}/timeline", tag = "progress", params(("user_id" = String, Path), Parameters), responses((status = 200, description = "Found", body = Page<EventLine>)))]
pub async fn timeline(
    State(progress): State<Progress>,
    Path(user_id): Path<String>,
    Query(parameters): Query<Parameters>,
) -> Result<Json<Page<EventLine>>, Failure> {
    let (scope, page) = parameters.scope()?;
    let user_id = looked_up(user_id)?;
    Ok(Json(progress.timeline(&user_id, &scope, page).await?.ok_or_else(|| nobody(&user_id))?))
}

fn looked_up(user_id: String) -> Result<String, Problem> {
    let mut checks = Checks::default();
    checks.lookup("user_id", Some(&user_id));
    checks.done().map_err(Problem::invalid)?;
    Ok(user_id)
}

#[utoipa::path(get, path = "/api/v1/progress/cells", tag = "progress", params(Parameters), responses((status = 200, description = "Found", body = Page<CellLine>)))]
pub async fn cells(
    State(progress): State<Progress>,
    Query(parameters): Query<Parameters>,
) -> Result<Json<Page<CellLine>>, Failure> {
    let (scope, page) = parameters.scope()?;
    let order = match parameters.sort_by.as_deref().unwrap_or("error_rate") {
        "error_rate" => CellOrder::ErrorRate,
        "runs" => CellOrder::Runs,
        "errors" => CellOrder::Errors,
        "position" => CellOrder::Place,
        _ => {
            let error = FieldError::new("sort_by", "is error_rate, runs, errors or position");
            return Err(Problem::invalid(vec![error]).into());
        }
    };
    Ok(Json(progress.cells(&scope, order, page).await?))
}

#[utoipa::path(get, path = "/api/v1/progress/matrix", tag = "progress", params(Parameters), responses((status = 200, description = "Found", body = Matrix)))]
pub async fn matrix(
    State(progress): State<Progress>,
    Query(parameters): Query<Parameters>,
) -> Result<Json<Matrix>, Failure> {
    let (scope, page) = parameters.scope()?;
    let missing = || Problem::invalid(vec![FieldError::new("notebook", "is required")]);
    let notebook = scope.notebook.clone().ok_or_else(missing)?;
    let matrix = progress.matrix(&scope, &notebook, page).await?;
    Ok(Json(matrix.ok_or_else(|| Problem::not_found(format!("there is no notebook {notebook}")))?))
}

#[utoipa::path(get, path = "/api/v1/progress/help", tag = "progress", params(Parameters), responses((status = 200, description = "Found", body = Page<HelpLine>)))]
pub async fn help(
    State(progress): State<Progress>,
    Query(parameters): Query<Parameters>,
) -> Result<Json<Page<HelpLine>>, Failure> {
    let (scope, page) = parameters.scope()?;
    Ok(Json(progress.help(&scope, parameters.open, page).await?))
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Activity {
    step_s: i64,
    items: Vec<ActivityRow>,
}

#[utoipa::path(get, path = "/api/v1/progress/activity", tag = "progress", params(Parameters), responses((status = 200, description = "Found", body = Activity)))]
pub async fn activity(
    State(progress): State<Progress>,
    Query(parameters): Query<Parameters>,
) -> Result<Json<Activity>, Failure> {
    let (scope, _) = parameters.scope()?;
    let step_s = parameters.step_s.unwrap_or(60);
    Ok(Json(Activity { step_s, items: progress.activity(&scope, step_s).await? }))
}

//! `POST /api/v2/jobs/bulk` and `/api/v2/users/bulk`, and `/api/v1/tasks/{id}/status`.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::rows::{Kind, decode, form_file, rows};
use super::{Answer, ImportTask, Imported, Refusal, Target};
use crate::feeds::failure::Failure;
use crate::feeds::matching::Matching;
use crate::http::{BodyError, Json, Path, Problem};

type Body = Result<Bytes, BytesRejection>;

/// An import that goes on in the background.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ImportAccepted)]
pub struct Accepted {
    task_id: String,
    state: String,
    total: i64,
    status_url: String,
}

/// A task as its poll shows it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TaskStatus {
    #[serde(flatten)]
    task: ImportTask,
    errors: Vec<Refusal>,
}

#[utoipa::path(post, path = "/api/v2/jobs/bulk", tag = "jobs", request_body(content = String, content_type = "text/csv"), responses((status = 200, description = "All rows are through", body = Imported), (status = 202, description = "A task goes on with them", body = Accepted)))]
pub async fn jobs(State(matching): State<Matching>, headers: HeaderMap, body: Body) -> Result<Response, Failure> {
    import(&matching, Target::Jobs, &headers, body).await
}

#[utoipa::path(post, path = "/api/v2/users/bulk", tag = "users", request_body(content = String, content_type = "text/csv"), responses((status = 200, description = "All rows are through", body = Imported), (status = 202, description = "A task goes on with them", body = Accepted)))]
pub async fn users(State(matching): State<Matching>, headers: HeaderMap, body: Body) -> Result<Response, Failure> {
    import(&matching, Target::Users, &headers, body).await
}

async fn import(matching: &Matching, target: Target, headers: &HeaderMap, body: Body) -> Result<Response, Failure> {
    let body = body.map_err(|rejection| match BodyError::find(&rejection) {
        Some(error) => error.into(),
        None => Problem::bad_request("the body could not be read to its end"),
    })?;
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (media_type, file_name, content) = if media_type.to_ascii_lowercase().starts_with("multipart/form-data") {
        form_file(&body, media_type).ok_or_else(|| Problem::bad_request("the form has no file"))?
    } else {
        (media_type.to_owned(), String::new(), &body[..])
    };
    let kind = Kind::of(&media_type, &file_name).ok_or_else(|| {
        let detail = "send CSV, JSON or NDJSON, or one of them as a file of a form";
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail)
    })?;
    let text = decode(content, &media_type).map_err(Problem::bad_request)?;
    let rows =
        rows(&text, kind).map_err(|reason| Problem::bad_request(format!("the file cannot be read: {reason}")))?;
    Ok(match matching.import(target, rows).await? {
        Answer::Done(imported) => Json(&imported).into_response(),
        Answer::Task(task) => {
            let status_url = format!("/api/v1/tasks/{}/status", task.id);
            let answer = Accepted { task_id: task.id, state: task.state, total: task.total, status_url };
            (StatusCode::ACCEPTED, Json(answer)).into_response()
        }
    })
}

#[utoipa::path(get, path = "/api/v1/tasks/{id}/status", tag = "batches", params(("id" = String, Path)), responses((status = 200, description = "Found", body = TaskStatus)))]
pub async fn task(State(matching): State<Matching>, Path(id): Path<String>) -> Result<Json<TaskStatus>, Failure> {
    let known = uuid::Uuid::parse_str(&id).map_err(|_| Problem::not_found("there is no such task"))?;
    let (task, errors) = matching.import_task(&known.to_string()).await?;
    Ok(Json(TaskStatus { task, errors }))
}

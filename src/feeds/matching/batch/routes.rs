//! `/api/v1/batch`, and the same under `/api/v2`.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{Batch, BatchType};
use crate::feeds::failure::Failure;
use crate::feeds::matching::Matching;
use crate::feeds::page::{PageRequest, Pagination};
use crate::http::{Json, Path, Problem, Query};

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    batch_type: BatchType,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListParameters {
    page: Option<i64>,
    limit: Option<i64>,
    #[param(inline)]
    batch_type: Option<BatchType>,
    #[param(inline)]
    state: Option<BatchState>,
}

#[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum BatchState {
    Running,
    Completed,
    Failed,
    Cancelled,
}

/// `{batches, pagination}`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Batches {
    batches: Vec<Batch>,
    pagination: Pagination,
}

#[utoipa::path(post, path = "/api/v2/batch/trigger", tag = "batches", request_body = Trigger, responses((status = 202, description = "Taken", body = Batch)))]
pub async fn trigger(
    State(matching): State<Matching>,
    Json(trigger): Json<Trigger>,
) -> Result<(StatusCode, Json<Batch>), Failure> {
    Ok((StatusCode::ACCEPTED, Json(matching.trigger(trigger.batch_type).await?)))
}

#[utoipa::path(get, path = "/api/v2/batch/status", tag = "batches", params(ListParameters), responses((status = 200, description = "Found", body = Batches)))]
pub async fn list(
    State(matching): State<Matching>,
    Query(given): Query<ListParameters>,
) -> Result<Json<Batches>, Failure> {
    let page = PageRequest::new(given.page, given.limit).map_err(Problem::invalid)?;
    let state = given.state.map(|state| match state {
        BatchState::Running => "running",
        BatchState::Completed => "completed",
        BatchState::Failed => "failed",
        BatchState::Cancelled => "cancelled",
    });
    let page = matching.batches(given.batch_type, state, page).await?;
    Ok(Json(Batches { batches: page.items, pagination: page.pagination }))
}

#[utoipa::path(get, path = "/api/v2/batch/status/{id}", tag = "batches", params(("id" = i64, Path)), responses((status = 200, description = "Found", body = Batch)))]
pub async fn get(State(matching): State<Matching>, Path(id): Path<i64>) -> Result<Json<Batch>, Failure> {
    Ok(Json(matching.batch(id).await?))
}

#[utoipa::path(post, path = "/api/v2/batch/cancel/{id}", tag = "batches", params(("id" = i64, Path)), responses((status = 200, description = "Found", body = Batch)))]
pub async fn cancel(State(matching): State<Matching>, Path(id): Path<i64>) -> Result<Json<Batch>, Failure> {
    Ok(Json(matching.cancel_batch(id).await?))
}

#[utoipa::path(post, path = "/api/v2/batch/retry/{id}", tag = "batches", params(("id" = i64, Path)), responses((status = 202, description = "Taken", body = Batch)))]
pub async fn retry(
    State(matching): State<Matching>,
    Path(id): Path<i64>,
) -> Result<(StatusCode, Json<Batch>), Failure> {
    Ok((StatusCode::ACCEPTED, Json(matching.retry_batch(id).await?)))
}

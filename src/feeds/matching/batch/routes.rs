//! `/api/v1/batch`, and the same under `/api/v2`.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{Batch, BatchType};
use crate::feeds::failure::Failure;
use crate::feeds::matching::Matching;
use crate::feeds::page::{PageRequest, Pagination};
use crate::http::{Json, Path, Problem, Query};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    batch_type: BatchType,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListParameters {
    page: Option<i64>,
    limit: Option<i64>,
    batch_type: Option<BatchType>,
    state: Option<BatchState>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum BatchState {
    Running,
    Completed,
    Failed,
    Cancelled,
}

/// `{batches, pagination}`.
#[derive(Debug, Serialize)]
pub struct Batches {
    batches: Vec<Batch>,
    pagination: Pagination,
}

pub async fn trigger(
    State(matching): State<Matching>,
    Json(trigger): Json<Trigger>,
) -> Result<(StatusCode, Json<Batch>), Failure> {
    Ok((StatusCode::ACCEPTED, Json(matching.trigger(trigger.batch_type).await?)))
}

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

pub async fn get(State(matching): State<Matching>, Path(id): Path<i64>) -> Result<Json<Batch>, Failure> {
    Ok(Json(matching.batch(id).await?))
}

pub async fn cancel(State(matching): State<Matching>, Path(id): Path<i64>) -> Result<Json<Batch>, Failure> {
    Ok(Json(matching.cancel_batch(id).await?))
}

pub async fn retry(
    State(matching): State<Matching>,
    Path(id): Path<i64>,
) -> Result<(StatusCode, Json<Batch>), Failure> {
    Ok((StatusCode::ACCEPTED, Json(matching.retry_batch(id).await?)))
}

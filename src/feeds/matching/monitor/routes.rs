//! `/api/v2/monitoring`.

use axum::extract::State;
use serde_json::Value;

use crate::feeds::failure::Failure;
use crate::feeds::matching::Matching;
use crate::http::Json;

pub async fn batches(State(matching): State<Matching>) -> Result<Json<Value>, Failure> {
    Ok(Json(matching.batch_figures().await?))
}

pub async fn matches(State(matching): State<Matching>) -> Result<Json<Value>, Failure> {
    Ok(Json(matching.match_figures().await?))
}

pub async fn queues(State(matching): State<Matching>) -> Result<Json<Value>, Failure> {
    Ok(Json(matching.queue_figures().await?))
}

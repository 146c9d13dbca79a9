//! `/api/v2/monitoring`.

use axum::extract::State;
use serde_json::Value;

use crate::feeds::failure::Failure;
use crate::feeds::matching::Matching;
use crate::http::Json;

#[utoipa::path(get, path = "/api/v2/monitoring/batches", tag = "monitoring", responses((status = 200, description = "Found", body = Value)))]
pub async fn batches(State(matching): State<Matching>) -> Result<Json<Value>, Failure> {
    Ok(Json(matching.batch_figures().await?))
}

#[utoipa::path(get, path = "/api/v2/monitoring/matches", tag = "monitoring", responses((status = 200, description = "Found", body = Value)))]
pub async fn matches(State(matching): State<Matching>) -> Result<Json<Value>, Failure> {
    Ok(Json(matching.match_figures().await?))
}

#[utoipa::path(get, path = "/api/v2/monitoring/queues", tag = "monitoring", responses((status = 200, description = "Found", body = Value)))]
pub async fn queues(State(matching): State<Matching>) -> Result<Json<Value>, Failure> {
    Ok(Json(matching.queue_figures().await?))
}

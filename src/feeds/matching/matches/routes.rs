//! `/api/v2/matching`.

use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;

use super::Recommendation;
use crate::feeds::failure::Failure;
use crate::feeds::matching::Matching;
use crate::http::{Json, Path};

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    user_id: i64,
    job_id: i64,
}

/// The user's matches of the latest batch.
#[utoipa::path(get, path = "/api/v2/matching/users/{id}", tag = "matches", params(("id" = i64, Path)), responses((status = 200, description = "Found", body = Recommendation)))]
pub async fn of_user(State(matching): State<Matching>, Path(id): Path<i64>) -> Result<Json<Recommendation>, Failure> {
    Ok(Json(matching.recommendation(id).await?))
}

/// How well one job fits one user, and why.
#[utoipa::path(post, path = "/api/v2/matching/score", tag = "matches", request_body = Pair, responses((status = 200, description = "Found", body = Value)))]
pub async fn score(State(matching): State<Matching>, Json(pair): Json<Pair>) -> Result<Json<Value>, Failure> {
    Ok(Json(matching.personalized(pair.user_id, pair.job_id).await?))
}

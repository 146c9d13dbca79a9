//! Dead letters: work that nothing has helped, to be looked at, tried again, or forgotten.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::http::{FieldError, Json, Path, Problem, Query};
use crate::queue::{DeadLetter, Queue};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 1000;
const MAX_TOPIC: usize = 255;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    topic: Option<String>,
    /// Letters with a greater id.
    after: Option<i64>,
    limit: Option<u32>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Letters {
    items: Vec<DeadLetter>,
    /// What to give as `after` for more; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

/// `GET /api/v1/dead-letters`
#[utoipa::path(get, path = "/api/v1/dead-letters", tag = "operators", params(Parameters), responses((status = 200, description = "Found", body = Letters)))]
pub async fn list(State(queue): State<Queue>, Query(parameters): Query<Parameters>) -> Result<Json<Letters>, Problem> {
    let limit = parameters.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::invalid(vec![FieldError::new("limit", "is from 1 to 1000")]));
    }
    if parameters.topic.as_ref().is_some_and(|topic| topic.contains('\0')) {
        return Err(Problem::invalid(vec![FieldError::new("topic", "cannot contain control characters")]));
    }
    if parameters.topic.as_ref().is_some_and(|topic| topic.chars().count() > MAX_TOPIC) {
        return Err(Problem::invalid(vec![FieldError::new("topic", "has more than 255 characters")]));
    }
    let after = parameters.after.unwrap_or(0);
    let items = queue.list_dead(parameters.topic.as_deref(), after, limit).await.map_err(Problem::from)?;
    let next = items.last().filter(|_| items.len() == limit as usize).map(|letter| letter.id);
    Ok(Json(Letters { items, next }))
}

/// `GET /api/v1/dead-letters/{id}`
#[utoipa::path(get, path = "/api/v1/dead-letters/{id}", tag = "operators", params(("id" = i64, Path)), responses((status = 200, description = "Found", body = DeadLetter)))]
pub async fn get(State(queue): State<Queue>, Path(id): Path<i64>) -> Result<Json<DeadLetter>, Problem> {
    queue.find_dead(id).await.map_err(Problem::from)?.map(Json).ok_or_else(|| missing(id))
}

/// `POST /api/v1/dead-letters/{id}/replay`: tries it again, with all its attempts before it.
#[utoipa::path(post, path = "/api/v1/dead-letters/{id}/replay", tag = "operators", params(("id" = i64, Path)), responses((status = 202, description = "Taken")))]
pub async fn replay(State(queue): State<Queue>, Path(id): Path<i64>) -> Result<StatusCode, Problem> {
    done(queue.replay(id).await.map_err(Problem::from)?, id, StatusCode::ACCEPTED)
}

/// `DELETE /api/v1/dead-letters/{id}`: forgets it.
#[utoipa::path(delete, path = "/api/v1/dead-letters/{id}", tag = "operators", params(("id" = i64, Path)), responses((status = 204, description = "Done")))]
pub async fn discard(State(queue): State<Queue>, Path(id): Path<i64>) -> Result<StatusCode, Problem> {
    done(queue.discard(id).await.map_err(Problem::from)?, id, StatusCode::NO_CONTENT)
}

fn done(found: bool, id: i64, status: StatusCode) -> Result<StatusCode, Problem> {
    if found { Ok(status) } else { Err(missing(id)) }
}

fn missing(id: i64) -> Problem {
    Problem::not_found(format!("there is no dead letter {id}"))
}

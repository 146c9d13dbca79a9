//! Why a write or a read of a feed did not happen, and how that is answered.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::outbox::StageError;
use crate::db::DbError;
use crate::http::Problem;

/// A rule was broken, or the database failed. The database's words are logged, never sent.
#[derive(Debug)]
pub struct Failure(Problem);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        if error.is_unavailable() {
            tracing::warn!(%error, "the database is unavailable");
            return Self(Problem::unavailable("the database is unavailable; nothing was changed", 1));
        }
        if error.is_unsure() {
            tracing::error!(%error, "a change may have been made or not");
            // Without Retry-After: a repeated delta would count twice.
            let detail = "the database did not confirm the change; look whether it was made before you try again";
            return Self(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unconfirmed", detail));
        }
        Self(Problem::internal(error))
    }
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        match error {
            StageError::Db(error) => error.into(),
            StageError::Json(error) => Self(Problem::internal(error)),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

//! Why a write or a read of a feed did not happen, and how that is answered.

use axum::response::{IntoResponse, Response};

use super::outbox::StageError;
use crate::db::DbError;
use crate::http::Problem;

/// A rule was broken, or the database failed.
#[derive(Debug)]
pub struct Failure(Problem);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        Self(error.into())
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

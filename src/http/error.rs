//! The one HTTP error: RFC 9457 problem details. The cause is logged once, here, and never sent.

use std::borrow::Cow;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::db::DbError;

/// An answer that is not a success: `application/problem+json` with `type`, `title`, `status`, `detail`, `errors`.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    /// A stable word for programs; the document's `type` is `/problems/<kind>`.
    kind: &'static str,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    /// Headers that belong to this answer: `Retry-After`, `WWW-Authenticate`, `Allow`.
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What is wrong with one field of the input.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct FieldError {
    /// The field's name as the caller wrote it; `items[3].sku` in a list.
    pub field: Cow<'static, str>,
    pub message: Cow<'static, str>,
}

impl FieldError {
    pub fn new(field: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl Problem {
    pub fn new(status: StatusCode, kind: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, kind, detail: detail.into(), errors: Vec::new(), headers: Vec::new() }
    }

    /// 422: the request was understood, but fields of it break a rule.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] => format!("{}: {}", only.field, only.message),
            several => format!("{} fields are not valid", several.len()),
        };
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail) }
    }

    /// 400: the request could not be read.
    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }

    /// 404.
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// 409: the request contradicts what is stored.
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// 503: try again after so many seconds.
    pub fn unavailable(detail: impl Into<Cow<'static, str>>, retry_after_s: u64) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
            .with_header(header::RETRY_AFTER, HeaderValue::from(retry_after_s))
    }

    /// 500: logs the cause with the request's trace and tells the caller nothing of it.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "an internal error occurred; it has been logged")
    }

    pub fn with_field(mut self, field: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        self.errors.push(FieldError::new(field, message));
        self
    }

    /// Adds a header that the answer is to carry.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }
}

/// The database's words are logged, never sent.
impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        if error.is_full() {
            tracing::error!(%error, "the database's disk is full");
            let detail = "the disk of the database is full; nothing was changed";
            return Self::new(StatusCode::INSUFFICIENT_STORAGE, "storage-full", detail);
        }
        if error.is_unavailable() {
            tracing::warn!(%error, "the database is unavailable");
            return Self::unavailable("the database is unavailable; nothing was changed", 1);
        }
        if error.is_unsure() {
            tracing::error!(%error, "a change may have been made or not");
            // Without Retry-After: a repeated delta would count twice.
            let detail = "the database did not confirm the change; look whether it was made before you try again";
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, "unconfirmed", detail);
        }
        Self::internal(error)
    }
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            r#type: format!("/problems/{}", self.kind),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            errors: &self.errors,
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.headers);
        response
    }
}

//! The innermost layer: bodies are bounded, panics become answers, and so do unknown paths and methods.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::extract::Request;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hyper::body::Body as _;

use super::HttpMetrics;
use crate::http::{BodyError, BoundedBody, Problem};

#[derive(Clone)]
pub(super) struct Bounds {
    pub max_body_bytes: usize,
    pub patience: Duration,
    pub metrics: HttpMetrics,
}

pub(super) async fn inner(State(bounds): State<Bounds>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = if body.is_end_stream() {
        body
    } else {
        let bounded = BoundedBody::new(body, bounds.max_body_bytes, bounds.patience);
        if bounded.size_hint().lower() > bounds.max_body_bytes as u64 {
            // A client that asks first is told before it sends; the others are sending already.
            if !parts.headers.contains_key(header::EXPECT) {
                bounded.discard().await;
            }
            return Problem::from(BodyError::TooLarge(bounds.max_body_bytes)).into_response();
        }
        axum::body::Body::new(bounded)
    };
    let handled = AssertUnwindSafe(next.run(Request::from_parts(parts, body))).catch_unwind().await;
    match handled {
        Ok(response) => explained(response),
        Err(panic) => {
            bounds.metrics.panicked();
            let message = panic.downcast_ref::<&str>().copied();
            let message = message.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?");
            Problem::internal(format_args!("panic: {message}")).into_response()
        }
    }
}

/// The router's own answers to unknown paths and methods are empty; this says what they mean.
fn explained(response: Response) -> Response {
    let problem = match response.status() {
        StatusCode::NOT_FOUND => Problem::not_found("there is nothing at this path"),
        StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", "this path does not take this method")
        }
        _ => return response,
    };
    if response.headers().contains_key(header::CONTENT_TYPE) {
        return response;
    }
    let mut explained = problem.into_response();
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    explained.headers_mut().extend(parts.headers);
    *explained.extensions_mut() = parts.extensions;
    explained
}

/// The fallback of a router without a web page.
pub async fn not_found() -> Problem {
    Problem::not_found("there is nothing at this path")
}

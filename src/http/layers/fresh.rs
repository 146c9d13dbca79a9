//! What every answer of the API says about keeping it: ask whether it still holds. Whoever asks with the right tag is spared
//! the bytes.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use hyper::body::Body as _;

use crate::http::ETag;
use crate::http::cache::FRESHNESS;

/// Larger answers get no tag: reading them to their end here would hold them in memory.
const MAX_BYTES: u64 = 1024 * 1024;

pub(super) async fn fresh(request: Request, next: Next) -> Response {
    let asks = (request.method() == Method::GET && request.uri().path().starts_with("/api/"))
        .then(|| request.headers().clone());
    let mut response = next.run(request).await;
    let Some(asks) = asks else { return response };
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(FRESHNESS);
    let kept_by_nobody = headers.get(header::CACHE_CONTROL).is_some_and(|value| value == "no-store");
    let is_json = headers.get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json");
    let complete = response.status() == StatusCode::OK && response.size_hint().exact().is_some_and(|n| n <= MAX_BYTES);
    if kept_by_nobody || !is_json || !complete || response.headers().contains_key(header::ETAG) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(body) = body.collect().await else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let body = body.to_bytes();
    let tag = ETag::of(&body);
    parts.headers.insert(header::ETAG, tag.header());
    parts.headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    if !tag.is_known_to(&asks) {
        return Response::from_parts(parts, Body::from(body));
    }
    parts.status = StatusCode::NOT_MODIFIED;
    parts.headers.remove(header::CONTENT_TYPE);
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::empty())
}

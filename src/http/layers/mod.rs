//! What every request passes, from the outside in: trace, clock and meters; CORS; compression; tags; bounds
//! and panics.

mod fresh;
mod inner;
mod meters;
mod outer;

use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::{Origins, TrustedProxies, guard, trace};

pub use inner::not_found;
pub use meters::HttpMetrics;
pub use outer::X_PROCESS_TIME;

/// What the layers hold requests to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct EdgeOptions {
    /// Origins whose pages may call the API and open WebSockets: `https://shop.example,https://admin.example`, or `*`.
    pub allowed_origins: Origins,
    /// Reverse proxies whose `X-Forwarded-For` is believed, as addresses or networks: `10.0.0.0/8,127.0.0.1`.
    pub trusted_proxies: TrustedProxies,
    /// Largest request body, in bytes.
    pub max_body_bytes: usize,
    /// Longest wait for the next part of a request body, in milliseconds.
    pub body_stall_ms: u64,
    /// Requests that take longer than this many milliseconds are logged.
    pub slow_request_ms: u64,
}

impl Default for EdgeOptions {
    fn default() -> Self {
        Self {
            allowed_origins: Origins::default(),
            trusted_proxies: TrustedProxies::default(),
            max_body_bytes: 10 * 1024 * 1024,
            body_stall_ms: 30_000,
            slow_request_ms: 1_000,
        }
    }
}

/// Smaller bodies do not become shorter by enough to be worth the work.
pub(super) const COMPRESS_FROM_BYTES: u64 = 1024;
/// Asks nginx not to collect an answer before it passes it on.
pub const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// Where a reader of server-sent events stands.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Browsers keep the answer to a preflight this long; Chromium takes no more than two hours.
const PREFLIGHT_FRESH: Duration = Duration::from_secs(7200);

/// Puts the layers around a finished router; the last thing done to it, as routes added later do not pass them.
pub fn apply(router: Router, options: &EdgeOptions, metrics: HttpMetrics) -> Router {
    let bounds = inner::Bounds {
        max_body_bytes: options.max_body_bytes,
        patience: Duration::from_millis(options.body_stall_ms),
        metrics: metrics.clone(),
    };
    let trusted = options.trusted_proxies.clone();
    let edge = outer::Edge { slow: Duration::from_millis(options.slow_request_ms), trusted, metrics };
    router
        // The bound here replaces axum's own, which covers only some of its extractors.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(bounds, inner::inner))
        .layer(from_fn(fresh::fresh))
        .layer(CompressionLayer::new().compress_when(worth_compressing()))
        .layer(cors(options.allowed_origins.clone()))
        .layer(from_fn_with_state(edge, outer::outer))
}

/// Around all the rest where this server ends TLS itself: browsers are to come by TLS only, for a year.
pub fn over_tls(router: Router) -> Router {
    let told = async |request, next: Next| {
        let mut response: Response = next.run(request).await;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let year = HeaderValue::from_static("max-age=31536000");
            response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, year);
        }
        response
    };
    router.layer(from_fn(told))
}

fn worth_compressing() -> impl Predicate {
    let not_upgraded = |status: StatusCode, _, headers: &HeaderMap, _: &axum::http::Extensions| {
        status != StatusCode::SWITCHING_PROTOCOLS && !headers.contains_key(header::UPGRADE)
    };
    // A stream's messages are not to wait for one another.
    let not_lasting = |_, _, headers: &HeaderMap, _: &axum::http::Extensions| !headers.contains_key(X_ACCEL_BUFFERING);
    SizeAbove::new(COMPRESS_FROM_BYTES)
        .and(NotForContentType::IMAGES)
        .and(NotForContentType::SSE)
        .and(NotForContentType::const_new("font/"))
        .and(not_upgraded)
        .and(not_lasting)
}

fn cors(origins: Origins) -> CorsLayer {
    let allowed = if origins.any() {
        AllowOrigin::any()
    } else {
        AllowOrigin::predicate(move |origin: &HeaderValue, request: &Parts| {
            let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
            origin.to_str().is_ok_and(|origin| origins.allows(Some(origin), host))
        })
    };
    // No credentials: callers authenticate by header, so a foreign page has no cookie of ours to ride on.
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            LAST_EVENT_ID,
            guard::X_API_KEY,
            trace::X_TRACE_ID,
            trace::TRACEPARENT,
        ])
        .expose_headers([header::ETAG, header::LOCATION, header::RETRY_AFTER, trace::X_TRACE_ID, X_PROCESS_TIME])
        .max_age(PREFLIGHT_FRESH)
}

//! The outermost layer: trace id, process time, meters, slow requests, security headers.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use super::meters::{HttpMetrics, method_label};
use crate::db;
use crate::http::assets::Precompressed;
use crate::http::trace::{TRACEPARENT, X_TRACE_ID};
use crate::http::{TraceId, TrustedProxies};
use crate::telemetry::trace::{self, Kind};

pub const X_PROCESS_TIME: HeaderName = HeaderName::from_static("x-process-time");

/// The label of requests that no route matched, the web page's files among them.
const NO_ROUTE: &str = "other";

#[derive(Clone)]
pub(super) struct Edge {
    pub slow: Duration,
    pub trusted: TrustedProxies,
    pub metrics: HttpMetrics,
}

pub(super) async fn outer(State(edge): State<Edge>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let trace_id = TraceId::of(request.headers());
    let method = method_label(request.method());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|&ConnectInfo(peer)| {
        // From here on the client behind a trusted proxy is who is calling.
        SocketAddr::new(edge.trusted.client(peer.ip(), request.headers()), peer.port())
    });
    if let Some(peer) = peer {
        request.extensions_mut().insert(ConnectInfo(peer));
    }
    // At the level of errors, so that the lines within carry the trace id whatever level is logged.
    let span = tracing::error_span!(
        "request",
        trace_id = trace_id.as_str(),
        method,
        route,
        peer = peer.map(tracing::field::display)
    );
    request.extensions_mut().insert(trace_id.clone());

    let traceparent = request.headers().get(TRACEPARENT).and_then(|value| value.to_str().ok());
    let traced = trace::root(traceparent, trace_id.as_str());
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let answered = async {
        let work = next.run(request);
        if reads { db::reading(work).await } else { work.await }
    };
    let work = trace::within(traced.map(|(own, _)| own), answered);
    let mut response = work.instrument(span.clone()).await;

    let took = started.elapsed();
    let status = response.status();
    edge.metrics.answered(method, route, status, took);
    if let Some((own, above)) = traced {
        let attributes: [(&str, &dyn Display); 3] =
            [("http.request.method", &method), ("http.route", &route), ("http.response.status_code", &status.as_u16())];
        trace::record(own, above, &format!("{method} {route}"), Kind::Server, started, &attributes);
    }
    span.in_scope(|| {
        let (status, took_ms) = (status.as_u16(), took.as_millis() as u64);
        if took > edge.slow {
            tracing::warn!(status, took_ms, "slow request");
        } else {
            tracing::debug!(status, took_ms, "request");
        }
    });
    let precompressed = response.extensions().get::<Precompressed>().is_some();
    let headers = response.headers_mut();
    headers.insert(X_TRACE_ID, trace_id.header());
    headers.insert(X_PROCESS_TIME, seconds(took));
    if status != StatusCode::SWITCHING_PROTOCOLS {
        secure(headers);
        if !precompressed {
            weaken_etag(headers);
        }
    }
    response
}

fn seconds(took: Duration) -> HeaderValue {
    let text = format!("{}.{:06}", took.as_secs(), took.subsec_micros());
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("0.000000"))
}

/// What keeps a browser from doing more with an answer than was meant. Pages bring their own content policy.
fn secure(headers: &mut HeaderMap) {
    const API_POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(API_POLICY);
}

/// A strong tag promises the same bytes, which compression on the way does not keep.
fn weaken_etag(headers: &mut HeaderMap) {
    if !headers.contains_key(header::CONTENT_ENCODING) {
        return;
    }
    let Some(tag) = headers.get(header::ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")) else { return };
    if let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
        headers.insert(header::ETAG, weak);
    }
}

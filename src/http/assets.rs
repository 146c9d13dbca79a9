//! The web page, embedded in the binary.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use rust_embed::{EmbeddedFile, RustEmbed};

use super::{ETag, Problem};

/// What `make web` builds. It may be missing: the server is complete without its page.
#[derive(RustEmbed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct Dist;

/// Marks an answer whose entity tag already stands for its compressed bytes.
#[derive(Clone, Copy)]
pub(super) struct Precompressed;

const INDEX: &str = "index.html";
/// Build tools put a hash of the content in the names of the files here, so they never change.
const HASHED: &str = "assets/";
/// Paths of the API and of the streams; what is unknown below them is an error and never the page.
const NOT_PAGES: [&str; 4] = ["api", "ws", "sse", "connection"];

const PAGE_POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; object-src 'none'; \
                           base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const NOT_BUILT: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Fanfare</title>\n\
    <h1>Fanfare is running</h1>\n\
    <p>This binary was built without its web page. Run <code>make web</code>, then build again.</p>\n\
    <p>The API and the streams are complete without it.</p></html>\n";

/// The router's fallback: a file of the page, the page itself for a path of its own, or a 404.
pub async fn serve(request: Request) -> Response {
    answer::<Dist>(request.method(), request.uri().path(), request.headers())
}

/// Answers from any set of embedded files.
pub fn answer<Files: RustEmbed>(method: &Method, path: &str, headers: &HeaderMap) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return match Files::get(path.trim_start_matches('/')) {
            Some(_) => Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", "this path does not take this method")
                .with_header(header::ALLOW, HeaderValue::from_static("GET, HEAD"))
                .into_response(),
            None => missing(),
        };
    }
    let name = match path.trim_start_matches('/') {
        "" => INDEX,
        name => name,
    };
    if let Some(file) = Files::get(name) {
        return send::<Files>(name, file, headers);
    }
    if name != INDEX && !is_page_path(name, headers) {
        return missing();
    }
    match Files::get(INDEX) {
        Some(file) => send::<Files>(INDEX, file, headers),
        None if name == INDEX => {
            let policy = [(header::CONTENT_SECURITY_POLICY, PAGE_POLICY), (header::CACHE_CONTROL, "no-store")];
            (policy, axum::response::Html(NOT_BUILT)).into_response()
        }
        None => missing(),
    }
}

fn missing() -> Response {
    Problem::not_found("there is nothing at this path").into_response()
}

/// Whether a browser asks for a path that the page's own router knows: no file, and wanted as HTML.
fn is_page_path(name: &str, headers: &HeaderMap) -> bool {
    let first = name.split('/').next().unwrap_or(name);
    let wants_html = headers
        .get_all(header::ACCEPT)
        .iter()
        .any(|value| value.to_str().is_ok_and(|value| value.to_ascii_lowercase().contains("text/html")));
    wants_html && !name.contains('.') && !NOT_PAGES.contains(&first)
}

fn send<Files: RustEmbed>(name: &str, plain: EmbeddedFile, headers: &HeaderMap) -> Response {
    // Build tools leave compressed copies beside the files; brotli's are smaller.
    let compressed = [("br", ".br"), ("gzip", ".gz")].into_iter().find_map(|(coding, suffix)| {
        let file = Files::get(&format!("{name}{suffix}"))?;
        accepts(headers, coding).then_some((coding, file))
    });
    let (coding, file) = match compressed {
        Some((coding, file)) => (Some(coding), file),
        None => (None, plain),
    };
    let tag = ETag::of_sha256(&file.metadata.sha256_hash(), "");
    let freshness = if name.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let content_type = content_type(name);
    let mut response = if tag.is_known_to(headers) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let body = match file.data {
            Cow::Borrowed(data) => Bytes::from_static(data),
            Cow::Owned(data) => Bytes::from(data),
        };
        let mut response = Response::new(Body::from(body));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(coding) = coding {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        response
    };
    if coding.is_some() {
        response.extensions_mut().insert(Precompressed);
    }
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag.header());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(freshness));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if content_type.starts_with("text/html") {
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
    }
    response
}

/// Whether `Accept-Encoding` takes this coding: named, and not with a quality of zero.
pub(super) fn accepts(headers: &HeaderMap, coding: &str) -> bool {
    headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(coding));
            let refused = parts
                .filter_map(|parameter| parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")))
                .any(|quality| quality.trim().parse::<f32>().is_ok_and(|quality| quality <= 0.0));
            named && !refused
        })
    })
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

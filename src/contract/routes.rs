//! `/openapi.json`, `/asyncapi.json` and `/docs`. They say nothing that is not in the documentation, so they are open.

use std::sync::{Arc, LazyLock};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use bytes::Bytes;
use utoipa_swagger_ui::Config;

use super::{ASYNCAPI_BYTES, OPENAPI_BYTES};
use crate::http::{ETag, Path, Problem};

/// What the page may do: its own files, and requests to this server.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                           connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Fanfare: the HTTP API</title>\n\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
    <link rel=\"icon\" href=\"/docs/favicon-32x32.png\"><link rel=\"stylesheet\" href=\"/docs/swagger-ui.css\"></head>\n\
    <body><div id=\"swagger-ui\"></div>\n\
    <script src=\"/docs/swagger-ui-bundle.js\"></script><script src=\"/docs/start.js\"></script></body></html>\n";

const START: &str = "SwaggerUIBundle({url: '/openapi.json', dom_id: '#swagger-ui', deepLinking: true, \
    presets: [SwaggerUIBundle.presets.apis], validatorUrl: null});\n";

/// The files of the page, and nothing else of what its library brings.
const FILES: [&str; 3] = ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"];

static OPENAPI_TAG: LazyLock<ETag> = LazyLock::new(|| ETag::of(&OPENAPI_BYTES));
static ASYNCAPI_TAG: LazyLock<ETag> = LazyLock::new(|| ETag::of(&ASYNCAPI_BYTES));

/// The HTTP API as OpenAPI 3.1.
#[utoipa::path(get, path = "/openapi.json", tag = "contract", responses((status = 200, description = "The document", body = Object)))]
pub async fn openapi(headers: HeaderMap) -> Response {
    document(&OPENAPI_BYTES, &OPENAPI_TAG, &headers)
}

/// The live feeds as AsyncAPI 3.
#[utoipa::path(get, path = "/asyncapi.json", tag = "contract", responses((status = 200, description = "The document", body = Object)))]
pub async fn asyncapi(headers: HeaderMap) -> Response {
    document(&ASYNCAPI_BYTES, &ASYNCAPI_TAG, &headers)
}

/// A page that shows the HTTP API and tries it.
#[utoipa::path(get, path = "/docs", tag = "contract", responses((status = 200, description = "The page", body = String, content_type = "text/html")))]
pub async fn docs() -> Response {
    ([(header::CONTENT_SECURITY_POLICY, PAGE_POLICY)], Html(PAGE)).into_response()
}

/// A file of that page.
#[utoipa::path(get, path = "/docs/{file}", tag = "contract", params(("file" = String, Path)), responses((status = 200, description = "The file")))]
pub async fn docs_file(Path(file): Path<String>) -> Result<Response, Problem> {
    let body = match file.as_str() {
        "start.js" => Bytes::from_static(START.as_bytes()),
        name if FILES.contains(&name) => {
            let config = Arc::new(Config::from("/openapi.json"));
            let found = utoipa_swagger_ui::serve(name, config).map_err(Problem::internal)?;
            Bytes::from(found.ok_or_else(missing)?.bytes.into_owned())
        }
        _ => return Err(missing()),
    };
    let content_type = match file.rsplit_once('.').map_or("", |(_, end)| end) {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        _ => "image/png",
    };
    let headers = [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "public, max-age=3600")];
    Ok((headers, body).into_response())
}

fn missing() -> Problem {
    Problem::not_found("there is nothing at this path")
}

fn document(body: &Bytes, tag: &ETag, headers: &HeaderMap) -> Response {
    let mut response = if tag.is_known_to(headers) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, "application/json")], body.clone()).into_response()
    };
    response.headers_mut().insert(header::ETAG, tag.header());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

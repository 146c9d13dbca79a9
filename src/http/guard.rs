//! Authorization of requests: reads the credentials, asks the gate, answers 401 and 403.

use std::borrow::Cow;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Problem;
use crate::auth::{AuthError, Credentials, Gate, Identity, Permission};

pub(super) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A WebSocket client that can only name subprotocols sends its token as one: this and the token.
const TOKEN_PROTOCOL: &str = "bearer.";

/// Who sends these headers; `query_token` is for WebSockets, see [`websocket_token`].
pub fn identify(gate: &Gate, headers: &HeaderMap, query_token: Option<&str>) -> Result<Identity, AuthError> {
    // A key that is not even text is a wrong key, not a missing one.
    let api_key = headers.get(X_API_KEY).map(|value| value.to_str().unwrap_or_default());
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = authorization.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    gate.identify(&Credentials { api_key, bearer, query_token })
}

/// The token of a WebSocket upgrade whose client cannot set headers, as browsers cannot: `?token=…` in the query, or a
/// subprotocol `bearer.…`, which the server must not choose in its answer. Other requests get no such way, because
/// queries end in the logs of proxies.
pub fn websocket_token<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> Option<Cow<'a, str>> {
    let from_query = query.and_then(|query| {
        url::form_urlencoded::parse(query.as_bytes()).find_map(|(name, value)| (name == "token").then_some(value))
    });
    from_query.or_else(|| {
        headers
            .get_all(header::SEC_WEBSOCKET_PROTOCOL)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .find_map(|protocol| protocol.trim().strip_prefix(TOKEN_PROTOCOL).map(Cow::Borrowed))
    })
}

/// Middleware: lets through who may do what the method stands for. GET reads, DELETE deletes, the others write.
pub async fn by_method(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let permission = match *request.method() {
        Method::GET | Method::HEAD | Method::OPTIONS => Permission::Read,
        Method::DELETE => Permission::Delete,
        _ => Permission::Write,
    };
    pass(&gate, permission, request, next).await
}

/// Middleware: lets through who may manage.
pub async fn managers_only(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    pass(&gate, Permission::Manage, request, next).await
}

/// Middleware for figures that a monitor on the same machine collects (`/metrics`, `/system-info`): open to loopback
/// peers, and to others who may write. What a reverse proxy on this machine passes on is not a loopback caller's.
pub async fn operators(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let local = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .is_some_and(|ConnectInfo(peer)| peer.ip().to_canonical().is_loopback());
    let forwarded = ["x-forwarded-for", "x-real-ip", "forwarded", "via"];
    if local && !forwarded.iter().any(|name| request.headers().contains_key(*name)) {
        return next.run(request).await;
    }
    pass(&gate, Permission::Write, request, next).await
}

async fn pass(gate: &Gate, permission: Permission, mut request: Request, next: Next) -> Response {
    match authorize(gate, request.headers(), permission) {
        Ok(identity) => {
            request.extensions_mut().insert(identity);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Who is calling, if it may do this; for handlers that decide by themselves.
pub fn authorize(gate: &Gate, headers: &HeaderMap, permission: Permission) -> Result<Identity, Problem> {
    let identity = identify(gate, headers, None)?;
    if identity.may(permission) {
        return Ok(identity);
    }
    tracing::warn!(target: "security", subject = %identity.subject, role = %identity.role, permission = permission.as_str(),
        "permission refused");
    Err(forbidden(permission))
}

/// 403: known, but not allowed this.
pub fn forbidden(permission: Permission) -> Problem {
    let detail = format!("this needs the permission to {}", permission.as_str());
    Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let challenge = match error {
            AuthError::Missing => "Bearer realm=\"fanfare\"",
            AuthError::Expired => {
                "Bearer realm=\"fanfare\", error=\"invalid_token\", error_description=\"the token has expired\""
            }
            _ => "Bearer realm=\"fanfare\", error=\"invalid_token\"",
        };
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", error.to_string())
            .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }
}

/// The caller, in handlers behind one of the middlewares above.
impl<S: Send + Sync> FromRequestParts<S> for Identity {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Identity>().cloned().ok_or_else(|| AuthError::Missing.into())
    }
}

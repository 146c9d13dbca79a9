//! Authorization of requests: reads the credentials, asks the gate, answers 401 and 403.

use std::borrow::Cow;
use std::net::SocketAddr;

use axum::RequestExt;
use axum::extract::{ConnectInfo, FromRequestParts, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Origins, Problem};
use crate::auth::{AuthError, Credentials, Gate, Identity, Permission};

pub(super) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A WebSocket client that can only name subprotocols sends its token as one: this and the token.
const TOKEN_PROTOCOL: &str = "bearer.";

/// Who sends these headers; `query_token` is for WebSockets, see [`websocket_token`].
pub fn identify(gate: &Gate, headers: &HeaderMap, query_token: Option<&str>) -> Result<Identity, AuthError> {
    gate.identify(&credentials(headers, query_token))
}

fn credentials<'a>(headers: &'a HeaderMap, query_token: Option<&'a str>) -> Credentials<'a> {
    // A key that is not even text is a wrong key, not a missing one.
    let api_key = headers.get(X_API_KEY).map(|value| value.to_str().unwrap_or_default());
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.split_once(' '));
    let under = |named: &str| {
        authorization.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(named)).map(|(_, credential)| credential.trim())
    };
    // `apikey` is what some server libraries of the channel protocol write.
    Credentials { api_key: api_key.or_else(|| under("apikey")), bearer: under("bearer"), query_token }
}

/// Where credentials may stand beside the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InUrl {
    Nothing,
    /// See [`websocket_token`].
    StreamToken,
    /// `?key=…`, or `{key}` in the route: for a client that can send no header of its own.
    EventKey,
}

/// Who is calling, found out once a request and kept with it; an extension of requests behind `limits::limit`.
#[derive(Clone)]
pub struct Caller {
    identity: Result<Identity, AuthError>,
    in_url: bool,
}

impl Caller {
    /// Waits for the public key of the caller's token where that is not known yet. Neither counts nor logs a refusal;
    /// whoever refuses does.
    pub(super) async fn of(gate: &Gate, request: &mut Request, in_url: InUrl) -> Self {
        let key = match in_url {
            InUrl::EventKey => event_key(request).await,
            _ => None,
        };
        let token = match in_url {
            InUrl::StreamToken => websocket_token(request.headers(), request.uri().query()),
            _ => None,
        };
        let mut shown = credentials(request.headers(), token.as_deref());
        let in_header = shown.api_key.is_some() || shown.bearer.is_some();
        if !in_header {
            shown.api_key = key.as_deref();
        }
        gate.prepare(&shown).await;
        // In open mode nobody is known by what the URL says.
        let in_url = !in_header && (key.is_some() || token.is_some()) && !gate.is_open();
        Self { identity: gate.examine(&shown), in_url }
    }

    /// The caller, if it is one.
    pub(super) fn known(&self) -> Option<&Identity> {
        self.identity.as_ref().ok()
    }

    async fn taken_from(gate: &Gate, request: &mut Request, in_url: InUrl) -> Self {
        match request.extensions_mut().remove::<Caller>() {
            Some(caller) => caller,
            None => Self::of(gate, request, in_url).await,
        }
    }

    /// Whoever is known by a header; what the URL says is good for streams and events alone.
    async fn by_header(gate: &Gate, request: &mut Request) -> Result<Identity, Problem> {
        let caller = Self::taken_from(gate, request, InUrl::Nothing).await;
        let identity = if caller.in_url { Err(AuthError::Missing) } else { caller.identity };
        Ok(identity.inspect_err(|error| gate.refused(*error))?)
    }
}

async fn event_key(request: &mut Request) -> Option<String> {
    let in_query = request.uri().query().and_then(|query| {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find_map(|(name, value)| (name == "key").then(|| value.into_owned()))
    });
    if in_query.is_some() {
        return in_query;
    }
    let params = request.extract_parts::<RawPathParams>().await.ok()?;
    params.iter().find_map(|(name, value)| (name == "key").then(|| value.to_owned()))
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

/// Middleware: lets through who may read; for questions that are too long for a URL, and so are posted.
pub async fn readers(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    pass(&gate, Permission::Read, request, next).await
}

/// Middleware for what is known about people: each may read what the route's `{id}` says is his own; whoever may write,
/// may do the rest, and delete with the permission for that.
pub async fn people(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let asked = match request.extract_parts::<RawPathParams>().await {
        Ok(params) => params.iter().find(|(name, _)| *name == "id").map(|(_, id)| id.to_owned()),
        Err(_) => None,
    };
    let is_own = |identity: &Identity| reads && asked.as_deref() == Some(&*identity.subject);
    let permission = match *request.method() {
        Method::DELETE => Permission::Delete,
        _ => Permission::Write,
    };
    let caller = Caller::by_header(&gate, &mut request).await;
    let allowed = caller.and_then(|identity| {
        let needed = if is_own(&identity) { Permission::Read } else { permission };
        permit(identity, needed)
    });
    match allowed {
        Ok(identity) => {
            request.extensions_mut().insert(identity);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Middleware: lets through who may write, for reading too: what a back end sees and its users do not.
pub async fn writers(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    pass(&gate, Permission::Write, request, next).await
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

/// Middleware: lets through whoever is known.
pub async fn known(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    match Caller::by_header(&gate, &mut request).await {
        Ok(identity) => {
            request.extensions_mut().insert(identity);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Middleware: lets through who may publish on some channel; on which, the handler asks.
pub async fn publishers(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    match Caller::by_header(&gate, &mut request).await {
        Ok(identity) if identity.publishes() => {
            request.extensions_mut().insert(identity);
            next.run(request).await
        }
        Ok(identity) => refuse(&identity, Permission::Write).into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// Middleware: lets through who may post events: by header as everywhere, or by a key in the URL (`?key=…`, or a route
/// with `{key}`), which must be good for nothing else, because URLs end in logs.
pub async fn event_writers(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let caller = Caller::taken_from(&gate, &mut request, InUrl::EventKey).await;
    let in_url = caller.in_url;
    let identity = match caller.identity.inspect_err(|error| gate.refused(*error)) {
        Ok(identity) => identity,
        Err(error) => return Problem::from(error).into_response(),
    };
    let refusal = if in_url && !identity.only_posts_events() {
        "a key in the URL must have the scope events:write and no other"
    } else if !identity.may_post_events() {
        "this needs the scope events:write"
    } else {
        request.extensions_mut().insert(identity);
        return next.run(request).await;
    };
    tracing::warn!(target: "security", subject = %identity.subject, in_url, "event post refused");
    Problem::new(StatusCode::FORBIDDEN, "forbidden", refusal).into_response()
}

/// Middleware: refuses what a page of another origin sends, in open mode too. Browsers keep such a page from reading the
/// answer, but not every request of its from being carried out.
pub async fn origins(State(origins): State<Origins>, request: Request, next: Next) -> Response {
    if is_own(&origins, request.headers()) {
        return next.run(request).await;
    }
    tracing::warn!(target: "security", "request of another origin refused");
    Problem::new(StatusCode::FORBIDDEN, "origin", "this Origin may not call; see ALLOWED_ORIGINS").into_response()
}

/// Middleware of an open server: refuses names that are not this machine's. See [`Origins::is_local`].
pub async fn local_names(State(origins): State<Origins>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or("not text"));
    // A client without a Host is no browser.
    if host.is_none_or(|host| origins.is_local(host)) {
        return next.run(request).await;
    }
    tracing::warn!(target: "security", "request under a foreign host name refused");
    let detail = "without keys this server answers to names of this machine only; see ALLOWED_ORIGINS";
    Problem::new(StatusCode::FORBIDDEN, "host", detail).into_response()
}

fn is_own(origins: &Origins, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("not text"));
    origins.allows(text(header::ORIGIN), text(header::HOST))
}

async fn pass(gate: &Gate, permission: Permission, mut request: Request, next: Next) -> Response {
    match Caller::by_header(gate, &mut request).await.and_then(|identity| permit(identity, permission)) {
        Ok(identity) => {
            request.extensions_mut().insert(identity);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Who is calling, if it may do this; for handlers that decide by themselves.
pub fn authorize(gate: &Gate, headers: &HeaderMap, permission: Permission) -> Result<Identity, Problem> {
    permit(identify(gate, headers, None)?, permission)
}

fn permit(identity: Identity, permission: Permission) -> Result<Identity, Problem> {
    if identity.may(permission) {
        return Ok(identity);
    }
    Err(refuse(&identity, permission))
}

fn refuse(identity: &Identity, permission: Permission) -> Problem {
    tracing::warn!(target: "security", subject = %identity.subject, role = %identity.role, permission = permission.as_str(),
        "permission refused");
    forbidden(permission)
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

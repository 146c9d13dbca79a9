//! Log-in and log-out. Tokens travel in bodies and headers, never in cookies, so no foreign page can ride on them.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::limits::{Limits, Policy, refusal};
use super::{Json, Problem};
use crate::auth::{AccountError, Accounts, Identity, Session};

/// Who wants in.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogIn {
    #[serde(alias = "username")]
    name: String,
    password: String,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    refresh_token: String,
}

/// Whose tokens are to be void.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    subject: String,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Tokens)]
struct Given {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    refresh_token: String,
    refresh_until: chrono::DateTime<chrono::Utc>,
    subject: String,
    role: &'static str,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Me {
    subject: String,
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<String>,
}

/// `POST /api/v1/auth/login`.
#[utoipa::path(post, path = "/api/v1/auth/login", tag = "accounts", request_body = LogIn, responses((status = 200, description = "Found", body = Given)))]
pub async fn log_in(
    State(accounts): State<Accounts>,
    State(limits): State<Limits>,
    Json(body): Json<LogIn>,
) -> Result<Response, Problem> {
    let account = body.name.trim().to_lowercase();
    limits.log_in_to(&account).await.map_err(|wait| refusal(Policy::LogIn, wait))?;
    Ok(given(accounts.log_in(&body.name, &body.password).await?))
}

/// `POST /api/v1/auth/refresh`.
#[utoipa::path(post, path = "/api/v1/auth/refresh", tag = "accounts", request_body = Refresh, responses((status = 200, description = "Found", body = Given)))]
pub async fn refresh(State(accounts): State<Accounts>, Json(body): Json<Refresh>) -> Result<Response, Problem> {
    Ok(given(accounts.refresh(&body.refresh_token).await?))
}

/// `POST /api/v1/auth/logout`.
#[utoipa::path(post, path = "/api/v1/auth/logout", tag = "accounts", responses((status = 204, description = "Done")))]
pub async fn log_out(State(accounts): State<Accounts>, caller: Identity) -> Result<StatusCode, Problem> {
    accounts.log_out(&caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/v1/auth/revoke`, for admins.
#[utoipa::path(post, path = "/api/v1/auth/revoke", tag = "accounts", request_body = Revoke, responses((status = 204, description = "Done")))]
pub async fn revoke(State(accounts): State<Accounts>, Json(body): Json<Revoke>) -> Result<StatusCode, Problem> {
    if body.subject.is_empty() {
        return Err(Problem::invalid(vec![super::FieldError::new("subject", "cannot be empty")]));
    }
    accounts.revoke_subject(&body.subject).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/v1/auth/me`: who the server takes the caller for.
#[utoipa::path(get, path = "/api/v1/auth/me", tag = "accounts", responses((status = 200, description = "Found", body = Me)))]
pub async fn me(caller: Identity) -> Response {
    let scopes = caller.scopes.as_ref().map(|scopes| scopes.to_string());
    not_kept(Json(Me { subject: caller.subject.to_string(), role: caller.role.as_str(), scopes }))
}

fn given(session: Session) -> Response {
    not_kept(Json(Given {
        access_token: session.access_token,
        token_type: "Bearer",
        expires_in: session.access_ttl_s,
        refresh_token: session.refresh_token,
        refresh_until: session.refresh_until,
        subject: session.subject,
        role: session.role.as_str(),
    }))
}

fn not_kept(body: impl IntoResponse) -> Response {
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], body).into_response()
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Wrong | AccountError::BadRefresh => {
                Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", error.to_string())
                    .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"fanfare\""))
            }
            AccountError::Busy => Problem::unavailable(error.to_string(), 1),
            AccountError::NoSecret | AccountError::Taken => Problem::conflict(error.to_string()),
            AccountError::Unknown => Problem::not_found(error.to_string()),
            AccountError::Name => Problem::invalid(vec![super::FieldError::new("name", error.to_string())]),
            AccountError::Password { .. } => {
                Problem::invalid(vec![super::FieldError::new("password", error.to_string())])
            }
            AccountError::Db(error) => error.into(),
            AccountError::Hash(_) | AccountError::Token(_) => Problem::internal(error),
        }
    }
}

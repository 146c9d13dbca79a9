//! `/api/v2/email`.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::Email;
use crate::feeds::failure::Failure;
use crate::feeds::matching::Matching;
use crate::feeds::page::{PageRequest, Pagination};
use crate::http::{Json, Path, Problem, Query};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListParameters {
    page: Option<i64>,
    limit: Option<i64>,
    user_id: Option<i64>,
    #[param(inline)]
    state: Option<MailState>,
}

#[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum MailState {
    Queued,
    Sent,
    Bounced,
    Failed,
}

/// `{emails, pagination}`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Emails {
    emails: Vec<Email>,
    pagination: Pagination,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = MailPreview)]
pub struct Preview {
    to: String,
    subject: String,
    text: String,
    html: String,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bounce {
    email: String,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Link {
    token: uuid::Uuid,
}

#[utoipa::path(get, path = "/api/v2/email", tag = "mails", params(ListParameters), responses((status = 200, description = "Found", body = Emails)))]
pub async fn list(
    State(matching): State<Matching>,
    Query(given): Query<ListParameters>,
) -> Result<Json<Emails>, Failure> {
    let page = PageRequest::new(given.page, given.limit).map_err(Problem::invalid)?;
    let state = given.state.map(|state| match state {
        MailState::Queued => "queued",
        MailState::Sent => "sent",
        MailState::Bounced => "bounced",
        MailState::Failed => "failed",
    });
    let page = matching.emails(given.user_id, state, page).await?;
    Ok(Json(Emails { emails: page.items, pagination: page.pagination }))
}

#[utoipa::path(get, path = "/api/v2/email/preview/{id}", tag = "mails", params(("id" = i64, Path)), responses((status = 200, description = "Found", body = Preview)))]
pub async fn preview(State(matching): State<Matching>, Path(id): Path<i64>) -> Result<Json<Preview>, Failure> {
    let (user, letter) = matching.preview(id).await?;
    Ok(Json(Preview { to: user.email, subject: letter.subject, text: letter.text, html: letter.html }))
}

#[utoipa::path(post, path = "/api/v2/email/bounces", tag = "mails", request_body = Bounce, responses((status = 204, description = "Done")))]
pub async fn bounce(State(matching): State<Matching>, Json(bounce): Json<Bounce>) -> Result<StatusCode, Failure> {
    matching.bounce(&bounce.email, &bounce.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the link in a mail opens: a button. Programs that look at links must not end anything by looking.
#[utoipa::path(get, path = "/api/v2/email/unsubscribe", tag = "mails", params(Link), responses((status = 200, description = "A page with a button", body = String, content_type = "text/html")))]
pub async fn unsubscribe_page(Query(link): Query<Link>) -> Response {
    // A UUID has no signs that HTML or a URL would take for its own.
    let page = format!(
        "<!doctype html><meta charset=\"utf-8\"><title>Unsubscribe</title><form method=\"post\" \
         action=\"/api/v2/email/unsubscribe?token={}\"><button>配信を停止する / Stop these mails</button></form>",
        link.token
    );
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

/// The button, or a mail program's one click (RFC 8058).
#[utoipa::path(post, path = "/api/v2/email/unsubscribe", tag = "mails", params(Link), responses((status = 200, description = "Done", body = String)))]
pub async fn unsubscribe(State(matching): State<Matching>, Query(link): Query<Link>) -> Result<&'static str, Failure> {
    matching.unsubscribe(&link.token.to_string()).await?;
    Ok("配信を停止しました。 / You will get no more of these mails.\n")
}

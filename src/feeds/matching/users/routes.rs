//! `/api/v2/users`.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::sql::SortBy;
use super::{Behavior, BehaviorAction, ListQuery, NewUser, Profile, User, UserChange, UserStatus};
use crate::feeds::failure::Failure;
use crate::feeds::matching::{Matching, given};
use crate::feeds::page::{Page, PageRequest, Pagination};
use crate::feeds::text::Checks;
use crate::http::{Json, Path, Problem, Query};

/// Every parameter of the list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListParameters {
    page: Option<i64>,
    limit: Option<i64>,
    keyword: Option<String>,
    prefecture: Option<String>,
    #[param(inline)]
    status: Option<UserStatus>,
    #[param(inline)]
    #[serde(default)]
    sort_by: SortBy,
    #[param(inline)]
    #[serde(default)]
    sort_order: Order,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum Order {
    #[default]
    Asc,
    Desc,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PageParameters {
    page: Option<i64>,
    limit: Option<i64>,
}

/// `{users, pagination}`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Users {
    users: Vec<User>,
    pagination: Pagination,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBehavior {
    job_id: i64,
    action: BehaviorAction,
    at: Option<DateTime<Utc>>,
}

#[utoipa::path(post, path = "/api/v2/users", tag = "users", request_body = NewUser, responses((status = 201, description = "Made", body = User)))]
pub async fn create(State(matching): State<Matching>, Json(new): Json<NewUser>) -> Result<Response, Failure> {
    let user = matching.create_user(new).await?;
    let mut response = (StatusCode::CREATED, Json(&user)).into_response();
    if let Ok(location) = HeaderValue::try_from(format!("/api/v2/users/{}", user.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

#[utoipa::path(get, path = "/api/v2/users", tag = "users", params(ListParameters), responses((status = 200, description = "Found", body = Users)))]
pub async fn list(
    State(matching): State<Matching>,
    Query(given): Query<ListParameters>,
) -> Result<Json<Users>, Failure> {
    let page = PageRequest::new(given.page, given.limit).map_err(Problem::invalid)?;
    let mut checks = Checks::default();
    checks.lookup("keyword", given.keyword.as_deref());
    let prefecture = given::prefecture(&mut checks, given.prefecture);
    checks.done().map_err(Problem::invalid)?;
    let query = ListQuery {
        keyword: given.keyword.filter(|text| !text.is_empty()),
        prefecture,
        status: given.status.map(|status| if status == UserStatus::Active { "active" } else { "inactive" }),
        sort_by: given.sort_by,
        descending: given.sort_order == Order::Desc,
    };
    let page = matching.users(&query, page).await?;
    Ok(Json(Users { users: page.items, pagination: page.pagination }))
}

#[utoipa::path(get, path = "/api/v2/users/{id}", tag = "users", params(("id" = i64, Path)), responses((status = 200, description = "Found", body = User)))]
pub async fn get(State(matching): State<Matching>, Path(id): Path<i64>) -> Result<Json<User>, Failure> {
    Ok(Json(matching.user(id).await?))
}

/// PUT and PATCH alike: the fields that are given.
#[utoipa::path(method(put, patch), path = "/api/v2/users/{id}", tag = "users", params(("id" = i64, Path)), request_body = UserChange, responses((status = 200, description = "Found", body = User)))]
pub async fn update(
    State(matching): State<Matching>,
    Path(id): Path<i64>,
    Json(change): Json<UserChange>,
) -> Result<Json<User>, Failure> {
    Ok(Json(matching.update_user(id, change).await?))
}

#[utoipa::path(delete, path = "/api/v2/users/{id}", tag = "users", params(("id" = i64, Path)), responses((status = 204, description = "Done")))]
pub async fn delete(State(matching): State<Matching>, Path(id): Path<i64>) -> Result<StatusCode, Failure> {
    matching.delete_user(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(get, path = "/api/v2/users/{id}/profile", tag = "users", params(("id" = i64, Path)), responses((status = 200, description = "Found", body = Profile)))]
pub async fn profile(State(matching): State<Matching>, Path(id): Path<i64>) -> Result<Json<Profile>, Failure> {
    Ok(Json(matching.user(id).await?.profile()))
}

#[utoipa::path(put, path = "/api/v2/users/{id}/profile", tag = "users", params(("id" = i64, Path)), request_body = Profile, responses((status = 200, description = "Found", body = Profile)))]
pub async fn set_profile(
    State(matching): State<Matching>,
    Path(id): Path<i64>,
    Json(profile): Json<Profile>,
) -> Result<Json<Profile>, Failure> {
    let change = UserChange { profile: Some(profile), ..UserChange::default() };
    Ok(Json(matching.update_user(id, change).await?.profile()))
}

#[utoipa::path(post, path = "/api/v2/users/{id}/behavior", tag = "users", params(("id" = i64, Path)), request_body = NewBehavior, responses((status = 201, description = "Made", body = Behavior)))]
pub async fn log(
    State(matching): State<Matching>,
    Path(id): Path<i64>,
    Json(new): Json<NewBehavior>,
) -> Result<(StatusCode, Json<Behavior>), Failure> {
    let behavior = matching.log_behavior(id, new.job_id, new.action, new.at).await?;
    Ok((StatusCode::CREATED, Json(behavior)))
}

#[utoipa::path(get, path = "/api/v2/users/{id}/behavior", tag = "users", params(("id" = i64, Path), PageParameters), responses((status = 200, description = "Found", body = Page<Behavior>)))]
pub async fn behavior(
    State(matching): State<Matching>,
    Path(id): Path<i64>,
    Query(given): Query<PageParameters>,
) -> Result<Json<Page<Behavior>>, Failure> {
    let page = PageRequest::new(given.page, given.limit).map_err(Problem::invalid)?;
    Ok(Json(matching.behavior(id, page).await?))
}

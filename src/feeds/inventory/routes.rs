//! `/api/v1/inventory`.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::depends::of_item;
use super::{Inventory, Item, ItemChange, ListQuery, NewItem, SortBy};
use crate::db::Moment;
use crate::feeds::cursor::Cursor;
use crate::feeds::failure::Failure;
use crate::feeds::fields::{Fields, FieldsParameter};
use crate::feeds::kept::Kept;
use crate::feeds::page::{Page, PageRequest};
use crate::feeds::text::Checks;
use crate::http::{FieldError, Json, Made, Path, Problem, Query};

/// Every parameter of the list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListParameters {
    page: Option<i64>,
    limit: Option<i64>,
    /// `next_cursor` of the page before; takes the place of `page`.
    cursor: Option<String>,
    /// Names of fields by comma, or `light`.
    fields: Option<String>,
    category: Option<String>,
    #[serde(alias = "is_active")]
    active: Option<bool>,
    #[serde(alias = "is_low_stock")]
    low_stock: Option<bool>,
    /// Whether nothing is available.
    #[serde(alias = "is_out_of_stock")]
    out_of_stock: Option<bool>,
    #[serde(alias = "search", alias = "text")]
    q: Option<String>,
    #[param(inline)]
    #[serde(default)]
    sort_by: SortBy,
    #[param(inline)]
    #[serde(default)]
    sort_order: SortOrder,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum SortOrder {
    #[default]
    Asc,
    Desc,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Adjustment {
    /// What to add; negative to take away.
    delta: i64,
}

#[utoipa::path(post, path = "/api/v1/inventory", tag = "inventory", request_body = NewItem, responses((status = 201, description = "Made", body = Item)))]
pub async fn create(State(inventory): State<Inventory>, Json(new): Json<NewItem>) -> Result<Response, Failure> {
    let item = inventory.create(new).await?;
    let mut response = (StatusCode::CREATED, Json(&item)).into_response();
    if let Ok(location) = HeaderValue::try_from(format!("/api/v1/inventory/{}", item.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

#[utoipa::path(get, path = "/api/v1/inventory", tag = "inventory", params(ListParameters), responses((status = 200, description = "Found", body = Page<Item>)))]
pub async fn list(
    State(inventory): State<Inventory>,
    State(kept): State<Kept>,
    headers: HeaderMap,
    Query(parameters): Query<ListParameters>,
) -> Result<Response, Failure> {
    let page = PageRequest::new(parameters.page, parameters.limit).map_err(Problem::invalid)?;
    let mut checks = Checks::default();
    checks.lookup("category", parameters.category.as_deref());
    checks.lookup("q", parameters.q.as_deref());
    checks.done().map_err(Problem::invalid)?;
    let fields = Fields::parse(parameters.fields.as_deref(), Item::FIELDS, Item::LIGHT).map_err(invalid)?;
    let mut query = ListQuery {
        category: parameters.category,
        active: parameters.active,
        low_stock: parameters.low_stock,
        out_of_stock: parameters.out_of_stock,
        text: parameters.q.filter(|text| !text.is_empty()),
        sort_by: parameters.sort_by,
        descending: parameters.sort_order == SortOrder::Desc,
        after: None,
    };
    query.after = Cursor::parse(parameters.cursor.as_deref(), parameters.page, &query.order()).map_err(invalid)?;
    let page = query.after.as_ref().map_or(page, |after| PageRequest { page: after.page, ..page });
    let key = format!("inventory {query:?} {page:?} {fields:?}");
    let list = |now: Option<Moment>| async move {
        let page = inventory.list(&query, page, now).await?;
        Ok(Made { body: page.body(&fields)?, depends: query.page_depends(&page.items) })
    };
    Ok(kept.list(&key, list).await?.respond(&headers))
}

#[utoipa::path(get, path = "/api/v1/inventory/{id}", tag = "inventory", params(("id" = i64, Path), FieldsParameter), responses((status = 200, description = "Found", body = Item)))]
pub async fn get(
    State(inventory): State<Inventory>,
    State(kept): State<Kept>,
    headers: HeaderMap,
    Path(id): Path<i64>,
    Query(parameters): Query<FieldsParameter>,
) -> Result<Response, Failure> {
    let fields = parameters.read(Item::FIELDS, Item::LIGHT)?;
    let item = |_| async {
        let body = fields.of(&inventory.get(id).await?)?;
        Ok(Made { body, depends: of_item(id) })
    };
    Ok(kept.row(&format!("item {id} {fields:?}"), item).await?.respond(&headers))
}

/// PUT and PATCH alike: the fields that are given.
#[utoipa::path(method(put, patch), path = "/api/v1/inventory/{id}", tag = "inventory", params(("id" = i64, Path)), request_body = ItemChange, responses((status = 200, description = "Found", body = Item)))]
pub async fn update(
    State(inventory): State<Inventory>,
    Path(id): Path<i64>,
    Json(change): Json<ItemChange>,
) -> Result<Json<Item>, Failure> {
    Ok(Json(inventory.update(id, change).await?))
}

#[utoipa::path(delete, path = "/api/v1/inventory/{id}", tag = "inventory", params(("id" = i64, Path)), responses((status = 204, description = "Done")))]
pub async fn delete(State(inventory): State<Inventory>, Path(id): Path<i64>) -> Result<StatusCode, Failure> {
    inventory.delete(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(post, path = "/api/v1/inventory/{id}/adjust", tag = "inventory", params(("id" = i64, Path)), request_body = Adjustment, responses((status = 200, description = "Found", body = Item)))]
pub async fn adjust(
    State(inventory): State<Inventory>,
    Path(id): Path<i64>,
    Json(adjustment): Json<Adjustment>,
) -> Result<Json<Item>, Failure> {
    Ok(Json(inventory.adjust(id, adjustment.delta).await?))
}

fn invalid(error: FieldError) -> Problem {
    Problem::invalid(vec![error])
}

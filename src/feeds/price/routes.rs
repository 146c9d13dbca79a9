//! `/api/v1/prices`.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::{Author, HistoryRow, ListQuery, NewPrice, Price, PriceChange, Prices};
use crate::auth::Identity;
use crate::db::Moment;
use crate::feeds::cursor::Cursor;
use crate::feeds::failure::Failure;
use crate::feeds::fields::{Fields, FieldsParameter};
use crate::feeds::kept::Kept;
use crate::feeds::noted::{PRICE_HISTORY, PRICES, of_prices};
use crate::feeds::page::{Page, PageRequest};
use crate::feeds::text::Checks;
use crate::http::{Answer, FieldError, Json, Made, Path, Problem, Query};

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
    inventory_id: Option<i64>,
    sku: Option<String>,
    currency: Option<String>,
    #[serde(alias = "is_active")]
    active: Option<bool>,
    #[serde(alias = "requires_approval")]
    pending: Option<bool>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct HistoryParameters {
    page: Option<i64>,
    limit: Option<i64>,
    /// `next_cursor` of the page before; takes the place of `page`.
    cursor: Option<String>,
    inventory_id: Option<i64>,
}

#[utoipa::path(post, path = "/api/v1/prices", tag = "prices", request_body = super::validate::CreateBody, responses((status = 201, description = "Made", body = Price)))]
pub async fn create(
    State(prices): State<Prices>,
    caller: Identity,
    Json(new): Json<NewPrice>,
) -> Result<Response, Failure> {
    let price = prices.create(new, &caller.subject).await?;
    let mut response = (StatusCode::CREATED, Json(&price)).into_response();
    if let Ok(location) = HeaderValue::try_from(format!("/api/v1/prices/{}", price.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

#[utoipa::path(get, path = "/api/v1/prices", tag = "prices", params(ListParameters), responses((status = 200, description = "Found", body = Page<Price>)))]
pub async fn list(
    State(prices): State<Prices>,
    State(kept): State<Kept>,
    headers: HeaderMap,
    Query(parameters): Query<ListParameters>,
) -> Result<Response, Failure> {
    let page = PageRequest::new(parameters.page, parameters.limit).map_err(Problem::invalid)?;
    let mut checks = Checks::default();
    checks.lookup("sku", parameters.sku.as_deref());
    checks.lookup("currency", parameters.currency.as_deref());
    checks.done().map_err(Problem::invalid)?;
    let fields = Fields::parse(parameters.fields.as_deref(), Price::FIELDS, Price::LIGHT).map_err(invalid)?;
    let after = Cursor::parse(parameters.cursor.as_deref(), parameters.page, "prices").map_err(invalid)?;
    let query = ListQuery {
        inventory_id: parameters.inventory_id,
        sku: parameters.sku.map(|sku| sku.to_ascii_uppercase()),
        currency: parameters.currency.map(|currency| currency.to_ascii_uppercase()),
        active: parameters.active,
        pending: parameters.pending,
        after: after.as_ref().map(|after| after.id),
    };
    let page = after.map_or(page, |after| PageRequest { page: after.page, ..page });
    let key = format!("prices {query:?} {page:?} {fields:?}");
    let list = |now: Option<Moment>| async move {
        let page = prices.list(&query, page, now).await?;
        Ok(Made { body: page.body(&fields)?, depends: of_prices(PRICES) })
    };
    Ok(kept.list(&key, list).await?.respond(&headers))
}

#[utoipa::path(get, path = "/api/v1/prices/{id}", tag = "prices", params(("id" = i64, Path), FieldsParameter), responses((status = 200, description = "Found", body = Price)))]
pub async fn get(
    State(prices): State<Prices>,
    headers: HeaderMap,
    Path(id): Path<i64>,
    Query(parameters): Query<FieldsParameter>,
) -> Result<Response, Failure> {
    let fields = parameters.read(Price::FIELDS, Price::LIGHT)?;
    Ok(Answer::new(fields.of(&prices.get(id).await?)?).respond(&headers))
}

/// PUT and PATCH alike: the fields that are given.
#[utoipa::path(method(put, patch), path = "/api/v1/prices/{id}", tag = "prices", params(("id" = i64, Path)), request_body = super::validate::ChangeBody, responses((status = 200, description = "Found", body = Price)))]
pub async fn update(
    State(prices): State<Prices>,
    caller: Identity,
    Path(id): Path<i64>,
    Json(change): Json<PriceChange>,
) -> Result<Json<Price>, Failure> {
    Ok(Json(prices.update(id, change, &caller.subject).await?))
}

#[utoipa::path(delete, path = "/api/v1/prices/{id}", tag = "prices", params(("id" = i64, Path)), responses((status = 204, description = "Done")))]
pub async fn delete(
    State(prices): State<Prices>,
    caller: Identity,
    Path(id): Path<i64>,
) -> Result<StatusCode, Failure> {
    prices.delete(id, &caller.subject).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The history of the item that a price is for.
#[utoipa::path(get, path = "/api/v1/prices/{id}/history", tag = "prices", params(("id" = i64, Path), HistoryParameters), responses((status = 200, description = "Found", body = Page<HistoryRow>)))]
pub async fn history_of(
    State(prices): State<Prices>,
    State(kept): State<Kept>,
    headers: HeaderMap,
    Path(id): Path<i64>,
    Query(parameters): Query<HistoryParameters>,
) -> Result<Response, Failure> {
    let price = prices.get(id).await?;
    listed(&prices, &kept, &headers, HistoryParameters { inventory_id: Some(price.inventory_id), ..parameters }).await
}

#[utoipa::path(get, path = "/api/v1/prices/history", tag = "prices", params(HistoryParameters), responses((status = 200, description = "Found", body = Page<HistoryRow>)))]
pub async fn history(
    State(prices): State<Prices>,
    State(kept): State<Kept>,
    headers: HeaderMap,
    Query(parameters): Query<HistoryParameters>,
) -> Result<Response, Failure> {
    listed(&prices, &kept, &headers, parameters).await
}

async fn listed(
    prices: &Prices,
    kept: &Kept,
    headers: &HeaderMap,
    asked: HistoryParameters,
) -> Result<Response, Failure> {
    let page = PageRequest::new(asked.page, asked.limit).map_err(Problem::invalid)?;
    let after = Cursor::parse(asked.cursor.as_deref(), asked.page, "history").map_err(invalid)?;
    let page = after.as_ref().map_or(page, |after| PageRequest { page: after.page, ..page });
    let (item, after) = (asked.inventory_id, after.map(|after| after.id));
    let key = format!("price history {item:?} {after:?} {page:?}");
    let list = |now: Option<Moment>| async move {
        let page = prices.history(item, after, page, now).await?;
        Ok(Made { body: page.body(&Fields::default())?, depends: of_prices(PRICE_HISTORY) })
    };
    Ok(kept.list(&key, list).await?.respond(headers))
}

/// Applies the price that awaits approval. A body may say why.
#[utoipa::path(post, path = "/api/v1/prices/{id}/approve", tag = "prices", params(("id" = i64, Path)), request_body = Option<Author>, responses((status = 200, description = "Found", body = Price)))]
pub async fn approve(
    State(prices): State<Prices>,
    caller: Identity,
    Path(id): Path<i64>,
    body: bytes::Bytes,
) -> Result<Json<Price>, Failure> {
    Ok(Json(prices.decide(id, true, author(&body)?, &caller.subject).await?))
}

/// Discards the price that awaits approval. A body may say why.
#[utoipa::path(post, path = "/api/v1/prices/{id}/reject", tag = "prices", params(("id" = i64, Path)), request_body = Option<Author>, responses((status = 200, description = "Found", body = Price)))]
pub async fn reject(
    State(prices): State<Prices>,
    caller: Identity,
    Path(id): Path<i64>,
    body: bytes::Bytes,
) -> Result<Json<Price>, Failure> {
    Ok(Json(prices.decide(id, false, author(&body)?, &caller.subject).await?))
}

fn author(body: &[u8]) -> Result<Author, Problem> {
    if body.is_empty() { Ok(Author::default()) } else { crate::http::parse(body) }
}

fn invalid(error: FieldError) -> Problem {
    Problem::invalid(vec![error])
}

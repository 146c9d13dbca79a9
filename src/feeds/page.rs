//! Lists in pages.

use serde::Serialize;

use super::fields::Fields;
use crate::http::{FieldError, Problem};

/// Which page of a list, checked.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest {
    pub page: i64,
    pub limit: i64,
}

impl PageRequest {
    pub const DEFAULT_LIMIT: i64 = 50;
    pub const MAX_LIMIT: i64 = 1000;
    const MAX_PAGE: i64 = 1_000_000;

    pub fn new(page: Option<i64>, limit: Option<i64>) -> Result<Self, Vec<FieldError>> {
        let (page, limit) = (page.unwrap_or(1), limit.unwrap_or(Self::DEFAULT_LIMIT));
        let mut errors = Vec::new();
        if !(1..=Self::MAX_PAGE).contains(&page) {
            errors.push(FieldError::new("page", "is from 1 to 1000000"));
        }
        if !(1..=Self::MAX_LIMIT).contains(&limit) {
            errors.push(FieldError::new("limit", "is from 1 to 1000"));
        }
        if errors.is_empty() { Ok(Self { page, limit }) } else { Err(errors) }
    }

    pub fn offset(self) -> i64 {
        (self.page - 1) * self.limit
    }
}

/// `{items, pagination}`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub pagination: Pagination,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Pagination {
    pub page: i64,
    pub limit: i64,
    pub total_items: i64,
    pub total_pages: i64,
    pub has_next: bool,
    pub has_prev: bool,
    /// Where the next page begins, for `cursor`; absent on the last page and where a list has no cursors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    pub fn new(items: Vec<T>, request: PageRequest, total_items: i64) -> Self {
        let PageRequest { page, limit } = request;
        let total_pages = (total_items + limit - 1) / limit;
        let has_prev = page > 1 && total_items > 0;
        let pagination = Pagination {
            page,
            limit,
            total_items,
            total_pages,
            has_next: page < total_pages,
            has_prev,
            next_cursor: None,
        };
        Self { items, pagination }
    }

    /// `items` has one more than the page when something follows; `cursor` leads behind the last one that is kept.
    pub fn keyed(mut items: Vec<T>, request: PageRequest, total: i64, cursor: impl Fn(&T, i64) -> String) -> Self {
        let more = items.len() as i64 > request.limit;
        items.truncate(usize::try_from(request.limit).unwrap_or(0));
        let next_cursor = items.last().filter(|_| more).map(|last| cursor(last, request.page + 1));
        let mut page = Self::new(items, request, total);
        page.pagination.has_next = more;
        page.pagination.next_cursor = next_cursor;
        page
    }
}

impl<T: Serialize> Page<T> {
    /// As JSON, each item with the fields that were asked for.
    pub fn body(&self, fields: &Fields) -> Result<Vec<u8>, Problem> {
        let body = match fields.of_each(&self.items)? {
            None => serde_json::to_vec(self),
            Some(items) => serde_json::to_vec(&Page { items, pagination: self.pagination.clone() }),
        };
        body.map_err(Problem::internal)
    }
}

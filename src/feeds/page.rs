//! Lists in pages.

use serde::Serialize;

use crate::http::FieldError;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Pagination {
    pub page: i64,
    pub limit: i64,
    pub total_items: i64,
    pub total_pages: i64,
    pub has_next: bool,
    pub has_prev: bool,
}

impl<T> Page<T> {
    pub fn new(items: Vec<T>, request: PageRequest, total_items: i64) -> Self {
        let PageRequest { page, limit } = request;
        let total_pages = (total_items + limit - 1) / limit;
        let has_prev = page > 1 && total_items > 0;
        let pagination = Pagination { page, limit, total_items, total_pages, has_next: page < total_pages, has_prev };
        Self { items, pagination }
    }
}

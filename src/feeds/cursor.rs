//! Where a page of a list begins: behind a row, so that a far page costs no more than the first, and rows that come and go
//! meanwhile move nothing.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::http::FieldError;

/// The last row of the page before. To clients a text that they hand back.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Cursor {
    /// Which page it leads to.
    pub page: i64,
    /// What the list is sorted by: a cursor is good for no other order.
    pub by: String,
    /// What the row is sorted by.
    pub value: Value,
    pub id: i64,
}

impl Cursor {
    pub fn encode(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads `cursor`; `page` is the parameter beside it, and is refused there.
    pub fn parse(cursor: Option<&str>, page: Option<i64>, by: &str) -> Result<Option<Self>, FieldError> {
        let Some(text) = cursor else { return Ok(None) };
        if page.is_some() {
            return Err(FieldError::new("cursor", "stands for the page; leave out page"));
        }
        let found: Option<Self> =
            BASE64_URL_SAFE_NO_PAD.decode(text).ok().and_then(|json| serde_json::from_slice(&json).ok());
        let found = found.filter(|cursor| cursor.by == by && (1..=1_000_000).contains(&cursor.page));
        found.map(Some).ok_or_else(|| FieldError::new("cursor", "is none that this list, so sorted, has given"))
    }
}

/// A cursor of a list that is sorted by its ids.
pub fn by_id(by: &str, id: i64, page: i64) -> String {
    Cursor { page, by: by.to_owned(), value: Value::Null, id }.encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_fits_its_own_order_only() {
        let cursor = Cursor { page: 3, by: "name".into(), value: "Tea".into(), id: 9 };
        let text = cursor.encode();
        assert_eq!(Cursor::parse(Some(&text), None, "name"), Ok(Some(cursor)));
        assert_eq!(Cursor::parse(None, Some(2), "name"), Ok(None));
        assert!(Cursor::parse(Some(&text), None, "sku").is_err());
        assert!(Cursor::parse(Some(&text), Some(1), "name").is_err());
        assert!(Cursor::parse(Some("e30"), None, "name").is_err() && Cursor::parse(Some("?"), None, "name").is_err());
    }
}

//! What a WebSocket endpoint is, in the stream's terms. The feeds themselves are listed where the business is.

/// A named set of channels, and the query parameters by which a client can narrow it.
#[derive(Debug)]
pub struct FeedSpec {
    /// The label in metrics and logs.
    pub name: &'static str,
    pub channels: &'static [&'static str],
    pub filters: &'static [FilterParam],
}

/// A query parameter such as `?sku=A,B`.
#[derive(Debug)]
pub struct FilterParam {
    pub name: &'static str,
    /// The tags or top-level fields that it looks at; one of them must have one of the values.
    pub fields: &'static [&'static str],
    /// Values are compared in upper case, as the fields are stored.
    pub upper_case: bool,
}

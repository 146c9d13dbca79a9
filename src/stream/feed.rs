//! What a WebSocket endpoint is, in the stream's terms. The feeds themselves are listed where the business is.

use serde::Deserialize;

/// A named set of channels, and the query parameters by which a client can narrow it.
#[derive(Debug)]
pub struct FeedSpec {
    /// The label in metrics and logs.
    pub name: &'static str,
    pub channels: &'static [&'static str],
    pub filters: &'static [FilterParam],
    /// What may be folded: messages that hold a state, each newer one making the older one needless. Alerts and
    /// anything else that is not listed never is.
    pub folds: &'static [FoldRule],
    /// What belongs to single users, if anything does.
    pub own: Option<OwnRule>,
}

/// Each message of `channel` is for the user that its `field` names, and for whoever may write. One that names nobody is
/// for the latter alone.
#[derive(Debug)]
pub struct OwnRule {
    pub channel: &'static str,
    pub field: &'static str,
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

/// Messages of a channel that have the same values in `key` may become one.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct FoldRule {
    pub channel: &'static str,
    pub key: &'static [&'static str],
    /// Numbers whose least and greatest are kept.
    pub values: &'static [&'static str],
}

/// What happens when more waits for a client than its budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// It is closed with 3008 and told where to resume.
    #[default]
    Close,
    /// Of what is on top of the budget only the latest message of each key waits, and says what it stands for.
    KeepLatest,
}

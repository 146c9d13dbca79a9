//! The schema of each message that feeds carry, and of the server's own words. `messages.json` holds them, with examples.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::feeds;

/// What a channel carries.
pub struct ChannelMessages {
    pub channel: &'static str,
    /// The `message_type`s, which are the schemas' names too.
    pub messages: &'static [&'static str],
}

/// Every channel of the five feeds. A test compares this with [`feeds::ALL`].
pub const CHANNELS: &[ChannelMessages] = &[
    ChannelMessages { channel: feeds::SYSTEM_NOTIFICATIONS, messages: &["system_notification"] },
    ChannelMessages { channel: feeds::INVENTORY_UPDATES, messages: &["inventory_update"] },
    ChannelMessages { channel: feeds::STOCK_ALERTS, messages: &["stock_alert"] },
    ChannelMessages { channel: feeds::PRICE_UPDATES, messages: &["price_update"] },
    ChannelMessages { channel: feeds::PRICE_ALERTS, messages: &["price_alert"] },
    ChannelMessages { channel: feeds::PROGRESS_EVENTS, messages: &["progress_event", "progress_signal"] },
    ChannelMessages { channel: feeds::MATCH_NOTIFICATIONS, messages: &["match_notification"] },
    ChannelMessages { channel: feeds::BATCH_PROGRESS, messages: &["batch_progress"] },
];

/// What the server says on its own account, on every feed.
pub const CONTROL: &[&str] =
    &["subscribed", "snapshot", "included", "gap", "stale", "live", "reconnect", "presence", "pong"];

static SCHEMAS: LazyLock<Map<String, Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("messages.json")).unwrap_or_default());

/// Everything that `messages.json` holds, by name; `ping` is what clients send.
pub fn all() -> impl Iterator<Item = (&'static str, &'static Value)> {
    SCHEMAS.iter().filter(|(name, _)| !name.starts_with('$')).map(|(name, schema)| (name.as_str(), schema))
}

/// One message's schema, with the definitions that it refers to.
pub fn schema(name: &str) -> Value {
    let mut schema = SCHEMAS.get(name).cloned().unwrap_or(Value::Bool(false));
    if let (Some(fields), Some(shared)) = (schema.as_object_mut(), SCHEMAS.get("$defs")) {
        fields.insert("$defs".into(), shared.clone());
    }
    schema
}

/// The definitions that schemas share.
pub fn shared() -> &'static Value {
    SCHEMAS.get("$defs").unwrap_or(&Value::Null)
}

//! The five live feeds: their channels and filters.

use crate::stream::{FeedSpec, FilterParam, FoldRule, OwnRule};

pub const SYSTEM_NOTIFICATIONS: &str = "system:notifications";
pub const INVENTORY_UPDATES: &str = "inventory:updates";
pub const STOCK_ALERTS: &str = "stock:alerts";
pub const PRICE_UPDATES: &str = "price:updates";
pub const PRICE_ALERTS: &str = "price:alerts";
pub const PROGRESS_EVENTS: &str = "progress:events";
pub const MATCH_NOTIFICATIONS: &str = "match:notifications";
pub const BATCH_PROGRESS: &str = "batch:progress";

const SKU: FilterParam = FilterParam { name: "sku", fields: &["sku"], upper_case: true };
const CATEGORY: FilterParam = FilterParam { name: "category", fields: &["category"], upper_case: false };

/// `/ws`
pub static NOTICES: FeedSpec =
    FeedSpec { name: "general", channels: &[SYSTEM_NOTIFICATIONS], filters: &[], folds: &[], own: None };

/// `/ws/inventory`
pub static INVENTORY: FeedSpec = FeedSpec {
    name: "inventory",
    channels: &[INVENTORY_UPDATES, STOCK_ALERTS],
    filters: &[SKU, CATEGORY],
    folds: &[FoldRule { channel: INVENTORY_UPDATES, key: &["sku"], values: &["stock_quantity", "available_quantity"] }],
    own: None,
};

/// `/ws/price`
pub static PRICE: FeedSpec = FeedSpec {
    name: "price",
    channels: &[PRICE_UPDATES, PRICE_ALERTS],
    filters: &[SKU, CATEGORY],
    folds: &[FoldRule { channel: PRICE_UPDATES, key: &["sku", "currency"], values: &["new_price"] }],
    own: None,
};

/// `/ws/progress`
pub static PROGRESS: FeedSpec = FeedSpec {
    name: "progress",
    channels: &[PROGRESS_EVENTS],
    filters: &[
        FilterParam { name: "student", fields: &["userId", "emailAddress"], upper_case: false },
        FilterParam { name: "notebook", fields: &["notebookPath"], upper_case: false },
        FilterParam { name: "class", fields: &["class"], upper_case: false },
        FilterParam { name: "team", fields: &["teamName"], upper_case: false },
    ],
    folds: &[FoldRule { channel: PROGRESS_EVENTS, key: &["userId", "cellId"], values: &["executionDurationMs"] }],
    own: None,
};

/// `/ws/match`
pub static MATCHING: FeedSpec = FeedSpec {
    name: "match",
    channels: &[MATCH_NOTIFICATIONS, BATCH_PROGRESS],
    filters: &[
        FilterParam { name: "batch_id", fields: &["batch_id"], upper_case: false },
        FilterParam { name: "user_id", fields: &["user_id"], upper_case: false },
    ],
    folds: &[FoldRule { channel: BATCH_PROGRESS, key: &["batch_id", "state"], values: &["processed", "failed"] }],
    own: Some(OwnRule { channel: MATCH_NOTIFICATIONS, field: "user_id" }),
};

/// The same as server-sent events.
pub static EVENTS: [(&str, &FeedSpec); 5] = [
    ("/sse", &NOTICES),
    ("/sse/inventory", &INVENTORY),
    ("/sse/price", &PRICE),
    ("/sse/progress", &PROGRESS),
    ("/sse/match", &MATCHING),
];

/// Every feed by the path of its WebSocket.
pub static ALL: [(&str, &FeedSpec); 5] = [
    ("/ws", &NOTICES),
    ("/ws/inventory", &INVENTORY),
    ("/ws/price", &PRICE),
    ("/ws/progress", &PROGRESS),
    ("/ws/match", &MATCHING),
];

//! What the triggers of migration 0075 note of a change.

use crate::db::Depends;

pub const ITEMS: &str = "items";
pub const PRICES: &str = "prices";
pub const PRICE_HISTORY: &str = "price_history";

/// The bits of items: which columns have changed.
pub mod item {
    /// The row came or went.
    pub const MEMBERS: u32 = 1;
    pub const SKU: u32 = 2;
    pub const NAME: u32 = 4;
    pub const DESCRIPTION: u32 = 8;
    pub const CATEGORY: u32 = 16;
    pub const STOCK: u32 = 32;
    pub const AVAILABLE: u32 = 64;
    /// From low to not low, or back.
    pub const LOW: u32 = 128;
    pub const ACTIVE: u32 = 256;
    pub const CREATED: u32 = 512;
    pub const UPDATED: u32 = 1024;
}

/// Of what is made of prices, or of their history, and shows the names of their items.
pub fn of_prices(scope: &'static str) -> Depends {
    let names = item::MEMBERS | item::SKU | item::NAME | item::CATEGORY;
    Depends::default().on(ITEMS, names, []).on(scope, !0, [])
}

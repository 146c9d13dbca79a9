//! What answers about items are made of: a change of an item makes those old that it can have altered, and no others.

use super::{Item, ListQuery, SortBy};
use crate::db::Depends;
use crate::feeds::noted::{ITEMS, item as column};

impl ListQuery {
    /// Columns that decide which items are in the list.
    fn membership(&self) -> u32 {
        let narrowed = [
            (self.category.is_some(), column::CATEGORY),
            (self.active.is_some(), column::ACTIVE),
            (self.low_stock.is_some(), column::LOW),
            (self.out_of_stock.is_some(), column::AVAILABLE),
            (self.text.is_some(), column::SKU | column::NAME | column::DESCRIPTION),
        ];
        narrowed.iter().filter(|(is, _)| *is).fold(column::MEMBERS, |columns, (_, more)| columns | more)
    }

    /// The column that decides where in the list an item stands.
    fn order_column(&self) -> u32 {
        match self.sort_by {
            // An item that gets another id comes and goes.
            SortBy::Id => 0,
            SortBy::Sku => column::SKU,
            SortBy::Name => column::NAME,
            SortBy::Category => column::CATEGORY,
            SortBy::StockQuantity => column::STOCK,
            SortBy::AvailableQuantity => column::AVAILABLE,
            SortBy::CreatedAt => column::CREATED,
            SortBy::UpdatedAt => column::UPDATED,
        }
    }

    /// Of how many there are.
    pub(super) fn total_depends(&self) -> Depends {
        Depends::default().on(ITEMS, self.membership(), [])
    }

    /// Of a page: whatever changes in one of its items, and what can bring others in.
    pub fn page_depends(&self, items: &[Item]) -> Depends {
        Depends::default().on(ITEMS, self.membership() | self.order_column(), items.iter().map(|item| item.id))
    }
}

/// Of one item.
pub(super) fn of_item(id: i64) -> Depends {
    Depends::default().on(ITEMS, 0, [id])
}

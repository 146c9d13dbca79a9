//! Many writers of one item's prices at once.

use fanfare::feeds::page::PageRequest;
use fanfare::feeds::price::{Author, ListQuery};
use serde_json::json;

use crate::rows_kit::{Rows, body};

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_one_items_prices_take_turns() {
    for rows in Rows::both().await {
        let item = rows.inventory.create(body(json!({"sku": "RACE", "name": "x"}))).await.unwrap().id;
        let first = json!({"inventory_id": item, "selling_price": 1000});
        let first = rows.prices.create(body(first), "tester").await.unwrap().id;
        let writers = (0..60_i64).map(|i| {
            let prices = rows.prices.clone();
            tokio::spawn(async move {
                match i % 3 {
                    0 => {
                        let new = json!({"inventory_id": item, "selling_price": 1000 + i});
                        prices.create(body(new), "a").await.map(|_| ())
                    }
                    1 => {
                        let change = json!({"selling_price": 1000 + i, "is_active": true});
                        prices.update(first, body(change), "b").await.map(|_| ())
                    }
                    _ => {
                        let new = json!({"inventory_id": item, "selling_price": 1000 + i, "requires_approval": true});
                        let waiting = prices.create(body(new), "c").await.expect("created");
                        prices.decide(waiting.id, true, Author::default(), "boss").await.map(|_| ())
                    }
                }
            })
        });
        for done in writers.collect::<Vec<_>>() {
            done.await.unwrap().unwrap_or_else(|failure| panic!("on {}: {failure:?}", rows.db.engine()));
        }
        let (active, page) =
            (ListQuery { active: Some(true), ..Default::default() }, PageRequest::new(None, None).unwrap());
        let active = rows.prices.list(&active, page, None).await.unwrap().items;
        assert_eq!(active.len(), 1, "one price is in force on {}", rows.db.engine());
        // The history is one chain: each change begins where the one before it ended, and ends at the active price.
        let history = rows
            .prices
            .history(Some(item), None, PageRequest::new(None, Some(1000)).unwrap(), None)
            .await
            .unwrap()
            .items;
        assert_eq!(history[0].new_price, Some(active[0].selling_price));
        for pair in history.windows(2) {
            assert_eq!(pair[0].old_price, pair[1].new_price, "on {}", rows.db.engine());
        }
    }
}

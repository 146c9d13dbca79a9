//! Items: every rule and every statement, on both engines.

use fanfare::feeds::inventory::{Item, ListQuery, NewItem};
use fanfare::feeds::page::PageRequest;
use proptest::prelude::*;
use serde_json::json;

use crate::rows_kit::{Rows, body};

async fn create(rows: &Rows, json: serde_json::Value) -> Item {
    rows.inventory.create(body(json)).await.expect("created")
}

fn status<T: std::fmt::Debug>(failed: Result<T, impl axum::response::IntoResponse>) -> u16 {
    failed.expect_err("refused").into_response().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_lives_alike_on_both_engines() {
    let mut stories = Vec::new();
    for rows in Rows::both().await {
        let item = create(
            &rows,
            json!({"sku": "desk-01", "name": "  机 Desk ", "category": "家具", "stock_quantity": 12, "weight": 1250.5,
                   "cost_price": "199.99", "description": "two\nlines"}),
        )
        .await;
        assert_eq!((item.sku.as_str(), item.name.as_str()), ("DESK-01", "机 Desk"));
        assert_eq!((item.min_stock_level, item.max_stock_level, item.is_active), (10, 1000, true));
        assert_eq!(item.weight.unwrap().to_string(), "1250.5");
        assert_eq!(status(rows.inventory.create(body(json!({"sku": "DESK-01", "name": "again"}))).await), 409);

        let change = json!({"category": null, "reserved_quantity": 20, "name": "Desk"});
        let item = rows.inventory.update(item.id, body(change)).await.unwrap();
        assert_eq!((item.category.clone(), item.available_quantity, item.is_low_stock), (None, 0, true));
        assert_eq!(rows.inventory.get(item.id).await.unwrap(), item);
        assert_eq!(status(rows.inventory.update(item.id, body(json!({"min_stock_level": 2000}))).await), 422);
        let other = create(&rows, json!({"sku": "other", "name": "Other"})).await;
        assert_eq!(status(rows.inventory.update(other.id, body(json!({"sku": "desk-01"}))).await), 409);

        let item = rows.inventory.adjust(item.id, -5).await.unwrap();
        assert_eq!(item.stock_quantity, 7);
        assert_eq!(status(rows.inventory.adjust(item.id, -8).await), 409);
        assert_eq!(status(rows.inventory.adjust(item.id, 0).await), 422);
        assert_eq!(status(rows.inventory.adjust(9999, 1).await), 404);
        rows.inventory.delete(item.id).await.unwrap();
        assert_eq!(status(rows.inventory.get(item.id).await), 404);
        assert_eq!(status(rows.inventory.delete(item.id).await), 404);

        let mut staged = rows.staged().await;
        for (_, message) in &mut staged {
            let message = message.as_object_mut().unwrap();
            let at = message.remove("timestamp").expect("a timestamp");
            // A refused insert uses up an id on PostgreSQL, so ids may differ.
            assert!(message.remove("item_id").expect("an id").as_i64() >= Some(1));
            assert!(at.as_str().unwrap().ends_with('Z'));
        }
        stories.push(staged);
    }
    assert_eq!(stories[0], stories[1], "both engines tell the same");
    let told: Vec<(&str, &str)> =
        stories[0].iter().map(|(channel, it)| (channel.as_str(), it["action"].as_str().unwrap_or("alert"))).collect();
    let (updates, alerts) = ("inventory:updates", "stock:alerts");
    let expected = [
        (updates, "created"),
        (updates, "updated"),
        (alerts, "alert"),
        (updates, "created"),
        (alerts, "alert"),
        (updates, "updated"),
        (alerts, "alert"),
        (updates, "deleted"),
    ];
    assert_eq!(told, expected);
    let alert = json!({"message_type": "stock_alert", "alert_level": "out", "sku": "DESK-01",
                       "current_stock": 0, "min_level": 10});
    assert_eq!(stories[0][2].1, alert);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_sorted_and_paged() {
    for rows in Rows::both().await {
        for i in 0..25 {
            let category = if i % 2 == 0 { "A" } else { "B" };
            let json = json!({"sku": format!("sku-{i:02}"), "name": format!("Näme 100%_{i}"), "category": category,
                              "stock_quantity": i, "min_stock_level": 5, "is_active": i != 3});
            create(&rows, json).await;
        }
        let list = async |query: ListQuery, page, limit| {
            let page = PageRequest::new(Some(page), Some(limit)).unwrap();
            rows.inventory.list(&query, page, None).await.unwrap()
        };
        let all = list(ListQuery::default(), 3, 10).await;
        assert_eq!((all.items.len(), all.pagination.total_items, all.pagination.total_pages), (5, 25, 3));
        assert!(!all.pagination.has_next && all.pagination.has_prev);
        let query = ListQuery { category: Some("A".into()), low_stock: Some(true), ..Default::default() };
        let skus: Vec<String> = list(query, 1, 50).await.items.into_iter().map(|item| item.sku).collect();
        assert_eq!(skus, ["SKU-00", "SKU-02", "SKU-04"]);
        let inactive = ListQuery { active: Some(false), ..Default::default() };
        assert_eq!(list(inactive, 1, 50).await.items[0].sku, "SKU-03");
        for (text, count) in [("100%_2", 6), ("sku-1", 10), ("100__", 0), ("\\", 0)] {
            let query = ListQuery { text: Some(text.into()), ..Default::default() };
            assert_eq!(list(query, 1, 50).await.pagination.total_items, count, "{text} on {}", rows.db.engine());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_deltas_at_once_end_at_the_right_number() {
    for rows in Rows::both().await {
        let item = create(&rows, json!({"sku": "many", "name": "Many", "stock_quantity": 100})).await;
        let deltas = (0..200).map(|i| {
            let inventory = rows.inventory.clone();
            // 120 take one, 80 add one: never below zero on the way, whatever the order.
            tokio::spawn(async move { inventory.adjust(item.id, if i % 5 < 3 { -1 } else { 1 }).await.is_ok() })
        });
        let mut taken = 0;
        for done in deltas.collect::<Vec<_>>() {
            taken += u32::from(done.await.unwrap());
        }
        assert_eq!(taken, 200);
        assert_eq!(rows.inventory.get(item.id).await.unwrap().stock_quantity, 60, "on {}", rows.db.engine());
        // The publications are one each, and the last tells the stored figure.
        let told = rows.staged().await.into_iter().filter(|(channel, _)| channel == "inventory:updates");
        let told: Vec<i64> = told.map(|(_, it)| it["stock_quantity"].as_i64().unwrap()).collect();
        assert_eq!(told.len(), 201);
        assert_eq!(told.last(), Some(&60));
        assert!(told.windows(2).all(|pair| (pair[0] - pair[1]).abs() == 1), "each follows from the one before");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the deltas, the stock is what plain arithmetic says, and never below zero.
    #[test]
    fn stock_follows_arithmetic(start in 0i64..50, deltas in proptest::collection::vec(-30i64..30, 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let rows = Rows::sqlite().await;
            let new: NewItem = body(json!({"sku": "prop", "name": "Prop", "stock_quantity": start}));
            let id = rows.inventory.create(new).await.unwrap().id;
            let mut expected = start;
            for delta in deltas {
                let possible = delta != 0 && expected + delta >= 0;
                let adjusted = rows.inventory.adjust(id, delta).await;
                assert_eq!(adjusted.is_ok(), possible);
                expected += if possible { delta } else { 0 };
                assert_eq!(rows.inventory.get(id).await.unwrap().stock_quantity, expected);
            }
        });
    }
}

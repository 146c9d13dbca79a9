//! Approval cannot be gone around, and the rules of a price hold for the one that waits too.

use fanfare::feeds::page::PageRequest;
use fanfare::feeds::price::{Author, Price};
use serde_json::{Value, json};

use crate::rows_kit::{Rows, body};

/// An item with an active price of 100.
async fn priced(rows: &Rows, sku: &str) -> Price {
    let item = rows.inventory.create(body(json!({"sku": sku, "name": sku}))).await.expect("item");
    let price = create(rows, json!({"inventory_id": item.id, "selling_price": 100})).await;
    rows.clear_staged().await;
    price
}

async fn create(rows: &Rows, json: Value) -> Price {
    rows.prices.create(body(json), "tester").await.expect("created")
}

async fn patch(rows: &Rows, id: i64, json: Value) -> Result<Price, String> {
    rows.prices.update(id, body(json), "tester").await.map_err(|failure| format!("{failure:?}"))
}

async fn decide(rows: &Rows, id: i64, approve: bool) -> Result<Price, String> {
    rows.prices.decide(id, approve, Author::default(), "boss").await.map_err(|failure| format!("{failure:?}"))
}

/// What `price:updates` and `price:alerts` were told since the last call: the action or alert, from what, to what.
async fn told(rows: &Rows) -> Vec<String> {
    let staged = rows.staged().await;
    rows.clear_staged().await;
    let word = |it: &Value| it["alert_type"].as_str().or(it["action"].as_str()).unwrap_or("?").to_owned();
    staged.iter().map(|(_, it)| format!("{} {}→{}", word(it), it["old_price"], it["new_price"])).collect()
}

fn refused(result: Result<Price, String>, field: &str) {
    let failure = result.expect_err("refused");
    assert!(failure.contains(&format!("field: \"{field}\"")), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_or_rejected_price_cannot_be_switched_on() {
    for rows in Rows::both().await {
        let active = priced(&rows, "BYPASS").await;
        let waiting = create(&rows, json!({"inventory_id": active.inventory_id, "selling_price": 900})).await;
        assert!(waiting.requires_approval && !waiting.is_active);
        assert_eq!(told(&rows).await, ["approval_required 100→900"]);
        refused(patch(&rows, waiting.id, json!({"is_active": true})).await, "is_active");

        decide(&rows, waiting.id, false).await.unwrap();
        assert_eq!(told(&rows).await, ["rejected 100→900"]);
        let again = patch(&rows, waiting.id, json!({"is_active": true})).await.unwrap();
        assert!(again.requires_approval && !again.is_active, "it waits anew: {again:?}");
        assert_eq!(told(&rows).await, ["approval_required 100→900"]);
        assert!(rows.prices.get(active.id).await.unwrap().is_active, "the old price is still in force");

        // A step within the bounds of the waiting price is none within those of the price in force.
        let edited = patch(&rows, waiting.id, json!({"selling_price": 901})).await.unwrap();
        assert!(!edited.is_active);
        let back = patch(&rows, waiting.id, json!({"is_active": true})).await.unwrap();
        assert!(!back.is_active && back.requires_approval, "{back:?}");
        assert!(rows.prices.get(active.id).await.unwrap().is_active);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn switching_a_price_on_is_a_change_of_the_items_price() {
    for rows in Rows::both().await {
        let first = priced(&rows, "SWITCH").await;
        let second = create(&rows, json!({"inventory_id": first.inventory_id, "selling_price": 110})).await;
        told(&rows).await;
        let back = patch(&rows, first.id, json!({"is_active": true})).await.unwrap();
        assert!(back.is_active && !rows.prices.get(second.id).await.unwrap().is_active);
        assert_eq!(told(&rows).await, ["updated 110→100"]);
        let page = PageRequest::new(None, Some(1)).unwrap();
        let history = rows.prices.history(Some(first.inventory_id), None, page, None).await.unwrap();
        let last = serde_json::to_value(&history.items[0]).unwrap();
        assert_eq!((&last["old_price"], &last["new_price"]), (&json!(110), &json!(100)));

        // Deleting a price that is not in force takes no price away from the item.
        rows.prices.delete(second.id, "tester").await.unwrap();
        assert_eq!(told(&rows).await, Vec::<String>::new());
        assert_eq!(
            rows.prices.history(Some(first.inventory_id), None, page, None).await.unwrap().pagination.total_items,
            3
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discount_stays_below_the_price_in_force_and_the_one_that_waits() {
    for rows in Rows::both().await {
        let price = priced(&rows, "DISCOUNT").await;
        let both = json!({"selling_price": 300, "discount_price": 250});
        refused(patch(&rows, price.id, both).await, "discount_price");
        let waiting = patch(&rows, price.id, json!({"selling_price": 40})).await.unwrap();
        assert!(waiting.requires_approval);
        refused(patch(&rows, price.id, json!({"discount_price": 50})).await, "discount_price");
        assert!(patch(&rows, price.id, json!({"discount_price": 30})).await.is_ok());
        let approved = decide(&rows, price.id, true).await.unwrap();
        assert!(approved.discount_price.unwrap() < approved.selling_price);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_from_nothing_or_beyond_all_bounds_waits_too() {
    for rows in Rows::both().await {
        for (from, to) in [("0", "5"), ("1", "99999999999"), ("0.0001", "5000")] {
            let sku = format!("FROM-{}", from.replace('.', "-"));
            let item = rows.inventory.create(body(json!({"sku": sku, "name": "x"}))).await.expect("item");
            let price = create(&rows, json!({"inventory_id": item.id, "selling_price": from})).await;
            let next = patch(&rows, price.id, json!({"selling_price": to})).await.unwrap();
            assert!(next.requires_approval, "{from} to {to}: {next:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn approving_a_price_that_begins_later_leaves_the_active_one() {
    for rows in Rows::both().await {
        let active = priced(&rows, "LATER").await;
        let later = json!({"inventory_id": active.inventory_id, "selling_price": 110, "requires_approval": true,
                           "effective_from": "2999-01-01T00:00:00Z"});
        let later = create(&rows, later).await;
        decide(&rows, later.id, true).await.unwrap();
        assert!(rows.prices.get(active.id).await.unwrap().is_active, "nothing else is in force until then");
    }
}

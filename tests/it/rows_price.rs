//! Prices: every rule and every statement, on both engines.

use fanfare::feeds::page::PageRequest;
use fanfare::feeds::price::{Author, ListQuery, Price};
use serde_json::{Value, json};

use crate::rows_kit::{Rows, body};

async fn item(rows: &Rows, sku: &str) -> i64 {
    let new = body(json!({"sku": sku, "name": sku, "category": "Toys", "cost_price": "80"}));
    rows.inventory.create(new).await.expect("item").id
}

async fn create(rows: &Rows, json: Value) -> Price {
    rows.prices.create(body(json), "tester").await.expect("created")
}

fn money(price: Option<fanfare::db::Money>) -> String {
    price.map_or("none".into(), |price| price.to_string())
}

/// The messages since the last call, each reduced to what the test is about.
async fn told(rows: &Rows) -> Vec<String> {
    let staged = rows.staged().await;
    rows.clear_staged().await;
    let word = |it: &Value| it["alert_type"].as_str().or(it["action"].as_str()).unwrap_or("?").to_owned();
    let line = |it: &Value| {
        format!(
            "{} {}→{} {} {}%",
            word(it),
            it["old_price"],
            it["new_price"],
            it["price_change_amount"],
            it["price_change_percent"]
        )
    };
    staged.iter().filter(|(channel, _)| channel.starts_with("price:")).map(|(_, it)| line(it)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_lives_alike_on_both_engines() {
    for rows in Rows::both().await {
        let id = item(&rows, "TOY-1").await;
        let first = create(&rows, json!({"inventory_id": id, "selling_price": 100})).await;
        assert_eq!((money(first.margin_percent), money(first.markup_percent)), ("20".into(), "25".into()));
        assert_eq!(told(&rows).await, ["created null→100 null null%"]);

        let second = create(&rows, json!({"inventory_id": id, "selling_price": "110.1"})).await;
        assert_eq!(told(&rows).await, ["created 100→110.1 10.1 10.1%"]);
        assert!(!rows.prices.get(first.id).await.unwrap().is_active, "the new price takes its place");

        rows.prices.update(second.id, body(json!({"selling_price": 140, "notes": "n"})), "tester").await.unwrap();
        let percent = "27.1571";
        let expected =
            [format!("updated 110.1→140 29.9 {percent}%"), format!("large_change 110.1→140 29.9 {percent}%")];
        assert_eq!(told(&rows).await, expected);

        // Past approval_percent (50 here): nothing changes until somebody decides.
        let waiting = rows.prices.update(second.id, body(json!({"selling_price": 300})), "tester").await.unwrap();
        assert_eq!((money(Some(waiting.selling_price)), money(waiting.pending_price)), ("140".into(), "300".into()));
        assert_eq!(told(&rows).await, ["approval_required 140→300 160 114.2857%"]);
        let rejected = rows.prices.decide(second.id, false, Author::default(), "boss").await.unwrap();
        assert_eq!((rejected.requires_approval, rejected.pending_price), (false, None));
        assert_eq!(told(&rows).await, ["rejected 140→300 160 114.2857%"]);
        assert!(
            rows.prices.decide(second.id, true, Author::default(), "boss").await.is_err(),
            "nothing waits any more"
        );

        let asked = json!({"inventory_id": id, "selling_price": 141, "requires_approval": true});
        let third = create(&rows, asked).await;
        assert!(!third.is_active);
        assert_eq!(told(&rows).await, ["approval_required 140→141 1 0.7143%"]);
        let approved = rows.prices.decide(third.id, true, Author::default(), "boss").await.unwrap();
        assert!(approved.is_active && !rows.prices.get(second.id).await.unwrap().is_active);
        assert_eq!(told(&rows).await, ["updated 140→141 1 0.7143%", "approved 140→141 1 0.7143%"]);

        rows.prices.delete(third.id, "tester").await.unwrap();
        assert_eq!(told(&rows).await, ["deleted 141→null null null%"]);

        let page = PageRequest::new(None, None).unwrap();
        let history = rows.prices.history(Some(id), None, page, None).await.unwrap().items;
        let lines: Vec<String> = history
            .iter()
            .map(|row| {
                format!(
                    "{} {}→{} by {}",
                    row.change_type,
                    money(row.old_price),
                    money(row.new_price),
                    row.changed_by.as_deref().unwrap_or("?")
                )
            })
            .collect();
        let expected = [
            "deleted 141→none by tester",
            "approved 140→141 by boss",
            "updated 110.1→140 by tester",
            "created 100→110.1 by tester",
            "created none→100 by tester",
        ];
        assert_eq!(lines, expected);

        let pending = ListQuery { pending: Some(true), ..Default::default() };
        assert_eq!(rows.prices.list(&pending, page, None).await.unwrap().pagination.total_items, 0);
        let by_sku = ListQuery {
            sku: Some("TOY-1".into()),
            active: Some(false),
            currency: Some("JPY".into()),
            inventory_id: Some(id),
            ..Default::default()
        };
        let listed = rows.prices.list(&by_sku, page, None).await.unwrap();
        assert_eq!((listed.items.len(), listed.items[0].name.as_str()), (2, "TOY-1"));

        rows.inventory.delete(id).await.unwrap();
        assert_eq!(
            rows.prices.list(&ListQuery::default(), page, None).await.unwrap().items,
            [],
            "prices go with their item"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_prices_name_their_fields() {
    let rows = Rows::sqlite().await;
    let id = item(&rows, "TOY-2").await;
    let wrong = [
        (json!({"inventory_id": 999, "selling_price": 1}), "inventory_id"),
        (json!({"inventory_id": id, "selling_price": -1}), "selling_price"),
        (json!({"inventory_id": id, "selling_price": 5, "discount_price": 5}), "discount_price"),
        (json!({"inventory_id": id, "selling_price": 5, "currency": "yen"}), "currency"),
        (
            json!({"inventory_id": id, "selling_price": 5, "effective_from": "2026-02-01T00:00:00Z", "effective_until": "2026-01-01T00:00:00Z"}),
            "effective_until",
        ),
    ];
    for (json, field) in wrong {
        let failure = rows.prices.create(body(json), "tester").await.expect_err("refused");
        assert!(format!("{failure:?}").contains(&format!("field: \"{field}\"")), "{failure:?}");
    }
    assert_eq!(told(&rows).await, Vec::<String>::new());
}

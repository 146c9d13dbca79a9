//! Lists: odd input is refused by name, both engines sort alike, and the low-stock index is one that queries use.

use fanfare::feeds::inventory::ListQuery;
use fanfare::feeds::page::PageRequest;
use serde_json::{Value, json};

use crate::rows_kit::{Rows, body};
use crate::support::{Fanfare, Postgres, Settings, http};

async fn odd_input(settings: Settings) {
    let server = Fanfare::start(settings).await;
    let item = json!({"sku": "ODD-1", "name": "x"});
    http().post(format!("{}/api/v1/inventory", server.url())).json(&item).send().await.unwrap();
    let new = json!({"inventory_id": 1, "selling_price": 10, "requires_approval": true});
    http().post(format!("{}/api/v1/prices", server.url())).json(&new).send().await.unwrap();
    let long = "x".repeat(256);
    let queries = [
        ("inventory?q=%00".to_owned(), "q"),
        (format!("inventory?q={long}"), "q"),
        ("inventory?category=a%00".to_owned(), "category"),
        ("prices?sku=%00".to_owned(), "sku"),
        ("prices?currency=J%00".to_owned(), "currency"),
    ];
    for (query, field) in queries {
        let answer = http().get(format!("{}/api/v1/{query}", server.url())).send().await.unwrap();
        assert_eq!(answer.status(), 422, "{field}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    let far = json!({"inventory_id": 1, "selling_price": 10, "effective_from": "-200000-01-01T00:00:00Z"});
    let bodies = [
        ("prices", far, "effective_from"),
        ("prices/1/approve", json!({"notes": "a\u{0}"}), "notes"),
        ("prices/1/reject", json!({"change_reason": "<b>"}), "change_reason"),
        ("prices/1/approve", json!({"changed_by": "x".repeat(1001)}), "changed_by"),
    ];
    for (path, body, field) in bodies {
        let request = http().post(format!("{}/api/v1/{path}", server.url())).json(&body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 422, "{path} {body}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_input_is_named_on_sqlite() {
    odd_input(Settings::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_input_is_named_on_postgresql() {
    odd_input(Settings::new().database(&Postgres::database().await.url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn items_without_a_category_come_last_on_both_engines() {
    let mut orders = Vec::new();
    for rows in Rows::both().await {
        for (sku, category) in [("NONE", None), ("TOYS", Some("Toys")), ("ARTS", Some("Arts"))] {
            let new = json!({"sku": sku, "name": sku, "category": category});
            rows.inventory.create(body(new)).await.unwrap();
        }
        let mut order = Vec::new();
        for descending in [false, true] {
            let sort_by = serde_json::from_value(json!("category")).unwrap();
            let query = ListQuery { sort_by, descending, ..Default::default() };
            let page = rows.inventory.list(&query, PageRequest::new(None, None).unwrap(), None).await.unwrap();
            order.push(page.items.into_iter().map(|item| item.sku).collect::<Vec<_>>());
        }
        orders.push(order);
    }
    assert_eq!(orders[0], [["ARTS", "TOYS", "NONE"], ["TOYS", "ARTS", "NONE"]]);
    assert_eq!(orders[0], orders[1]);
}

#[derive(Debug, sqlx::FromRow)]
struct SqliteStep {
    detail: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_is_told_from_what_is_only_low() {
    for rows in Rows::both().await {
        for (sku, stock, reserved) in [("OUT", 0, 0), ("RESERVED", 3, 5), ("LOW", 4, 0), ("MUCH", 90, 0)] {
            let new = json!({"sku": sku, "name": sku, "stock_quantity": stock, "reserved_quantity": reserved});
            rows.inventory.create(body(new)).await.unwrap();
        }
        let skus = async |low_stock, out_of_stock| {
            let query = ListQuery { low_stock, out_of_stock, ..Default::default() };
            let page = rows.inventory.list(&query, PageRequest::new(None, None).unwrap(), None).await.unwrap();
            let skus: Vec<String> = page.items.into_iter().map(|item| item.sku).collect();
            assert_eq!(page.pagination.total_items, skus.len() as i64);
            skus
        };
        assert_eq!(skus(None, Some(true)).await, ["OUT", "RESERVED"]);
        assert_eq!(skus(Some(true), Some(true)).await, ["OUT", "RESERVED"]);
        assert_eq!(skus(Some(true), Some(false)).await, ["LOW"]);
        assert_eq!(skus(None, Some(false)).await, ["LOW", "MUCH"]);
    }
}

#[derive(Debug, sqlx::FromRow)]
struct PostgresStep {
    #[sqlx(rename = "QUERY PLAN")]
    step: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn low_stock_is_found_through_its_partial_index() {
    let [sqlite, postgres] = Rows::both().await;
    for rows in [&sqlite, &postgres] {
        for (sku, stock) in [("LOW", 10), ("HIGH", 11)] {
            let new = json!({"sku": sku, "name": sku, "stock_quantity": stock, "min_stock_level": 10});
            rows.inventory.create(body(new)).await.unwrap();
        }
        for (low, sku) in [(true, "LOW"), (false, "HIGH")] {
            let query = ListQuery { low_stock: Some(low), ..Default::default() };
            let page = rows.inventory.list(&query, PageRequest::new(None, None).unwrap(), None).await.unwrap();
            let skus: Vec<String> = page.items.into_iter().map(|item| item.sku).collect();
            assert_eq!((skus, page.pagination.total_items), (vec![sku.to_owned()], 1));
        }
    }
    // A unit test holds the statement's condition to the index's; here the planners take such a condition.
    let sql = "EXPLAIN QUERY PLAN SELECT name FROM inventory_items \
               WHERE max(0, stock_quantity - reserved_quantity) <= min_stock_level ORDER BY id LIMIT 50";
    let plan: Vec<SqliteStep> = sqlite.db.fetch_all(sql, vec![]).await.unwrap();
    assert!(plan.iter().any(|it| it.detail.contains("inventory_items_low_stock")), "{plan:?}");
    // Of two rows PostgreSQL would read both; the question is whether it may use the index.
    let mut tx = postgres.db.begin().await.unwrap();
    for off in
        ["SET LOCAL enable_seqscan = off", "ALTER TABLE inventory_items DROP CONSTRAINT inventory_items_pkey CASCADE"]
    {
        tx.execute(off, vec![]).await.unwrap();
    }
    let sql = "EXPLAIN SELECT name FROM inventory_items \
               WHERE greatest(0, stock_quantity - reserved_quantity) <= min_stock_level ORDER BY id LIMIT 50";
    let plan: Vec<PostgresStep> = tx.fetch_all(sql, vec![]).await.unwrap();
    assert!(plan.iter().any(|it| it.step.contains("inventory_items_low_stock")), "{plan:?}");
}

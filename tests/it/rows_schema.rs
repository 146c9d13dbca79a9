//! Both engines have the same tables and columns, and the page's own API refuses bad input by name over real HTTP.

use serde_json::{Value, json};

use crate::rows_kit::{Rows, Text};
use crate::support::{Fanfare, Postgres, Settings, http, next_json};

#[tokio::test(flavor = "multi_thread")]
async fn both_engines_have_the_same_tables_and_columns() {
    let [sqlite, postgres] = Rows::both().await;
    // What a change is told apart by is the engine's own business.
    let sql = "SELECT m.name || '.' || c.name AS text FROM sqlite_master m, pragma_table_info(m.name) c \
               WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND m.name NOT LIKE 'jobs_fts%' \
               AND m.name <> 'row_changes' ORDER BY 1";
    let mut of_sqlite: Vec<Text> = sqlite.db.fetch_all(sql, vec![]).await.unwrap();
    let sql = "SELECT table_name || '.' || column_name AS text FROM information_schema.columns \
               WHERE table_schema = 'public' AND table_name NOT LIKE '\\_sqlx%' \
               AND table_name NOT LIKE 'user\\_behavior\\_logs\\_%' AND table_name NOT LIKE 'row\\_changes%' ORDER BY 1";
    let mut of_postgres: Vec<Text> = postgres.db.fetch_all(sql, vec![]).await.unwrap();
    let sorted = |rows: &mut Vec<Text>| rows.sort_by(|a, b| a.text.cmp(&b.text));
    sorted(&mut of_sqlite);
    sorted(&mut of_postgres);
    assert!(of_sqlite.len() > 40, "{of_sqlite:?}");
    assert_eq!(of_sqlite, of_postgres);
    let names = |folder: &str| {
        let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names("migrations/sqlite"), names("migrations/postgres"));
}

/// What goes wrong, and the field that the answer must name.
fn bad_requests() -> Vec<(&'static str, &'static str, Value, u16, &'static str)> {
    let items = "/api/v1/inventory";
    vec![
        ("POST", items, json!({"sku": "a b", "name": "x"}), 422, "sku"),
        ("POST", items, json!({"sku": "OK-1", "name": "<b>"}), 422, "name"),
        ("POST", items, json!({"sku": "OK-1", "name": " "}), 422, "name"),
        ("POST", items, json!({"sku": "OK-1", "name": "x", "stock_quantity": -1}), 422, "stock_quantity"),
        ("POST", items, json!({"sku": "OK-1", "name": "x", "stock_quantity": 0.5}), 422, "stock_quantity"),
        ("POST", items, json!({"sku": "OK-1", "name": "x", "cost_price": "1.23456"}), 422, "cost_price"),
        ("POST", items, json!({"sku": "OK-1", "name": "x", "colour": 1}), 422, "colour"),
        ("POST", items, json!({"sku": "OK-1"}), 422, "name"),
        (
            "POST",
            items,
            json!({"sku": "OK-1", "name": "x", "min_stock_level": 5, "max_stock_level": 4}),
            422,
            "max_stock_level",
        ),
        ("PATCH", "/api/v1/inventory/1", json!({"name": null}), 422, "name"),
        ("POST", "/api/v1/inventory/1/adjust", json!({"delta": -1000}), 409, "delta"),
        ("POST", "/api/v1/inventory/1/adjust", json!({"delta": "1"}), 422, "delta"),
        ("POST", items, json!({"sku": "first", "name": "x"}), 409, "sku"),
        ("GET", "/api/v1/inventory?limit=1001", Value::Null, 422, "limit"),
        ("GET", "/api/v1/inventory?colour=red", Value::Null, 400, "colour"),
        ("GET", "/api/v1/inventory?active=maybe", Value::Null, 400, "active"),
        ("POST", "/api/v1/prices", json!({"inventory_id": 77, "selling_price": 1}), 422, "inventory_id"),
        ("POST", "/api/v1/prices", json!({"inventory_id": 1, "selling_price": "x"}), 422, "selling_price"),
        ("PATCH", "/api/v1/prices/1", json!({"requires_approval": true}), 422, "requires_approval"),
    ]
}

async fn refusals(settings: Settings) {
    let server = Fanfare::start(settings).await;
    let mut prices = server.ws("/ws/price").await;
    let post = async |path: &str, json: Value| {
        let answer = http().post(format!("{}{path}", server.url())).json(&json).send().await.unwrap();
        assert_eq!(answer.status(), 201);
    };
    post("/api/v1/inventory", json!({"sku": "FIRST", "name": "x", "stock_quantity": 50})).await;
    post("/api/v1/prices", json!({"inventory_id": 1, "selling_price": 1000})).await;
    post("/api/v1/prices", json!({"inventory_id": 1, "selling_price": "1100.55"})).await;
    assert_eq!(next_json(&mut prices).await["old_price"], Value::Null);
    let mut update = next_json(&mut prices).await;
    update.as_object_mut().unwrap().remove("timestamp").expect("a timestamp");
    let expected = json!({"message_type": "price_update", "action": "created", "inventory_id": 1, "sku": "FIRST",
        "old_price": 1000, "new_price": 1100.55, "price_change_amount": 100.55, "price_change_percent": 10.055,
        "currency": "JPY"});
    assert_eq!(update, expected);
    for (method, path, body, status, field) in bad_requests() {
        let mut request = http().request(method.parse().unwrap(), format!("{}{path}", server.url()));
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{method} {path} {body}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["errors"][0]["field"], field, "{method} {path} {body}: {problem}");
    }
    let list: Value =
        http().get(format!("{}/api/v1/inventory", server.url())).send().await.unwrap().json().await.unwrap();
    assert_eq!(list["pagination"]["total_items"], 1, "nothing of it was stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_named_and_changes_nothing_on_sqlite() {
    refusals(Settings::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_named_and_changes_nothing_on_postgresql() {
    refusals(Settings::new().database(&Postgres::database().await.url)).await;
}

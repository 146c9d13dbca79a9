//! What a seeded server really answers to every GET fits the schema that the document gives it, and so do refusals.

use fanfare::contract;
use serde_json::{Value, json};

use crate::contract_kit::{fits, step, validator};
use crate::matching_kit::{call, job, post, run_batch, start, user};
use crate::progress_kit::run;
use crate::support::{Fanfare, Settings, eventually, http};

const REFRESH: &str = "FANFARE__AUTH__API_KEYS";

/// One of everything.
async fn seed(server: &Fanfare) {
    let item = json!({"sku": "TEA-1", "name": "Green tea", "category": "Drinks", "stock_quantity": 3, "weight": 1.5});
    post(server, "/api/v1/inventory", item).await;
    let price = json!({"inventory_id": 1, "selling_price": "480.25", "cost_price": 300,
        "effective_from": "2026-01-01T00:00:00Z", "change_reason": "first"});
    post(server, "/api/v1/prices", price).await;
    call(server, "PUT", "/api/v1/prices/1", json!({"selling_price": 1200, "requires_approval": true})).await;
    let events =
        [run("e1", "ann", 1, 0, Some("NameError: x")), run("e2", "ann", 1, 30, None), run("e3", "bob", 2, 60, None)];
    let mut help = run("e4", "bob", 2, 90, None);
    help["eventType"] = "help".into();
    post(server, "/api/v1/events?class=3-B", json!([events[0], events[1], events[2], help])).await;
    post(server, "/api/v2/jobs", job(1)).await;
    post(server, "/api/v2/users", user(1)).await;
    post(server, "/api/v2/users/1/behavior", json!({"job_id": 1, "action": "click"})).await;
    for batch in ["scoring", "daily_matching", "email_generation"] {
        run_batch(server, batch).await;
    }
    eventually("the events' rows", async || {
        let (_, help) = call(server, "GET", "/api/v1/progress/help", Value::Null).await;
        (help["pagination"]["total_items"] == 1).then_some(())
    })
    .await;
}

/// The URLs that a documented path is asked by.
fn urls(path: &str) -> Vec<String> {
    match path {
        "/api/v1/progress/students/{user_id}" => vec![path.replace("{user_id}", "ann")],
        "/api/v1/progress/students/{user_id}/timeline" => vec![path.replace("{user_id}", "ann")],
        "/api/v1/progress/matrix" => vec![format!("{path}?notebook=week1/demo.ipynb")],
        "/api/v1/series/{measurement}" => {
            vec![format!("{}?field=stock&from=-1h", path.replace("{measurement}", "stock_level"))]
        }
        "/api/v1/explain" => vec![format!("{path}?channel=price:updates&offset=1&client=x-1")],
        "/api/v1/presence" => vec![format!("{path}?channel=price:updates")],
        "/docs/{file}" => vec!["/docs/start.js".to_owned()],
        "/api/v2/email/unsubscribe" => vec![format!("{path}?token=00000000-0000-4000-8000-000000000000")],
        path => vec![path.replace("{id}", "1")],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_get_answers_what_the_document_says() {
    let server = start(Settings::new()).await;
    seed(&server).await;
    // Somebody listens, so that the ledger has a line.
    let _listener = server.ws("/ws/inventory?positions=true").await;
    let (mut asked, mut empty) = (0, Vec::new());
    for (path, item) in contract::openapi()["paths"].as_object().unwrap() {
        let Some(operation) = item.get("get").filter(|get| get["tags"][0] != "streams") else { continue };
        for url in urls(path) {
            let answer = http().get(format!("{}{url}", server.url())).send().await.unwrap();
            let status = answer.status().as_u16();
            let described = &operation["responses"][status.to_string()];
            assert!(described.is_object(), "{url}: {status} is not in the document");
            let missing = status == 404 && (path.contains("dead-letters") || path.contains("/tasks/"));
            assert!(status == 200 || missing, "{url}: {status}");
            asked += 1;
            for header in described["headers"].as_object().into_iter().flatten().map(|(name, _)| name) {
                assert!(answer.headers().contains_key(header), "{url}: {header}");
            }
            let media = answer.headers()["content-type"].to_str().unwrap().to_owned();
            let text = answer.text().await.unwrap();
            let essence = media.split(';').next().unwrap().trim();
            let pointer = if status == 200 {
                let content = described["content"].as_object();
                let documented = content.and_then(|content| content.keys().find(|key| key.starts_with(essence)));
                let Some(documented) = documented else {
                    assert_eq!(path, "/docs/{file}", "{url}: {media} is not in the document");
                    continue;
                };
                format!("/paths/{}/get/responses/200/content/{}/schema", step(path), step(documented))
            } else {
                assert_eq!(essence, "application/problem+json", "{url}");
                "/components/schemas/Problem".to_owned()
            };
            let value =
                if essence.ends_with("json") { serde_json::from_str(&text).unwrap() } else { Value::from(text) };
            if value["items"].as_array().is_some_and(Vec::is_empty) {
                empty.push(path.clone());
            }
            fits(&validator(&pointer), &value, &url);
            nothing_undocumented(&pointer, &value, &url);
        }
    }
    assert!(asked > 45, "{asked}");
    // A list of nothing proves nothing about its rows.
    empty.retain(|path| !path.contains("dead-letters"));
    assert!(empty.is_empty(), "{empty:?}");
}

/// Every field of an answer has a name in the document.
fn nothing_undocumented(pointer: &str, value: &Value, what: &str) {
    fn walk(schema: &Value, value: &Value, what: &str) {
        let document = contract::openapi();
        match value {
            Value::Object(fields) => {
                let mut known = serde_json::Map::new();
                if gather(document, schema, &mut known) {
                    return;
                }
                for (name, value) in fields {
                    let field = known.get(name).unwrap_or_else(|| panic!("{what}: {name} is not in the document"));
                    walk(field, value, what);
                }
            }
            Value::Array(values) => {
                let schema = resolved(document, schema);
                if let Some(items) = schema.get("items") {
                    values.iter().for_each(|value| walk(items, value, what));
                }
            }
            _ => {}
        }
    }
    fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(target) => resolved(document, document.pointer(&target[1..]).unwrap()),
            None => schema,
        }
    }
    /// Collects the named fields; answers whether any others may stand beside them.
    fn gather(document: &Value, schema: &Value, known: &mut serde_json::Map<String, Value>) -> bool {
        let schema = resolved(document, schema);
        known.extend(schema["properties"].as_object().cloned().unwrap_or_default());
        let parts = ["allOf", "oneOf", "anyOf"].iter().filter_map(|word| schema[word].as_array()).flatten();
        let mut open = schema.get("additionalProperties").is_some_and(|rest| rest != &Value::Bool(false));
        let mut typed = schema["properties"].is_object();
        for part in parts.filter(|part| part["type"] != "null") {
            open |= gather(document, part, known);
            typed = true;
        }
        open || !typed
    }
    walk(contract::openapi().pointer(pointer).unwrap(), value, what);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_what_the_document_says() {
    let server = start(Settings::new().env(REFRESH, "admin:key-of-an-admin-0123456789abcdef")).await;
    let problem = validator("/components/schemas/Problem");
    for (method, path, key, body, status) in [
        ("GET", "/api/v1/inventory", false, Value::Null, 401),
        ("GET", "/api/v1/inventory/x", true, Value::Null, 400),
        ("GET", "/api/v1/inventory/99", true, Value::Null, 404),
        ("GET", "/api/v1/inventory?pages=1", true, Value::Null, 400),
        ("GET", "/api/v1/inventory?page=0", true, Value::Null, 422),
        ("POST", "/api/v1/inventory", true, json!({"sku": "!"}), 422),
        ("POST", "/api/v1/inventory/99/adjust", true, json!({"delta": 1}), 404),
        ("POST", "/api/v1/prices/99/approve", true, Value::Null, 404),
    ] {
        let mut request = http().request(method.parse().unwrap(), format!("{}{path}", server.url()));
        if key {
            request = request.header("x-api-key", "key-of-an-admin-0123456789abcdef");
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{method} {path}");
        let route = path.split('?').next().unwrap().replace("/x", "/{id}").replace("/99", "/{id}");
        let described = &contract::openapi()["paths"][&route][method.to_lowercase()]["responses"][status.to_string()];
        let name = described["$ref"].as_str().unwrap_or_else(|| panic!("{method} {route} {status}"));
        let headers = &contract::openapi().pointer(&name[1..]).unwrap()["headers"];
        for header in headers.as_object().unwrap().keys() {
            assert!(answer.headers().contains_key(header), "{method} {path}: {header}");
        }
        fits(&problem, &answer.json().await.unwrap(), path);
    }
}

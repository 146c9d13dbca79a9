//! Lists at speed: how many statements each takes, and that a kept answer is never older than what anybody was told.

use serde_json::{Value, json};

use crate::matching_kit::{job, user};
use crate::rows_kit::{Rows, body};
use crate::support::{Fanfare, Postgres, Redis, Settings, eventually, http};
use fanfare::feeds::inventory::{ListQuery, SortBy};
use fanfare::feeds::page::PageRequest;

async fn post(server: &Fanfare, path: &str, json: Value) -> Value {
    let answer = http().post(format!("{}{path}", server.url())).json(&json).send().await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    answer.json().await.unwrap()
}

async fn get(server: &Fanfare, path: &str) -> Value {
    let answer = http().get(format!("{}{path}", server.url())).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    answer.json().await.unwrap()
}

/// A figure of `/metrics`, by how its line begins.
async fn figure(server: &Fanfare, name: &str) -> u64 {
    let text = http().get(format!("{}/metrics", server.url())).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |value| value.trim().parse().unwrap())
}

/// How many statements a request took: the server logs each with the request's trace.
async fn statements(server: &Fanfare, path: &str, trace: &str) -> usize {
    let answer = http().get(format!("{}{path}", server.url())).header("x-trace-id", trace).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}: {}", answer.text().await.unwrap());
    let of_request = |line: &str| line.contains(trace);
    // The request's own last line stands behind all others of it.
    eventually("the request is logged", async || {
        server.log().lines().any(|line| of_request(line) && line.contains("slow request")).then_some(())
    })
    .await;
    server.log().lines().filter(|line| of_request(line) && line.contains("slow statement")).count()
}

/// Every list, and the most statements that it may take, however long it is.
const LISTS: [(&str, usize); 12] = [
    ("/api/v1/inventory", 3),
    ("/api/v1/inventory?low_stock=true&sort_by=name&limit=500", 3),
    ("/api/v1/prices", 3),
    ("/api/v1/prices/history", 3),
    ("/api/v1/prices/1/history", 4),
    ("/api/v2/jobs", 6),
    ("/api/v2/users", 6),
    ("/api/v1/batch/status", 6),
    ("/api/v2/email", 6),
    ("/api/v1/progress/overview", 12),
    ("/api/v1/progress/cells", 6),
    ("/api/v1/dead-letters", 6),
];

async fn fill(server: &Fanfare, from: usize, to: usize) {
    for number in from..to {
        let item = post(server, "/api/v1/inventory", json!({"sku": format!("ITEM-{number}"), "name": "x"})).await;
        post(server, "/api/v1/prices", json!({"inventory_id": item["id"], "selling_price": number})).await;
        post(server, "/api/v2/jobs", job(number)).await;
        post(server, "/api/v2/users", user(number)).await;
        let event = json!([{"eventId": format!("e-{number}"), "eventType": "cell_executed", "userId": format!("u{number}"),
            "eventTime": "2026-11-21T06:47:42Z", "notebookPath": "a.ipynb", "cellId": format!("c{number}")}]);
        post(server, "/api/v1/events", event).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_list_takes_more_statements_for_more_rows() {
    let settings = Settings::new()
        .database(&Postgres::database().await.url)
        .env("DB_POOL_SIZE", "4")
        .env("FANFARE__DATABASE__SLOW_MS", "0")
        .env("FANFARE__EDGE__SLOW_REQUEST_MS", "0");
    let server = Fanfare::start(settings).await;
    let mut counts = Vec::new();
    for (round, (from, to)) in [(0, 2), (2, 40)].into_iter().enumerate() {
        fill(&server, from, to).await;
        eventually("the events are in the tables", async || {
            let seen = figure(&server, "fanfare_progress_events_stored_total{outcome=\"stored\"}").await;
            (seen >= to as u64).then_some(())
        })
        .await;
        for (number, (path, most)) in LISTS.into_iter().enumerate() {
            let took = statements(&server, path, &format!("list-{round}-{number}-x")).await;
            println!("{path}: {took} statements with {to} rows");
            assert!((1..=most).contains(&took), "{path}: {took} statements");
            counts.push(took);
        }
    }
    let (few, many) = counts.split_at(LISTS.len());
    assert!(few.iter().zip(many).all(|(few, many)| many <= few), "{few:?}, {many:?}");
    // Nothing has changed: where the rows stand is all that is asked.
    assert_eq!(statements(&server, "/api/v1/inventory", "list-again-x").await, 1);
    // The stock has changed, and how many items there are has not.
    post(&server, "/api/v1/inventory/1/adjust", json!({"delta": 5})).await;
    assert_eq!(statements(&server, "/api/v1/inventory", "list-adjusted-x").await, 2);
    // Prices do not look at the stock.
    assert_eq!(statements(&server, "/api/v1/prices", "list-prices-x").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_has_written_no_node_answers_without() {
    let (redis, database) = (Redis::start().await, Postgres::database().await);
    let settings = Settings::new().redis(&redis).database(&database.url).env("DB_POOL_SIZE", "4");
    let (a, b) = (Fanfare::start(settings.clone()).await, Fanfare::start(settings.clone()).await);
    let alone = Fanfare::start(Settings::new().database(&database.url).env("DB_POOL_SIZE", "4")).await;
    let item = post(&a, "/api/v1/inventory", json!({"sku": "SEEN-1", "name": "x", "stock_quantity": 500})).await;
    let adjust = format!("/api/v1/inventory/{}/adjust", item["id"]);
    let list = "/api/v1/inventory?category=&limit=10";
    for round in 0..60_i64 {
        let (writer, others) = if round % 2 == 0 { (&a, [&b, &a, &alone]) } else { (&b, [&alone, &a, &b]) };
        let told = post(writer, &adjust, json!({"delta": 1})).await["stock_quantity"].clone();
        for node in others {
            assert_eq!(get(node, "/api/v1/inventory").await["items"][0]["stock_quantity"], told);
            assert_eq!(get(node, list).await["items"], json!([]));
        }
    }
    let from = |from: &str| format!("fanfare_cache_requests_total{{from=\"{from}\"}}");
    // One of two nodes made each answer, and the other took it from Redis.
    assert!(figure(&a, &from("redis")).await + figure(&b, &from("redis")).await > 30);
    assert_eq!(figure(&alone, &from("redis")).await, 0);
    let before = figure(&a, &from("memory")).await;
    for _ in 0..10 {
        get(&a, "/api/v1/inventory").await;
    }
    assert_eq!(figure(&a, &from("memory")).await, before + 10);
    // Rows that somebody writes past every node count, too.
    let told = {
        use sqlx::Connection;
        let mut direct = sqlx::PgConnection::connect(&database.url).await.unwrap();
        sqlx::query("UPDATE inventory_items SET name = 'past'").execute(&mut direct).await.unwrap();
        get(&a, "/api/v1/inventory").await["items"][0]["name"].clone()
    };
    assert_eq!(told, "past");
    // Without Redis each node makes its own, and is right.
    drop(redis);
    for stock in 561..570 {
        post(&alone, &adjust, json!({"delta": 1})).await;
        assert_eq!(get(&a, "/api/v1/inventory").await["items"][0]["stock_quantity"], stock);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_an_answer_is_spared_its_bytes_until_it_changes() {
    let server = Fanfare::start(Settings::new()).await;
    for number in 0..30 {
        post(&server, "/api/v1/inventory", json!({"sku": format!("TAG-{number}"), "name": "x"})).await;
    }
    post(&server, "/api/v1/prices", json!({"inventory_id": 1, "selling_price": "10.5"})).await;
    let ask = async |path: &str, tag: Option<&str>, coding: &str| {
        let request = http().get(format!("{}{path}", server.url())).header("accept-encoding", coding);
        let request = if let Some(tag) = tag { request.header("if-none-match", tag) } else { request };
        request.send().await.unwrap()
    };
    for path in ["/api/v1/inventory", "/api/v1/inventory/1", "/api/v1/prices", "/api/v1/prices/1", "/api/v2/jobs"] {
        let answer = ask(path, None, "identity").await;
        let tag = answer.headers()["etag"].to_str().unwrap().to_owned();
        assert!(tag.starts_with('"'), "{path}: {tag} is strong");
        assert_eq!(answer.headers()["cache-control"], "private, no-cache", "{path}");
        let again = ask(path, Some(&tag), "gzip, br, zstd").await;
        assert_eq!(again.status(), 304, "{path}");
        assert_eq!(again.bytes().await.unwrap().len(), 0);
    }
    for coding in ["br", "gzip", "zstd"] {
        let answer = ask("/api/v1/inventory", None, coding).await;
        assert_eq!(answer.headers()["content-encoding"], coding);
        assert!(answer.headers()["etag"].to_str().unwrap().starts_with('"'), "these very bytes are kept");
        assert!(answer.bytes().await.unwrap().len() < 2000);
    }
    let before = ask("/api/v1/inventory", None, "br").await.headers()["etag"].clone();
    post(&server, "/api/v1/inventory/7/adjust", json!({"delta": 1})).await;
    let after = ask("/api/v1/inventory", Some(before.to_str().unwrap()), "br").await;
    assert_eq!(after.status(), 200);
    assert_ne!(after.headers()["etag"], before);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_name_the_fields_that_they_want() {
    let server = Fanfare::start(Settings::new()).await;
    let item = json!({"sku": "F-1", "name": "x", "cost_price": "12345678901.2345"});
    let whole = post(&server, "/api/v1/inventory", item).await;
    post(&server, "/api/v1/prices", json!({"inventory_id": 1, "selling_price": "10.5"})).await;
    let text = http().get(format!("{}/api/v1/inventory/1?fields=cost_price,id", server.url()));
    let text = text.send().await.unwrap().text().await.unwrap();
    assert_eq!(text, r#"{"id":1,"cost_price":12345678901.2345}"#);
    let list = get(&server, "/api/v1/inventory?fields=id,name").await;
    assert_eq!(list["items"], json!([{"id": 1, "name": "x"}]));
    assert_eq!(list["pagination"]["total_items"], 1);
    let light = get(&server, "/api/v1/inventory?fields=light").await;
    assert!(light["items"][0].as_object().unwrap().len() < whole.as_object().unwrap().len() / 2);
    assert_eq!(get(&server, "/api/v1/prices/1?fields=selling_price").await, json!({"selling_price": 10.5}));
    // Every name is known, and no more than there are.
    let known = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(",");
    let asked = format!("/api/v1/inventory/1?fields={}", known(&whole));
    assert_eq!(get(&server, &asked).await, get(&server, "/api/v1/inventory/1").await);
    let price = get(&server, "/api/v1/prices/1").await;
    assert_eq!(get(&server, &format!("/api/v1/prices/1?fields={}", known(&price))).await, price);
    for (bad, field) in [
        ("inventory?fields=id,secret", "fields"),
        ("inventory/1?fields=", "fields"),
        ("inventory?cursor=x", "cursor"),
        ("prices?page=1&cursor=x", "cursor"),
        ("prices/history?cursor=e30", "cursor"),
    ] {
        let answer = http().get(format!("{}/api/v1/{bad}", server.url())).send().await.unwrap();
        assert_eq!(answer.status(), 422, "{bad}");
        assert_eq!(answer.json::<Value>().await.unwrap()["errors"][0]["field"], field);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_by_cursor_are_the_pages_by_number() {
    use SortBy::*;
    for rows in Rows::both().await {
        for number in 0..23_i64 {
            let category = (number % 3 != 0).then(|| format!("C{}", number % 4));
            let item = json!({"sku": format!("CUR-{number}"), "name": format!("n{}", number % 5), "category": category,
                "stock_quantity": number % 6, "reserved_quantity": number % 2});
            rows.inventory.create(body(item)).await.unwrap();
        }
        for sort_by in [Id, Sku, Name, Category, StockQuantity, AvailableQuantity, CreatedAt, UpdatedAt] {
            for descending in [false, true] {
                let query = ListQuery { sort_by, descending, ..ListQuery::default() };
                let all = PageRequest::new(None, Some(100)).unwrap();
                let all = rows.inventory.list(&query, all, None).await.unwrap().items;
                let (mut walked, mut query, mut number) = (Vec::new(), query, 1);
                loop {
                    let request = PageRequest::new(Some(number), Some(5)).unwrap();
                    let page = rows.inventory.list(&query, request, None).await.unwrap();
                    assert_eq!((page.pagination.page, page.pagination.total_pages), (number, 5));
                    assert_eq!(page.pagination.has_next, page.pagination.next_cursor.is_some());
                    walked.extend(page.items);
                    let Some(cursor) = page.pagination.next_cursor else { break };
                    query = ListQuery { after: query.cursor_of(&cursor), ..query };
                    number += 1;
                }
                assert_eq!(walked, all, "{sort_by:?} {descending}");
            }
        }
    }
}

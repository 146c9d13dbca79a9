//! History over HTTP: what feeds write can be read, and wrong questions are answered by the name of what is wrong.

use serde_json::{Value, json};

use crate::support::influx::FakeInflux;
use crate::support::{Fanfare, Postgres, Settings, eventually, http};

async fn post(server: &Fanfare, path: &str, body: Value) -> Value {
    let answer = http().post(format!("{}{path}", server.url())).json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    answer.json().await.unwrap()
}

async fn get(server: &Fanfare, path: &str) -> (u16, Value) {
    let answer = http().get(format!("{}{path}", server.url())).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// The only step, when as many values as these have come.
async fn whole(server: &Fanfare, path: &str, count: u64) -> Value {
    eventually("history has it", async || {
        let (status, body) = get(server, path).await;
        assert_eq!(status, 200, "{body}");
        let points = body["points"].as_array().unwrap();
        (points.iter().map(|point| point["count"].as_u64().unwrap()).sum::<u64>() == count).then_some(body)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_prices_and_own_figures_have_a_history_on_both_engines() {
    let database = Postgres::database().await;
    let quick = Settings::new().env("FANFARE__SERIES__BATCH_AGE_MS", "20").env("FANFARE__SERIES__OWN_FIGURES_S", "1");
    for settings in [quick.clone(), quick.database(&database.url)] {
        let server = Fanfare::start(settings).await;
        let item = json!({"sku": "tea-1", "name": "Tea", "category": "Drinks", "stock_quantity": 10});
        post(&server, "/api/v1/inventory", item).await;
        post(&server, "/api/v1/inventory", json!({"sku": "cup-1", "name": "Cup", "stock_quantity": 500})).await;
        for delta in [-4, 9, -1] {
            post(&server, "/api/v1/inventory/1/adjust", json!({"delta": delta})).await;
        }
        let path = "/api/v1/series/stock_level?field=stock&sku=TEA-1&step=1d";
        let body = whole(&server, path, 4).await;
        // Midnight may pass between two writes, but only once.
        let points = body["points"].as_array().unwrap();
        assert_eq!(points.last().unwrap()["last"], 14.0);
        if points.len() == 1 {
            assert_eq!(
                (&points[0]["min"], &points[0]["max"], &points[0]["avg"]),
                (&json!(6.0), &json!(15.0), &json!(11.25))
            );
        }
        assert_eq!(
            (&body["measurement"], &body["field"], &body["tags"]),
            (&json!("stock_level"), &json!("stock"), &json!({"sku": "TEA-1"}))
        );
        assert_eq!(body["step_ms"], 86_400_000);
        whole(&server, "/api/v1/series/stock_level?field=stock&step=1d", 5).await;
        whole(&server, "/api/v1/series/stock_level?field=available&category=Drinks&from=-2d&to=now", 4).await;
        let price = post(&server, "/api/v1/prices", json!({"inventory_id": 1, "selling_price": "480.25"})).await;
        let id = price["id"].as_i64().unwrap();
        let change = json!({"selling_price": 600});
        let answer = http().patch(format!("{}/api/v1/prices/{id}", server.url())).json(&change).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let body = whole(&server, "/api/v1/series/price?field=price&sku=TEA-1&currency=JPY&step=1d", 2).await;
        assert_eq!(body["points"].as_array().unwrap().last().unwrap()["last"], 600.0);
        eventually("the server writes its own figures, too", async || {
            let (_, body) = get(&server, "/api/v1/series/stream?field=connections").await;
            (body["points"].as_array()?.len() >= 2).then_some(())
        })
        .await;
        let (status, body) = get(&server, "/api/v1/series/nothing?field=x").await;
        assert_eq!((status, &body["points"]), (200, &json!([])));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_question_is_answered_by_name() {
    let server = Fanfare::start(Settings::new()).await;
    let wrong = [
        ("stock_level", "field"),
        ("stock_level?field=", "field"),
        ("stock_level?field=stock&from=yesterday", "from"),
        ("stock_level?field=stock&to=2026", "to"),
        ("stock_level?field=stock&from=-1h&to=-2h", "to"),
        ("stock_level?field=stock&from=1960-01-01T00:00:00Z", "from"),
        ("stock_level?field=stock&step=5", "step"),
        ("stock_level?field=stock&step=0s", "step"),
        ("stock_level?field=stock&from=-30d&step=1s", "step"),
        ("stock_level?field=stock&field=stock", "field"),
        ("stock_level?field=stock&sku=a&sku=b", "sku"),
        ("%20?field=stock", "measurement"),
    ];
    for (query, field) in wrong {
        let (status, body) = get(&server, &format!("/api/v1/series/{query}")).await;
        assert_eq!((status, body["errors"][0]["field"].as_str()), (422, Some(field)), "{query}: {body}");
    }
    for (query, status) in [("", 200), ("?limit=0", 422), ("?limit=x", 400), ("?colour=red", 400)] {
        let (found, body) = get(&server, &format!("/api/v1/series-dead-letters{query}")).await;
        assert_eq!(found, status, "{query}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_for_readers_and_dead_letters_are_for_admins() {
    let key = "0123456789abcdef0123456789abcdef";
    let other = "fedcba9876543210fedcba9876543210";
    let keys = format!("manager:{key},admin:{other}");
    let server = Fanfare::start(Settings::new().env("FANFARE__AUTH__API_KEYS", keys)).await;
    let status = async |path: &str, key: &str| {
        let answer = http().get(format!("{}{path}", server.url())).header("x-api-key", key).send().await.unwrap();
        answer.status().as_u16()
    };
    let (history, dead) = ("/api/v1/series/stream?field=writes", "/api/v1/series-dead-letters");
    assert_eq!((status(history, key).await, status(history, "wrong").await), (200, 401));
    assert_eq!((status(dead, key).await, status(dead, other).await), (403, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_influxdb_is_asked_set_up_and_named_in_the_health() {
    let influx = FakeInflux::start().await;
    let settings = Settings::new()
        .env("INFLUXDB_URL", influx.url())
        .env("INFLUXDB_TOKEN", "t0ken")
        .env("INFLUXDB_ORG", "o")
        .env("INFLUXDB_BUCKET", "b");
    let folder = crate::support::temp_dir("data");
    let data_dir = folder.path().to_str().unwrap();
    let (ended, printed) = Fanfare::run(&settings, &["migrate", "--data-dir", data_dir]).await;
    assert!(ended.success() && printed.contains("made the bucket \"b_1h\""), "{printed}");
    assert_eq!((influx.buckets().len(), influx.tasks().len()), (3, 2));
    let server = Fanfare::start(settings).await;
    let (status, health) = get(&server, "/health/detailed").await;
    assert_eq!((status, &health["services"]["influxdb"]["status"]), (200, &json!("up")));
    influx.table(503, "{\"message\":\"starting\"}");
    let (status, body) = get(&server, "/api/v1/series/stock_level?field=stock").await;
    assert_eq!((status, &body["type"]), (503, &json!("/problems/unavailable")));
    influx.table(400, "{\"message\":\"secret inner words\"}");
    let (status, body) = get(&server, "/api/v1/series/stock_level?field=stock").await;
    assert_eq!(status, 500);
    assert!(!body.to_string().contains("secret inner words"));
    drop(influx);
    let (status, health) = get(&server, "/health/detailed").await;
    assert_eq!((status, &health["status"]), (200, &json!("degraded")));
}

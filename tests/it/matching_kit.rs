//! What the tests of job matching share: a server on each engine, and short ways to speak to it.

use serde_json::{Value, json};

use crate::support::{Fanfare, Postgres, Settings, eventually, http};

/// The same server on SQLite and on PostgreSQL.
pub async fn both() -> [Fanfare; 2] {
    [start(Settings::new()).await, start(Settings::new().database(&Postgres::database().await.url)).await]
}

pub async fn start(settings: Settings) -> Fanfare {
    Fanfare::start(settings.env("FANFARE__QUEUE__POLL_MS", "50").env("DB_POOL_SIZE", "4").env("DB_MAX_OVERFLOW", "8"))
        .await
}

/// A request; answers the status and the JSON, or null.
pub async fn call(server: &Fanfare, method: &str, path: &str, body: Value) -> (u16, Value) {
    let mut request = http().request(method.parse().expect("a method"), format!("{}{path}", server.url()));
    if !body.is_null() {
        request = request.json(&body);
    }
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.expect("a body")).unwrap_or_default())
}

pub async fn get(server: &Fanfare, path: &str) -> Value {
    let (status, body) = call(server, "GET", path, Value::Null).await;
    assert_eq!(status, 200, "{path}: {body}");
    body
}

pub async fn post(server: &Fanfare, path: &str, body: Value) -> Value {
    let (status, answer) = call(server, "POST", path, body).await;
    assert!((200..300).contains(&status), "{path}: {status} {answer}");
    answer
}

pub fn job(n: usize) -> Value {
    json!({
        "external_id": format!("J-{n}"), "company_name": format!("会社{}", n % 7), "title": format!("カフェの店員を募集します {n}"),
        "description": "駅前の明るいカフェです。", "salary_min": 1100 + n, "salary_max": 1300 + n, "location": "東京都港区",
        "prefecture": "東京都", "city": "港区", "nearest_station": "品川", "features": ["未経験歓迎"],
        "occupation_category": "restaurant", "needs_categories": ["短期"], "work_days": "土日", "work_hours": "09:00-17:00",
    })
}

/// Someone in Tokyo who is looking for what [`job`] is.
pub fn user(n: usize) -> Value {
    json!({
        "external_id": format!("U-{n}"), "email": format!("user-{n}@example.com"), "name": format!("太郎{n}"),
        "prefecture": "東京都", "city": "港区", "profile": {"work_preferences": {
            "occupation_categories": ["restaurant"], "salary_min": 1200, "needs_categories": ["短期"],
            "work_days": ["sat", "sun"], "time_slots": ["day"]}},
    })
}

/// Triggers a batch and waits for its end; answers it.
pub async fn run_batch(server: &Fanfare, batch_type: &str) -> Value {
    let batch = post(server, "/api/v1/batch/trigger", json!({"batch_type": batch_type})).await;
    let path = format!("/api/v1/batch/status/{}", batch["batch_id"]);
    eventually("the batch ends", async || {
        let batch = get(server, &path).await;
        (batch["state"] != "running").then_some(batch)
    })
    .await
}

//! What the tests of job matching share: a server on each engine, and short ways to speak to it.

use serde_json::{Value, json};

use crate::support::{Fanfare, Postgres, Settings, http};

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

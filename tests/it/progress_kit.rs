//! What the tests of learning progress share: events as the real clients send them, and a look into the tables.

use fanfare::db::{Db, DbMetrics, DbOptions};
use fanfare::telemetry::Registry;
use serde_json::{Value, json};

use crate::support::{Fanfare, Postgres, Settings, eventually, http};

/// A run of a cell as the extension tells it, at a second of a day.
pub fn run(id: &str, user: &str, cell: i64, second: i64, error: Option<&str>) -> Value {
    let at = chrono::DateTime::from_timestamp(1_795_000_000 + second, 0).unwrap().to_rfc3339();
    let mut event = json!({"eventId": id, "eventType": "cell_executed", "eventTime": at, "emailAddress": user,
        "teamName": "チームA", "userName": format!("学生 {user}"), "sessionId": format!("session of {user}"),
        "notebookPath": "week1/demo.ipynb", "cellId": format!("cell{cell}"), "cellIndex": cell, "cellType": "code",
        "code": format!("x = {cell}"), "executionCount": 1, "hasError": error.is_some(), "result": "",
        "executionDurationMs": 2.5});
    if let Some(error) = error {
        event["errorMessage"] = error.into();
    }
    event
}

/// The server's settings on each engine.
pub async fn engines() -> [Settings; 2] {
    [Settings::new(), Settings::new().database(&Postgres::database().await.url)]
}

pub async fn post(server: &Fanfare, events: &Value) -> (u16, Value) {
    let answer = http().post(format!("{}/api/v1/events", server.url())).json(events).send().await.expect("an answer");
    let status = answer.status().as_u16();
    (status, answer.json().await.expect("JSON"))
}

pub async fn get(server: &Fanfare, path: &str) -> Value {
    let answer = http().get(format!("{}{path}", server.url())).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap_or_default());
    answer.json().await.expect("JSON")
}

/// Opens a database that a server uses.
pub async fn open(url: &str) -> Db {
    let options = DbOptions { pool_size: 1, max_overflow: 1, ..DbOptions::default() };
    let db = Db::open(url, &options, DbMetrics::register(&mut Registry::default())).await.expect("the database opens");
    db.migrate().await.expect("the tables are there");
    db
}

#[derive(sqlx::FromRow)]
pub struct Number {
    pub number: i64,
}

pub async fn number(db: &Db, sql: &'static str) -> i64 {
    db.fetch_one::<Number>(sql, vec![]).await.expect("a number").number
}

/// Waits until so many events are in the tables.
pub async fn stored(db: &Db, events: i64) {
    eventually(&format!("{events} events in the tables"), async || {
        (number(db, "SELECT count(*) AS number FROM progress_events").await >= events).then_some(())
    })
    .await;
}

/// Every table agrees that there were so many runs, each once.
pub async fn counted_once(db: &Db, runs: i64) {
    for sql in [
        "SELECT count(*) AS number FROM progress_events",
        "SELECT count(DISTINCT event_id) AS number FROM progress_events",
        "SELECT count(*) AS number FROM cell_executions",
        "SELECT CAST(sum(runs) AS BIGINT) AS number FROM student_cells",
        "SELECT CAST(sum(events) AS BIGINT) AS number FROM student_sessions",
    ] {
        assert_eq!(number(db, sql).await, runs, "{} on {}", sql, db.engine());
    }
}

//! Monthly partitions of the behavior logs on PostgreSQL: made ahead, filled, and dropped by the cleanup's rule.

use fanfare::args;

use crate::rows_kit::{Rows, Text};

#[tokio::test(flavor = "multi_thread")]
async fn months_are_made_filled_and_dropped() {
    let [_, postgres] = Rows::both().await;
    let db = &postgres.db;
    let at = |text: &str| text.parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    let insert = "INSERT INTO user_behavior_logs (user_id, job_id, action, at) VALUES (1, 1, 'view', $1)";
    // Before its month is made a row goes to the default, and moves when it is made.
    db.execute(insert, args![at("2026-03-31T23:59:59Z")]).await.unwrap();
    for month in ["2026-03-15T00:00:00Z", "2026-04-15T00:00:00Z", "2026-03-20T00:00:00Z"] {
        db.execute("SELECT user_behavior_logs_make($1)", args![at(month)]).await.unwrap();
    }
    db.execute(insert, args![at("2026-04-01T00:00:00Z")]).await.unwrap();
    db.execute(insert, args![at("2020-01-01T00:00:00Z")]).await.unwrap();
    let places = "SELECT tableoid::regclass::TEXT AS text FROM user_behavior_logs ORDER BY at";
    let rows: Vec<Text> = db.fetch_all(places, args![]).await.unwrap();
    let names: Vec<_> = rows.iter().map(|row| row.text.as_str()).collect();
    assert_eq!(names, ["user_behavior_logs_default", "user_behavior_logs_2026_03", "user_behavior_logs_2026_04"]);
    // April has not ended before the middle of it, so only March goes.
    db.execute("SELECT user_behavior_logs_drop($1)", args![at("2026-04-15T00:00:00Z")]).await.unwrap();
    let rows: Vec<Text> = db.fetch_all(places, args![]).await.unwrap();
    let names: Vec<_> = rows.iter().map(|row| row.text.as_str()).collect();
    assert_eq!(names, ["user_behavior_logs_default", "user_behavior_logs_2026_04"]);
}

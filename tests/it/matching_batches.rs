//! Batches on both engines: progress and notifications over real WebSockets, a worker that is killed, cancel and retry.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::matching_kit::{both, call, get, job, post, run_batch, start, user};
use crate::support::{Fanfare, Postgres, Settings, eventually, next_json};

async fn fill(server: &Fanfare, jobs: usize, users: usize) {
    for n in 1..=jobs {
        post(server, "/api/v2/jobs", job(n)).await;
    }
    for n in 1..=users {
        post(server, "/api/v2/users", user(n)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_morning_is_told_on_the_stream_and_each_user_hears_of_their_own() {
    for server in both().await {
        fill(&server, 30, 3).await;
        let users = get(&server, "/api/v2/users").await;
        let first = users["users"][0]["id"].as_i64().unwrap();
        let mut own = server.ws(&format!("/ws/match?user_id={first}")).await;
        let mut all = server.ws("/ws/match").await;
        let batch = run_batch(&server, "daily_matching").await;
        assert_eq!(
            (&batch["state"], &batch["processed"], &batch["total"]),
            (&json!("completed"), &json!(3), &json!(3))
        );
        let mine = next_json(&mut own).await;
        assert_eq!((&mine["message_type"], &mine["user_id"]), (&json!("match_notification"), &json!(first)));
        let (mut heard, mut told) = (HashSet::new(), Value::Null);
        while told["state"] != "completed" {
            let message = next_json(&mut all).await;
            match message["message_type"].as_str() {
                Some("batch_progress") => told = message,
                _ => assert!(heard.insert(message["user_id"].to_string()), "nobody is told twice"),
            }
        }
        assert_eq!((heard.len(), &told["processed"], &told["batch_id"]), (3, &json!(3), &batch["batch_id"]));
        let found = get(&server, &format!("/api/v2/matching/users/{first}")).await;
        let matches = found["matches"].as_array().unwrap();
        // Seven companies, three jobs of each at most.
        assert_eq!((matches.len(), &found["match_count"]), (21, &json!(21)));
        assert_eq!(matches[0]["components"]["occupation"], 25.0);
        let ids: HashSet<_> = matches.iter().map(|one| one["job_id"].to_string()).collect();
        assert_eq!(ids.len(), 21);
        let again = run_batch(&server, "daily_matching").await;
        let same = get(&server, &format!("/api/v2/matching/users/{first}")).await;
        assert_eq!((&same["batch_id"], &same["matches"]), (&again["batch_id"], &found["matches"]), "deterministic");
        for kind in ["scoring", "cleanup", "email_generation"] {
            assert_eq!(run_batch(&server, kind).await["state"], "completed", "{kind}");
        }
        let list = get(&server, "/api/v1/batch/status?batch_type=daily_matching&state=completed&limit=1").await;
        assert_eq!(
            (&list["pagination"]["total_items"], &list["batches"][0]["batch_id"]),
            (&json!(2), &again["batch_id"])
        );
        let figures = get(&server, "/api/v2/monitoring/matches").await;
        assert_eq!((&figures["batches"][0]["users"], &figures["batches"][0]["matches"]), (&json!(3), &json!(63)));
        assert_eq!(get(&server, "/api/v2/monitoring/batches").await["batches"][0]["batch_type"], "cleanup");
        get(&server, "/api/v2/monitoring/queues").await;
        let id = &batch["batch_id"];
        for path in [format!("/api/v1/batch/cancel/{id}"), format!("/api/v2/batch/retry/{id}")] {
            assert_eq!(call(&server, "POST", &path, Value::Null).await.0, 409, "it is over");
        }
        assert_eq!(call(&server, "POST", "/api/v1/batch/trigger", json!({"batch_type": "lunch"})).await.0, 422);
        assert_eq!(call(&server, "GET", "/api/v1/batch/status/99999", Value::Null).await.0, 404);
    }
}

/// A few users a part and short leases, so that a kill falls into the middle.
fn small_parts(settings: Settings) -> Settings {
    settings
        .env("FANFARE__MATCHING__USERS_PER_PART", "4")
        .env("FANFARE__QUEUE__LEASE_MS", "5000")
        .env("FANFARE__QUEUE__BACKOFF_INITIAL_MS", "200")
}

async fn killed(settings: Settings) {
    let mut server = start(small_parts(settings)).await;
    fill(&server, 20, 60).await;
    let batch = post(&server, "/api/v1/batch/trigger", json!({"batch_type": "daily_matching"})).await;
    let path = format!("/api/v1/batch/status/{}", batch["batch_id"]);
    server.kill9();
    server.restart().await;
    let batch = eventually("another process ends the batch", async || {
        let batch = get(&server, &path).await;
        (batch["state"] != "running").then_some(batch)
    })
    .await;
    assert_eq!((&batch["state"], &batch["processed"], &batch["failed"]), (&json!("completed"), &json!(60), &json!(0)));
    let figures = get(&server, "/api/v2/monitoring/matches").await;
    assert_eq!(figures["batches"][0]["users"], 60, "each user once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_s_parts_are_taken_over_on_sqlite() {
    killed(Settings::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_s_parts_are_taken_over_on_postgresql() {
    killed(Settings::new().database(&Postgres::database().await.url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_batch_stops_and_a_retry_does_the_rest() {
    for url in [None, Some(Postgres::database().await.url)] {
        let settings = url.iter().fold(small_parts(Settings::new()), |settings, url| settings.database(url));
        // One at a time, and a look a second: the batch is still under way when it is cancelled.
        let settings = settings.env("FANFARE__QUEUE__CONCURRENCY", "1");
        let server = start(settings).await;
        fill(&server, 10, 40).await;
        let batch = post(&server, "/api/v1/batch/trigger", json!({"batch_type": "daily_matching"})).await;
        let id = &batch["batch_id"];
        let (status, cancelled) = call(&server, "POST", &format!("/api/v1/batch/cancel/{id}"), Value::Null).await;
        assert_eq!((status, &cancelled["state"]), (200, &json!("cancelled")), "{cancelled}");
        let done = cancelled["processed"].as_i64().unwrap();
        assert!(done < 40);
        let retried = post(&server, &format!("/api/v1/batch/retry/{id}"), Value::Null).await;
        assert_eq!((&retried["state"], &retried["processed"]), (&json!("running"), &json!(done)));
        let ended = eventually("the rest is done", async || {
            let batch = get(&server, &format!("/api/v1/batch/status/{id}")).await;
            (batch["state"] == "completed").then_some(batch)
        })
        .await;
        assert_eq!((&ended["processed"], &ended["failed"]), (&json!(40), &json!(0)));
        assert_eq!(get(&server, "/api/v2/monitoring/matches").await["batches"][0]["users"], 40);
    }
}

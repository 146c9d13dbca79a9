//! A whole morning: jobs and users are imported, the batch is triggered, a worker is killed in the middle of it, everybody
//! hears of their own matches, and the mails arrive.
//!
//! `FANFARE_MORNING_JOBS=100000` makes it the size of the contract, with a tenth as many users.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use fanfare::feeds::matching::place::facts::PREFECTURES;
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::matching_data::{NEEDS, city, next, prefecture};
use crate::matching_kit::{get, post};
use crate::support::{Fanfare, PATIENCE, Postgres, Settings, Smtp, WebSocket, http, next_json};

const OCCUPATIONS: [&str; 11] = [
    "restaurant",
    "retail",
    "office",
    "logistics",
    "education",
    "medical",
    "construction",
    "manufacturing",
    "it",
    "service",
    "creative",
];
/// Rows of one import.
const ROWS: usize = 10_000;

fn jobs_csv(range: std::ops::Range<usize>, random: &mut u64) -> String {
    let mut csv = "external_id,company_name,title,occupation_category,prefecture,city,salary_min,salary_max,\
                   needs_categories,description\n"
        .to_owned();
    for n in range {
        let index = prefecture(random);
        let (place, city) = (&PREFECTURES[index], city(random, index));
        let wage = place.minimum_wage as u64;
        let offer = wage + next(random, wage / 2);
        let occupation = OCCUPATIONS[next(random, 11) as usize];
        let (need, company) = (NEEDS[next(random, 12) as usize], next(random, 1_000));
        writeln!(
            csv,
            "J-{n},会社{company},{occupation}の仕事です、経験は問いません,{occupation},{},{city},{offer},{},{need},駅から近い職場です",
            place.name,
            offer + 200
        )
        .unwrap();
    }
    csv
}

fn users_ndjson(users: usize, random: &mut u64) -> String {
    let mut lines = String::new();
    for n in 0..users {
        let index = prefecture(random);
        let (place, city) = (&PREFECTURES[index], city(random, index));
        let user = json!({
            "external_id": format!("U-{n}"), "email": format!("user-{n}@example.com"), "name": format!("利用者{n}"),
            "prefecture": place.name, "city": city, "profile": {"work_preferences": {
                "occupation_categories": [OCCUPATIONS[next(random, 11) as usize]],
                "salary_min": place.minimum_wage, "needs_categories": [NEEDS[next(random, 12) as usize]]}},
        });
        writeln!(lines, "{user}").unwrap();
    }
    lines
}

/// Waits for what may take long where there is much of it.
async fn in_time<T>(what: &str, rows: usize, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + 2 * PATIENCE + Duration::from_millis(10 * rows as u64);
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The next message; a part of a batch may take long.
async fn next_told(watcher: &mut WebSocket) -> Value {
    let next = tokio::time::timeout(6 * PATIENCE, async {
        loop {
            if let Message::Text(text) = watcher.next().await.expect("a stream").expect("a message") {
                return serde_json::from_str(&text).expect("JSON");
            }
        }
    });
    next.await.expect("a message within the time")
}

/// Sends rows and waits for the import's end; its progress comes at most ten times a second, and the end always.
async fn import(server: &Fanfare, watcher: &mut WebSocket, path: &str, media_type: &str, rows: String, count: usize) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("{}{path}", server.url())).header("Content-Type", media_type).body(rows);
    let task: Value = request.send().await.unwrap().json().await.unwrap();
    let id = task["task_id"].as_str().unwrap_or_else(|| panic!("{task}")).to_owned();
    let mut told = Vec::new();
    loop {
        let message = next_told(watcher).await;
        if message["batch_id"] == *id {
            let at = chrono::DateTime::parse_from_rfc3339(message["timestamp"].as_str().unwrap()).unwrap();
            let ended = message["state"] == "completed";
            told.push((at.timestamp_millis(), ended));
            if ended {
                assert_eq!((&message["processed"], &message["failed"]), (&json!(count), &json!(0)), "{message}");
                break;
            }
        }
    }
    let running: Vec<i64> = told.iter().filter(|(_, ended)| !ended).map(|(at_ms, _)| *at_ms).collect();
    assert!(running.windows(2).all(|pair| pair[1] - pair[0] >= 100), "{running:?}");
    let task = get(server, task["status_url"].as_str().unwrap()).await;
    assert_eq!((&task["state"], &task["succeeded"]), (&json!("completed"), &json!(count)));
}

/// The most memory that a process had.
fn most_resident(pid: i32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a high-water mark").trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_morning() {
    let jobs: usize = std::env::var("FANFARE_MORNING_JOBS").map_or(3_000, |value| value.parse().expect("a number"));
    let users = jobs / 10;
    let (smtp, database) = (Smtp::start().await, Postgres::database().await);
    let settings = Settings::new()
        .database(&database.url)
        .env("SMTP_HOST", smtp.host())
        .env("SMTP_PORT", smtp.port().to_string())
        .env("FROM_EMAIL", "Jobs <jobs@example.com>")
        .env("FANFARE__SMTP__SECURITY", "none")
        // Some watchers are not read for a while, and so answer no ping.
        .env("FANFARE__STREAM__PING_INTERVAL_S", "600")
        .env("FANFARE__QUEUE__POLL_MS", "100")
        .env("FANFARE__QUEUE__BACKOFF_INITIAL_MS", "200")
        .env("FANFARE__MATCHING__USERS_PER_PART", if users > 1_000 { "100" } else { "10" });
    let server = Fanfare::start(settings.clone()).await;
    let mut watcher = server.ws("/ws/match").await;
    let (mut random, began) = (2_026, Instant::now());
    for first in (0..jobs).step_by(ROWS) {
        let rows = jobs_csv(first..jobs.min(first + ROWS), &mut random);
        import(&server, &mut watcher, "/api/v2/jobs/bulk", "text/csv", rows, ROWS.min(jobs - first)).await;
    }
    let rows = users_ndjson(users, &mut random);
    import(&server, &mut watcher, "/api/v2/users/bulk", "application/x-ndjson", rows, users).await;
    let imported = began.elapsed();

    let known = get(&server, "/api/v2/users?limit=3").await;
    let mut own = Vec::new();
    for user in known["users"].as_array().unwrap() {
        let id = user["id"].as_i64().unwrap();
        own.push((id, server.ws(&format!("/ws/match?user_id={id}")).await));
    }
    // What a killed worker had in hand is free again when its lease ends.
    let brief = settings.clone().env("FANFARE__QUEUE__LEASE_MS", if users > 1_000 { "30000" } else { "10000" });
    let mut worker = Fanfare::worker(&brief);
    let began = Instant::now();
    let batch = post(&server, "/api/v1/batch/trigger", json!({"batch_type": "daily_matching"})).await;
    let (mut heard, mut killed, mut last) = (BTreeMap::<i64, u64>::new(), false, Value::Null);
    while last["state"] != "completed" {
        let message = next_told(&mut watcher).await;
        match message["message_type"].as_str() {
            Some("match_notification") => *heard.entry(message["user_id"].as_i64().unwrap()).or_default() += 1,
            _ if message["batch_id"] == batch["batch_id"] => last = message,
            _ => {}
        }
        if !killed && !heard.is_empty() {
            worker.again(&brief);
            killed = true;
        }
        assert_ne!(last["state"], "failed", "{last}");
    }
    assert_eq!((&last["processed"], &last["failed"]), (&json!(users), &json!(0)), "{last}");
    assert!(killed && heard.len() == users && heard.values().all(|count| *count == 1), "{} of {users}", heard.len());
    let figures = get(&server, "/api/v2/monitoring/matches").await;
    assert_eq!(figures["batches"][0]["users"], json!(users), "each user once");
    let matched = began.elapsed();
    for (id, stream) in &mut own {
        let message = next_json(stream).await;
        assert_eq!((&message["message_type"], &message["user_id"]), (&json!("match_notification"), &json!(id)));
        assert!(stream.next().now_or_never().is_none(), "nothing of other users");
    }

    // Its short lease would be over in the middle of a slow delivery, and a mail that was sent cannot be called back.
    drop(worker);
    let began = Instant::now();
    let mails = post(&server, "/api/v1/batch/trigger", json!({"batch_type": "email_generation"})).await;
    in_time("all mails are sent", users, async || {
        let list = get(&server, "/api/v2/email?state=sent&limit=1").await;
        (list["pagination"]["total_items"] == json!(users)).then_some(())
    })
    .await;
    let status = get(&server, &format!("/api/v1/batch/status/{}", mails["batch_id"])).await;
    assert_eq!((&status["state"], &status["total"]), (&json!("completed"), &json!(users)));
    let mut to: Vec<String> = smtp.mails().into_iter().flat_map(|mail| mail.to).collect();
    to.sort();
    let mut expected: Vec<String> = (0..users).map(|n| format!("user-{n}@example.com")).collect();
    expected.sort();
    assert_eq!(to, expected, "one mail each");
    println!(
        "{jobs} jobs and {users} users: imported in {imported:.1?}, matched in {matched:.1?} with a worker killed, \
         mails in {:.1?}; at most {} resident",
        began.elapsed(),
        most_resident(server.pid())
    );
    let text = http().get(format!("{}/metrics", server.url())).send().await.unwrap().text().await.unwrap();
    assert!(text.contains("fanfare_outbox_pending 0"), "nothing waits");
}

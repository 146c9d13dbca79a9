//! `POST /api/v1/events` as the real clients use it.

use serde_json::{Value, json};

use crate::progress_kit::{counted_once, engines, get, number, open, post, run, stored};
use crate::support::{Fanfare, Settings, databases, eventually, http, next_json};

/// Recorded from the extension, byte for byte.
const RECORDED: &str = r#"[{"eventId":"6e289d11-1014-4c77-837c-7fec639a774d","eventType":"cell_executed","eventTime":"2026-11-21T04:01:45.637Z",
    "emailAddress":"a1@example.com","teamName":"チームB","userName":"学生1","sessionId":"00a9ec11-745d-4104-a6e4-7af5cdb95940",
    "notebookPath":"demo.ipynb","cellId":"c68157db","cellIndex":3,"cellType":"code","code":"1/0","executionCount":3,"hasError":true,
    "errorMessage":"ZeroDivisionError: division by zero","result":"ZeroDivisionError: division by zero","executionDurationMs":2}]"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_event_reaches_the_dashboard_enriched_and_counts_once() {
    for settings in engines().await {
        let server = Fanfare::start(settings).await;
        let mut all = server.ws("/ws/progress").await;
        let mut class =
            server.ws("/ws/progress?class=3-B&student=a1@example.com&notebook=demo.ipynb&team=チームB").await;
        for _ in 0..3 {
            let request = http().post(format!("{}/api/v1/events?class=3-B", server.url()));
            let answer = request.header("content-type", "application/json").body(RECORDED).send().await.unwrap();
            assert_eq!(answer.status(), 202);
            let body: Value = answer.json().await.unwrap();
            assert_eq!(body, json!({"message": "1 events received and queued", "processed_count": 1}));
        }
        let other = json!([run("last", "b@x", 0, 0, None)]);
        assert_eq!(post(&server, &other).await.0, 202);
        let told = next_json(&mut all).await;
        assert_eq!(told, next_json(&mut class).await, "the filters let it pass");
        assert_eq!(told["message_type"], "progress_event");
        for (field, value) in [
            ("eventId", json!("6e289d11-1014-4c77-837c-7fec639a774d")),
            ("eventTime", json!("2026-11-21T04:01:45.637Z")),
            ("userId", json!("a1@example.com")),
            ("emailAddress", json!("a1@example.com")),
            ("teamName", json!("チームB")),
            ("class", json!("3-B")),
            ("cellIndex", json!(3)),
            ("status", json!("error")),
            ("runs", json!(1)),
            ("errors", json!(1)),
            ("solved", json!(false)),
            ("errorsInRow", json!(1)),
            ("signals", json!({"stuck": false, "failing": false, "help": false, "idle": false})),
        ] {
            assert_eq!(told[field], value, "{field} of {told}");
        }
        assert!(told["receivedAt"].is_string());
        // The two repetitions were told to nobody: the next is the other event.
        assert_eq!(next_json(&mut all).await["eventId"], "last");
        let line = get(&server, "/api/v1/progress/students/a1@example.com/timeline").await;
        assert_eq!(line["pagination"]["total_items"], 1);
        assert_eq!(line["items"][0]["error_name"], "ZeroDivisionError");
    }
}

/// What is wrong with an event, the field that is named, and words of the reason.
fn bad_events() -> Vec<(Value, &'static str, &'static str)> {
    let with = |field: &str, value: Value| {
        let mut event = run("bad", "a@x", 1, 0, None);
        event[field] = value;
        event
    };
    let mut nobody = with("emailAddress", Value::Null);
    nobody["userId"] = json!(" ");
    vec![
        (json!(7), "", "not an object"),
        (json!([]), "", "not an object"),
        (with("eventType", Value::Null), "eventType", "required"),
        (with("eventType", json!("")), "eventType", "required"),
        (with("eventType", json!({})), "eventType", "not a text"),
        (with("eventType", json!("x".repeat(101))), "eventType", "more than 100"),
        (with("eventTime", Value::Null), "eventTime", "required"),
        (with("eventTime", json!("yesterday")), "eventTime", "ISO 8601"),
        (with("eventTime", json!("1826-01-01T00:00:00Z")), "eventTime", "2000 to 2099"),
        (with("eventTime", json!(true)), "eventTime", "ISO 8601"),
        (with("eventId", json!("x".repeat(256))), "eventId", "more than 255"),
        (nobody, "userId", "required"),
        (with("cellIndex", json!(-1)), "cellIndex", "whole number"),
        (with("cellIndex", json!(1.5)), "cellIndex", "whole number"),
        (with("executionCount", json!("many")), "executionCount", "not a number"),
        (with("executionDurationMs", json!(-0.1)), "executionDurationMs", "from 0"),
        (with("hasError", json!("no")), "hasError", "true or false"),
        (with("notebookPath", json!("x".repeat(1025))), "notebookPath", "more than 1024"),
        (with("cellId", json!("a\nb")), "cellId", "control characters"),
        (with("metadata", json!("x".repeat(70_000))), "metadata", "more than"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_events_are_named_and_spoil_no_batch() {
    for (settings, url) in engines().await.into_iter().zip([None, Some(())]) {
        let server = Fanfare::start(settings.clone()).await;
        let (mut batch, mut expected) = (vec![run("good", "a@x", 1, 0, None)], Vec::new());
        for (index, (event, field, reason)) in bad_events().into_iter().enumerate() {
            let (status, problem) = post(&server, &json!([event])).await;
            assert_eq!(status, 422, "{event}");
            let named = if field.is_empty() { "[0]".to_owned() } else { format!("[0].{field}") };
            assert_eq!(problem["errors"][0]["field"], named, "{event}: {problem}");
            assert!(problem["errors"][0]["message"].as_str().unwrap().contains(reason), "{event}: {problem}");
            batch.push(event);
            expected.push((index + 1, field));
        }
        let (status, answer) = post(&server, &json!(batch)).await;
        assert_eq!((status, &answer["processed_count"]), (202, &json!(1)));
        let rejected = answer["rejected"].as_array().unwrap();
        let named: Vec<_> =
            rejected.iter().map(|it| (it["index"].as_u64().unwrap() as usize, it["field"].as_str().unwrap())).collect();
        assert_eq!(named, expected);
        let summary = async || get(&server, "/api/v1/progress/overview").await["summary"]["students"].as_i64();
        eventually("the good one", async || (summary().await == Some(1)).then_some(())).await;
        if url.is_none() {
            let db = open(&format!("sqlite://{}", server.data_dir().join("fanfare.db").display())).await;
            counted_once(&db, 1).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_but_harmless_events_are_taken_and_a_repetition_without_id_counts_once() {
    for settings in engines().await {
        let zone = settings.env("FANFARE__PROGRESS__ZONE_OFFSET_MINUTES", "540");
        let server = Fanfare::start(zone).await;
        // As the simulators have it: no id, local time, nulls, float, and fields and types that nobody knows.
        let simulated = json!({"eventType": "cell_error", "eventTime": "2026-11-21T13:01:45.637123", "userId": 17,
            "userName": "sim", "notebookPath": "/w/sim.ipynb", "cellId": null, "cellIndex": 2, "errorMessage": "NameError: x",
            "executionDurationMs": 12.75, "metadata": {"a": [1, null]}, "mood": "good\u{0}", "result": {"text": "x"}});
        let odd = json!({"eventId": "odd", "eventType": "quiz_answered", "eventTime": 1795233705638_i64, "userId": "17",
            "code": ["a = 1\n", "b"], "answer": {"deep": "\u{0}"}});
        let long = json!({"eventId": "long", "eventType": "cell_executed", "eventTime": "2026-11-21 04:01:46+00:00",
            "userId": "17", "cellIndex": 1, "result": "あ".repeat(40_000)});
        let batch = json!([simulated, odd, long]);
        for _ in 0..2 {
            assert_eq!(
                post(&server, &batch).await,
                (202, json!({"message": "3 events received and queued", "processed_count": 3}))
            );
        }
        let total = async || get(&server, "/api/v1/progress/overview").await["summary"]["students"] == 1;
        eventually("the student", async || total().await.then_some(())).await;
        let timeline = async || get(&server, "/api/v1/progress/students/17/timeline").await;
        let line = eventually("three events", async || {
            Some(timeline().await).filter(|line| line["pagination"]["total_items"] == 3)
        })
        .await;
        let of = |id: &str| line["items"].as_array().unwrap().iter().find(|it| it["event_id"] == id).unwrap().clone();
        let made = line["items"].as_array().unwrap().iter().find(|it| it["event_type"] == "cell_error").unwrap();
        assert_eq!(made["event_time"], "2026-11-21T04:01:45.637Z", "nine hours east");
        assert_eq!(
            (&made["cell_id"], &made["status"], &made["duration_ms"]),
            (&json!("#2"), &json!("error"), &json!(12.75))
        );
        assert_eq!(made["payload"]["extra"]["mood"], "good\u{fffd}");
        assert_eq!(of("odd")["payload"]["code"], "a = 1\nb");
        assert_eq!(of("odd")["payload"]["extra"]["answer"]["deep"], "\u{fffd}");
        let cut = of("long")["output"].as_str().unwrap().len();
        assert!((65_530..=65_536).contains(&cut), "{cut}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_and_shapes_have_their_answers_and_browsers_may_read_them() {
    let server = Fanfare::start(Settings::new().env("ALLOWED_ORIGINS", "http://127.0.0.1:18888")).await;
    let url = format!("{}/api/v1/events", server.url());
    let batch = |count: i64| (0..count).map(|i| run(&format!("e{i}"), "a@x", i, i, None)).collect::<Vec<_>>();
    let cases = [
        (json!([]).to_string(), "application/json", 400),
        (json!(batch(101)).to_string(), "application/json", 413),
        (json!(batch(100)).to_string(), "application/json", 202),
        ("[".into(), "application/json", 400),
        ("{}".into(), "application/json", 422),
        ("[]".into(), "text/plain", 415),
        (json!([{}]).to_string(), "application/json", 422),
    ];
    for (body, content_type, status) in cases {
        let request = http().post(&url).header("origin", "http://127.0.0.1:18888").header("content-type", content_type);
        let answer = request.body(body).send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["access-control-allow-origin"], "http://127.0.0.1:18888", "{status}");
    }
    let preflight = http()
        .request(reqwest::Method::OPTIONS, &url)
        .header("origin", "http://127.0.0.1:18888")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    let answer = preflight.send().await.unwrap();
    assert!(answer.status().is_success());
    assert_eq!(answer.headers()["access-control-max-age"], "7200");
    assert!(answer.headers()["access-control-allow-headers"].to_str().unwrap().contains("content-type"));
    assert!(answer.headers()["access-control-allow-methods"].to_str().unwrap().contains("POST"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_students_key_posts_events_and_does_nothing_else() {
    let (manager, student) = ("m".repeat(32), "s".repeat(32));
    let settings =
        Settings::new().env("FANFARE__AUTH__API_KEYS", format!("manager:{manager},[events:write]:{student}"));
    let server = Fanfare::start(settings).await;
    let send = async |path: &str, key: Option<&str>| {
        let mut request = http().post(format!("{}{path}", server.url())).json(&json!([run("k", "a@x", 1, 1, None)]));
        if let Some(key) = key {
            request = request.header("x-api-key", key);
        }
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(send("/api/v1/events", None).await, 401);
    assert_eq!(send("/api/v1/events?key=wrong", None).await, 401);
    assert_eq!(send(&format!("/api/v1/events?key={student}"), None).await, 202);
    assert_eq!(send("/api/v1/events", Some(&student)).await, 202);
    assert_eq!(send("/api/v1/events", Some(&manager)).await, 202);
    assert_eq!(send(&format!("/api/v1/events?key={manager}"), None).await, 403, "a manager's key is not for URLs");
    assert_eq!(send(&format!("/api/v1/events/{student}"), None).await, 202);
    assert_eq!(send("/api/v1/inventory", Some(&student)).await, 403);
    let read = http().get(format!("{}/api/v1/progress/overview?class=x", server.url()));
    assert_eq!(read.header("x-api-key", &student).send().await.unwrap().status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn pioneers_events_arrive_without_the_environment() {
    let server = Fanfare::start(Settings::new()).await;
    let mut stream = server.ws("/ws/progress").await;
    let post = async |name: &str, env: Value| {
        let body = json!({"data": {"eventDetail": {"eventName": name, "eventTime": 1795233705638_i64,
            "eventInfo": {"cells": [{"id": "c1", "index": 3, "type": "code"}], "success": false, "environ": {"TOKEN": "hush"},
                "kernelError": {"errorName": "ZeroDivisionError", "errorValue": "division by zero", "traceback": ["t"]}}},
            "notebookState": {"sessionID": "s", "notebookPath": "demo.ipynb", "notebookContent": null}},
            "params": {"classroom": "A"}, "env": env});
        http()
            .post(format!("{}/api/v1/events/pioneer", server.url()))
            .json(&body)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(post("CellExecuteEvent", json!([{"HOME": "hush"}])).await, 422, "nobody is named");
    for _ in 0..2 {
        assert_eq!(post("CellExecuteEvent", json!([{"STUDENT_ID": "s-42"}, {"HOME": "hush"}])).await, 202);
    }
    assert_eq!(post("NotebookOpenEvent", json!([{"STUDENT_ID": "s-42"}])).await, 202);
    let told = next_json(&mut stream).await;
    assert_eq!(
        (&told["eventType"], &told["userId"], &told["class"]),
        (&json!("cell_executed"), &json!("s-42"), &json!("A"))
    );
    assert_eq!(told["errorMessage"], "ZeroDivisionError: division by zero");
    assert_eq!(next_json(&mut stream).await["eventType"], "notebook_opened");
    let db = open(&format!("sqlite://{}", server.data_dir().join("fanfare.db").display())).await;
    stored(&db, 2).await;
    let sql = "SELECT count(*) AS number FROM progress_events WHERE payload LIKE '%hush%'";
    assert_eq!(number(&db, sql).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_takes_its_events_along() {
    for test in databases().await {
        let server = Fanfare::start(Settings::new().database(&test.url)).await;
        let mut elsewhere = run("3", "c@x", 1, 2, None);
        elsewhere["notebookPath"] = json!("other.ipynb");
        let events = json!([run("1", "a@x", 1, 0, None), run("2", "b@x", 1, 1, None), elsewhere]);
        assert_eq!(post(&server, &events).await.0, 202);
        stored(&test.db, 3).await;
        drop(server);
        for (sql, left) in [
            ("DELETE FROM students WHERE user_id = 'a@x'", 2),
            ("DELETE FROM notebooks WHERE path = 'other.ipynb'", 1),
            ("DELETE FROM progress_events", 0),
        ] {
            test.db.execute(sql, vec![]).await.unwrap();
            for count in
                ["SELECT count(*) AS number FROM progress_events", "SELECT count(*) AS number FROM cell_executions"]
            {
                assert_eq!(number(&test.db, count).await, left, "{sql}, {count} on {}", test.db.engine());
            }
        }
    }
}

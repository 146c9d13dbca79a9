//! What instructors are told, on both engines, of events that came in disorder.

use serde_json::{Value, json};

use crate::progress_kit::{engines, get, post, run};
use crate::support::{Fanfare, eventually, http};

fn event(id: &str, event_type: &str, user: &str, second: i64) -> Value {
    let mut event = run(id, user, 0, second, None);
    event["eventType"] = event_type.into();
    for field in
        ["cellId", "cellIndex", "cellType", "code", "executionCount", "hasError", "result", "executionDurationMs"]
    {
        event[field] = Value::Null;
    }
    event
}

/// Two students of class A and one of B, sent in disorder and some of it twice.
fn lesson() -> Vec<Value> {
    let in_class = |mut event: Value, class: &str| {
        event["class"] = class.into();
        event
    };
    let mut markdown = run("m", "ann@x", 9, 5, None);
    markdown["cellType"] = "markdown".into();
    vec![
        markdown,
        in_class(event("o", "notebook_opened", "ann@x", 1), "A"),
        in_class(run("a3", "ann@x", 2, 30, None), "A"),
        in_class(run("a1", "ann@x", 1, 10, Some("NameError: name 'y' is not defined")), "A"),
        in_class(event("h2", "help_stop", "bob@x", 80), "A"),
        in_class(run("b4", "bob@x", 1, 75, Some("ValueError: no")), "A"),
        in_class(run("a2", "ann@x", 1, 20, None), "A"),
        in_class(run("b1", "bob@x", 1, 12, Some("NameError: name 'y' is not defined")), "A"),
        in_class(run("b3", "bob@x", 1, 70, Some("NameError: name 'z' is not defined")), "A"),
        in_class(event("h1", "help", "bob@x", 71), "A"),
        in_class(run("b2", "bob@x", 1, 60, Some("NameError: name 'y' is not defined")), "A"),
        in_class(run("a1", "ann@x", 1, 10, Some("NameError: name 'y' is not defined")), "A"),
        in_class(run("c1", "cem@x", 2, 40, None), "B"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_tell_the_state_by_the_events_own_times() {
    for settings in engines().await {
        let server = Fanfare::start(settings).await;
        // One by one, so that each arrives by itself.
        for event in lesson() {
            assert_eq!(post(&server, &json!([event])).await.0, 202);
        }
        let total = async || {
            let cells = get(&server, "/api/v1/progress/cells").await;
            cells["items"].as_array().unwrap().iter().map(|cell| cell["runs"].as_i64().unwrap()).sum::<i64>()
        };
        eventually("all runs", async || (total().await == 8).then_some(())).await;
        let students = async || get(&server, "/api/v1/progress/overview").await["summary"]["students"] == 3;
        eventually("all students", async || students().await.then_some(())).await;
        overview(&server).await;
        cells(&server).await;
        matrix(&server).await;
        timeline(&server).await;
    }
}

async fn overview(server: &Fanfare) {
    let all = get(server, "/api/v1/progress/overview").await;
    assert_eq!(all["summary"], json!({"students": 3, "active": 3, "stuck": 0, "failing": 1, "help": 0, "idle": 0}));
    let class = get(server, "/api/v1/progress/overview?class=A&limit=1&page=2").await;
    assert_eq!((&class["summary"]["students"], &class["pagination"]["total_pages"]), (&json!(2), &json!(2)));
    let bob = &class["items"][0];
    for (field, value) in [
        ("user_id", json!("bob@x")),
        ("notebook", json!("week1/demo.ipynb")),
        ("cell_id", json!("cell1")),
        ("runs", json!(4)),
        ("errors", json!(4)),
        ("solved", json!(0)),
        ("errors_in_row", json!(4)),
        ("is_failing", json!(true)),
        ("is_asking", json!(false)),
    ] {
        assert_eq!(bob[field], value, "{field} of {bob}");
    }
    let ann = get(server, "/api/v1/progress/students/ann@x").await;
    assert_eq!((&ann["cell_id"], &ann["runs"], &ann["solved"]), (&json!("cell2"), &json!(3), &json!(2)));
    assert_eq!(ann["errors_in_row"], 0);
    // Of a time in which only Ann did something: from second 15 to 35.
    let range = "from=2026-11-18T11:06:55Z&to=2026-11-18T11:07:15Z";
    let narrow = get(server, &format!("/api/v1/progress/overview?{range}")).await;
    assert_eq!((&narrow["summary"]["students"], &narrow["items"][0]["runs"]), (&json!(1), &json!(2)), "{narrow}");
    let help = get(server, "/api/v1/progress/help").await;
    assert_eq!(help["pagination"]["total_items"], 1);
    assert_eq!(help["items"][0]["user_id"], "bob@x");
    assert!(help["items"][0]["ended_at"].is_string(), "the end was known before the call: {help}");
    assert_eq!(get(server, "/api/v1/progress/help?open=true").await["pagination"]["total_items"], 0);
}

async fn cells(server: &Fanfare) {
    let cells = get(server, "/api/v1/progress/cells?class=A").await;
    let worst = &cells["items"][0];
    for (field, value) in [
        ("cell_id", json!("cell1")),
        ("runs", json!(6)),
        ("errors", json!(5)),
        ("students", json!(2)),
        ("solved", json!(1)),
        ("most_frequent_error", json!({"name": "NameError", "count": 4})),
        ("duration_ms", json!({"mean": 2.5, "median": 2.5, "p95": 2.5, "max": 2.5})),
    ] {
        assert_eq!(worst[field], value, "{field} of {worst}");
    }
    assert!((worst["error_rate"].as_f64().unwrap() - 5.0 / 6.0).abs() < 1e-9);
    // From the markdown cell at 5 to the success at 20.
    assert_eq!(worst["median_seconds_to_solve"], 15.0);
    for order in ["runs", "errors", "position"] {
        let sorted = get(server, &format!("/api/v1/progress/cells?sort_by={order}&notebook=week1/demo.ipynb")).await;
        assert_eq!(
            (&sorted["items"][0]["cell_id"], &sorted["pagination"]["total_items"]),
            (&json!("cell1"), &json!(2))
        );
    }
    let activity = get(server, "/api/v1/progress/activity?step_s=60").await;
    let sum =
        |field: &str| activity["items"].as_array().unwrap().iter().map(|it| it[field].as_i64().unwrap()).sum::<i64>();
    assert_eq!((sum("runs"), sum("errors"), sum("solved")), (8, 5, 3), "{activity}");
}

async fn matrix(server: &Fanfare) {
    let matrix = get(server, "/api/v1/progress/matrix?notebook=week1/demo.ipynb").await;
    let names: Vec<&str> =
        matrix["cells"].as_array().unwrap().iter().map(|it| it["cell_id"].as_str().unwrap()).collect();
    assert_eq!(names, ["cell1", "cell2"], "no markdown");
    let line = |index: usize| {
        let cells = matrix["items"][index]["cells"].as_array().unwrap().iter();
        cells.map(|cell| cell["status"].as_str().unwrap_or("none").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (line(0), line(1), line(2)),
        (
            vec!["solved".to_owned(), "solved".to_owned()],
            vec!["failed".to_owned(), "none".to_owned()],
            vec!["none".to_owned(), "solved".to_owned()],
        )
    );
    for (path, status) in [
        ("matrix", 422),
        ("matrix?notebook=nowhere", 404),
        ("students/nobody", 404),
        ("students/nobody/timeline", 404),
        ("cells?sort_by=mood", 422),
        ("overview?limit=0", 422),
        ("overview?mood=good", 400),
        ("overview?from=noon", 400),
        ("overview?from=2027-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", 422),
        ("activity?step_s=0", 422),
        ("overview?class=%00", 422),
    ] {
        let answer = http().get(format!("{}/api/v1/progress/{path}", server.url())).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
}

async fn timeline(server: &Fanfare) {
    let line = get(server, "/api/v1/progress/students/ann@x/timeline?limit=3").await;
    let ids: Vec<&str> = line["items"].as_array().unwrap().iter().map(|it| it["event_id"].as_str().unwrap()).collect();
    assert_eq!((ids, &line["pagination"]["total_items"]), (vec!["a3", "a2", "a1"], &json!(5)));
    assert_eq!(line["items"][2]["error_name"], "NameError");
}

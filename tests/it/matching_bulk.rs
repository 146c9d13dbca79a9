//! Imports over real HTTP, on both engines: formats, encodings, refusals with their lines, the background and its poll.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::matching_kit::{both, call, get, job, user};
use crate::support::{Fanfare, eventually, http, next_json};

async fn send(server: &Fanfare, path: &str, media_type: &str, body: Vec<u8>) -> (u16, Value) {
    let request = http().post(format!("{}{path}", server.url())).header("Content-Type", media_type).body(body);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

const CSV: &str = "external_id,company_name,title,occupation_category,prefecture,salary_min,salary_max,features,description\n\
    C-1,会社,\"カフェ, 店員\",restaurant,東京都,1200,1500,未経験歓迎|駅近,\"二行の\n説明\"\n\
    C-2,会社,,restaurant,東京都,1200,1500,,\n\
    C-3,会社,倉庫,pirate,東京都,1200,1500,,\n\
    C-4,会社,倉庫,logistics,東京都,many,1500,,\n\
    C-1,会社,また,restaurant,東京都,1200,1500,,\n\
    C-5,会社,少ない\n";

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_right_go_in_and_the_others_are_listed() {
    for server in both().await {
        let (status, imported) = send(&server, "/api/v2/jobs/bulk", "text/csv", CSV.into()).await;
        assert_eq!((status, &imported["succeeded"], &imported["failed"]), (200, &json!(1), &json!(5)), "{imported}");
        let refused: Vec<(i64, &str)> = imported["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| (error["line"].as_i64().unwrap(), error["field"].as_str().unwrap()))
            .collect();
        let expected = [(4, "title"), (5, "occupation_category"), (6, "salary_min"), (7, "external_id"), (8, "row")];
        assert_eq!(refused, expected, "{imported}");
        let list = get(&server, "/api/v2/jobs").await;
        assert_eq!(list["jobs"][0]["features"], json!(["未経験歓迎", "駅近"]));
        assert_eq!(
            (&list["jobs"][0]["title"], &list["jobs"][0]["description"]),
            (&json!("カフェ, 店員"), &json!("二行の\n説明"))
        );

        // The same words as a spreadsheet of a Japanese Windows saves them: 会社 is 89EF 8ED0.
        let mut form = b"--mark\r\nContent-Disposition: form-data; name=\"file\"; filename=\"jobs.csv\"\r\nContent-Type: text/csv\r\n\r\n".to_vec();
        form.extend(b"external_id,company_name,title,occupation_category\r\nS-1,\x89\xef\x8e\xd0,\x93\x8c\x8b\x9e,it\r\n\r\n--mark--\r\n");
        let (status, imported) = send(&server, "/api/v2/jobs/bulk", "multipart/form-data; boundary=mark", form).await;
        assert_eq!((status, &imported["succeeded"]), (200, &json!(1)), "{imported}");
        assert_eq!(get(&server, "/api/v2/jobs?keyword=東京&limit=1").await["pagination"]["total_items"], 2);
        assert_eq!(get(&server, "/api/v2/jobs?occupation_categories=it").await["jobs"][0]["company_name"], "会社");

        let lines = format!("{}\n\nnot json\n{}\n", job(50), json!({"title": "x"}));
        let (_, imported) = send(&server, "/api/v2/jobs/bulk", "application/x-ndjson", lines.into()).await;
        assert_eq!((&imported["succeeded"], &imported["errors"][0]["line"]), (&json!(1), &json!(3)), "{imported}");
        assert_eq!(imported["errors"][1]["line"], 4);
        let users = json!([user(1), user(2), user(1), {"email": "nobody"}]);
        let (_, imported) = send(&server, "/api/v2/users/bulk", "application/json", users.to_string().into()).await;
        assert_eq!((&imported["succeeded"], &imported["failed"]), (&json!(2), &json!(2)), "{imported}");
        for (media_type, body, status) in [
            ("text/plain", "x", 415),
            ("application/json", "{", 400),
            ("text/csv", "", 400),
            ("multipart/form-data; boundary=x", "y", 400),
        ] {
            assert_eq!(send(&server, "/api/v2/jobs/bulk", media_type, body.into()).await.0, status, "{media_type}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_go_in_in_the_background() {
    for server in both().await {
        let mut told = server.ws("/ws/match").await;
        let mut lines = String::new();
        for n in 1..=1_200 {
            let mut row = job(n);
            if n % 100 == 0 {
                row["title"] = json!("");
            }
            writeln!(lines, "{row}").unwrap();
        }
        let (status, task) = send(&server, "/api/v2/jobs/bulk", "application/x-ndjson", lines.into()).await;
        assert_eq!((status, &task["total"]), (202, &json!(1_200)), "{task}");
        let path = task["status_url"].as_str().unwrap();
        let done = eventually("the import ends", async || {
            let task = get(&server, path).await;
            (task["state"] == "completed").then_some(task)
        })
        .await;
        assert_eq!(
            (&done["processed"], &done["succeeded"], &done["failed"]),
            (&json!(1_200), &json!(1_188), &json!(12))
        );
        let errors = done["errors"].as_array().unwrap();
        assert_eq!((errors.len(), &errors[0]["line"], &errors[0]["field"]), (12, &json!(100), &json!("title")));
        let mut last = Value::Null;
        while last["state"] != "completed" {
            last = next_json(&mut told).await;
            assert_eq!((&last["batch_type"], &last["batch_id"]), (&json!("import_jobs"), &task["task_id"]));
        }
        assert_eq!(last["processed"], 1_200);
        assert_eq!(get(&server, "/api/v2/jobs").await["pagination"]["total_items"], 1_188);
        eventually("all are scored", async || {
            let list = get(&server, "/api/v2/jobs?sort_by=basic_score&sort_order=asc&limit=1").await;
            (list["jobs"][0]["basic_score"] != 0).then_some(())
        })
        .await;
        assert_eq!(call(&server, "GET", "/api/v1/tasks/none/status", Value::Null).await.0, 404);
    }
}

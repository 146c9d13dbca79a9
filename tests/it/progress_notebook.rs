//! Real notebooks: a kernel that nbclient drives, and JupyterLab in a browser with an exporter that its users install.
//! What is run there ends on the instructor's stream and in both stores.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::progress_kit::{get, number, open};
use crate::support::{Fanfare, Settings, Victoria, WebSocket, eventually};

/// `make test-setup` fills this environment; its own variable is for one that stands elsewhere.
fn python() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let python = std::env::var_os("FANFARE_NOTEBOOK_PYTHON").map(PathBuf::from);
    python.unwrap_or_else(|| target.join("notebook-venv/bin/python"))
}

/// The program that runs a notebook; it ends with the value.
struct Notebook(Child);

impl Notebook {
    /// Starts it and waits until all cells have been run.
    async fn run(mode: &'static str, url: String) -> Self {
        let python = python();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/notebook.py");
        let mut child = Command::new(&python)
            .arg(script)
            .args([mode, &url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; `make test-setup` installs it", python.display()));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ran = tokio::task::spawn_blocking(move || lines.next().and_then(Result::ok));
        let ran =
            tokio::time::timeout(Duration::from_secs(180), ran).await.expect("the notebook runs in time").unwrap();
        let notebook = Self(child);
        assert_eq!(ran.as_deref(), Some("ran"), "see its errors above");
        notebook
    }
}

impl Drop for Notebook {
    fn drop(&mut self) {
        // It ends with its input, and takes its browser and kernels with it.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn settings(store: &Victoria) -> Settings {
    // The watchers are not read while the notebook runs, and so answer no ping.
    let patient = Settings::new().env("FANFARE__STREAM__PING_INTERVAL_S", "600");
    patient.env("INFLUXDB_URL", store.url()).env("FANFARE__SERIES__BATCH_AGE_MS", "20")
}

/// The next `count` events of a type that the instructor sees, by the index of their cell.
async fn told(stream: &mut WebSocket, event_type: &str, count: usize) -> Vec<Value> {
    let mut told = Vec::new();
    while told.len() < count {
        let message = crate::support::next_json(stream).await;
        if message["message_type"] == "progress_event" && message["eventType"] == event_type {
            told.push(message);
        }
    }
    told.sort_by_key(|event| event["cellIndex"].as_i64());
    told
}

async fn stored(server: &Fanfare, store: &Victoria, runs: i64) {
    let db = open(&format!("sqlite://{}", server.data_dir().join("fanfare.db").display())).await;
    assert_eq!(number(&db, "SELECT count(*) AS number FROM cell_executions").await, runs);
    assert_eq!(number(&db, "SELECT count(*) AS number FROM cell_executions WHERE status = 'error'").await, 1);
    eventually("all points in the store", async || {
        let series = store.series("student_progress_runs").await;
        let points: usize = series.iter().map(|(_, points)| points.len()).sum();
        (points as i64 >= runs).then_some(())
    })
    .await;
    assert_eq!(store.invalid_lines().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notebook_on_a_real_kernel_ends_on_the_stream_and_in_both_stores() {
    let store = Victoria::start().await;
    let server = Fanfare::start(settings(&store)).await;
    let mut stream = server.ws("/ws/progress").await;
    let mut team = server.ws("/ws/progress?team=チームB").await;
    let _notebook = Notebook::run("kernel", server.url()).await;
    let runs = told(&mut stream, "cell_executed", 5).await;
    let fields: Vec<_> = runs.iter().map(|run| (&run["cellType"], &run["result"], &run["hasError"])).collect();
    let (code, no, yes) = (&json!("code"), &json!(false), &json!(true));
    assert_eq!(
        fields,
        [
            (&json!("markdown"), &json!(""), no),
            (code, &json!("42"), no),
            (code, &json!(""), no),
            (code, &json!("'slow'"), no),
            (code, &json!("ZeroDivisionError: division by zero"), yes)
        ]
    );
    assert_eq!((&runs[4]["errorsInRow"], &runs[1]["executionCount"]), (&json!(1), &json!(1)));
    assert_eq!(told(&mut team, "cell_executed", 5).await.len(), 5, "by team, too");
    let overview = get(&server, "/api/v1/progress/students/a1@example.com").await;
    assert!(overview.to_string().contains("学生1"), "{overview}");
    stored(&server, &store, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jupyterlab_in_a_browser_ends_on_the_stream_and_in_both_stores() {
    let store = Victoria::start().await;
    let server = Fanfare::start(settings(&store)).await;
    let mut stream = server.ws("/ws/progress?class=A").await;
    let _notebook = Notebook::run("lab", server.url()).await;
    // The exporter tells of the markdown cell, too, when it was listening by then.
    let (mut runs, mut all) = (Vec::new(), 0);
    while runs.len() < 4 {
        let run = told(&mut stream, "cell_executed", 1).await.remove(0);
        all += 1;
        if run["cellType"] == "code" {
            runs.push(run);
        }
    }
    runs.sort_by_key(|run| run["cellIndex"].as_i64());
    for run in &runs {
        assert_eq!(
            (&run["userId"], &run["class"], &run["notebookPath"]),
            (&json!("s-42"), &json!("A"), &json!("demo.ipynb"))
        );
    }
    assert_eq!(runs[3]["errorMessage"], "ZeroDivisionError: division by zero");
    assert!(runs[..3].iter().all(|run| run["hasError"] == false));
    stored(&server, &store, all).await;
}

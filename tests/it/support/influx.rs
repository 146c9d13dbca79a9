//! A stand-in for InfluxDB 2, for what no real store here can be made to show: refusals, limits, silence, buckets, tasks.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// Takes writes as InfluxDB does: all lines or none. What it is told to do otherwise comes first.
pub struct FakeInflux {
    url: String,
    desk: Arc<Desk>,
    server: JoinHandle<()>,
}

/// A write that came in, whatever became of it.
#[derive(Clone, Debug)]
pub struct Write {
    pub at: Instant,
    pub query: String,
    pub headers: HeaderMap,
    pub lines: Vec<String>,
}

#[derive(Clone, Debug)]
pub enum Answer {
    Status(u16, &'static str),
    /// For so long, with this in `Retry-After`: 429.
    LimitedFor(Duration, &'static str),
    /// None, until the caller gives up.
    Silence,
}

#[derive(Default)]
struct Desk {
    state: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    answers: VecDeque<Answer>,
    limited: Option<(Instant, &'static str)>,
    /// A line with this in it makes the whole write a 400.
    poison: Option<&'static str>,
    /// More lines than this are a 413.
    most_lines: Option<usize>,
    writes: Vec<Write>,
    stored: Vec<String>,
    /// What queries are answered, and those that came.
    table: (u16, String),
    queries: Vec<String>,
    buckets: Vec<Value>,
    tasks: Vec<Value>,
}

impl FakeInflux {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let url = format!("http://{}", listener.local_addr().expect("address"));
        let desk = Arc::<Desk>::default();
        let api = Router::new()
            .route("/api/v2/write", post(write))
            .route("/api/v2/query", post(query))
            .route("/api/v2/orgs", get(async || Json(json!({"orgs": [{"id": "0123", "name": "o"}]}))))
            .route("/api/v2/buckets", get(buckets).post(buckets))
            .route("/api/v2/tasks", get(tasks).post(tasks))
            .route("/api/v2/tasks/{id}", axum::routing::patch(change_task))
            .route("/ping", get(async || StatusCode::NO_CONTENT));
        let router = Router::new().nest("/behind", api.clone()).merge(api).with_state(desk.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("serve") });
        Self { url, desk, server }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The next answers, in order; then writes are taken again.
    pub fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.desk.state().answers.extend(answers);
    }

    pub fn poison(&self, text: Option<&'static str>) {
        self.desk.state().poison = text;
    }

    pub fn most_lines(&self, most: usize) {
        self.desk.state().most_lines = Some(most);
    }

    /// What the next queries are answered.
    pub fn table(&self, status: u16, csv: &str) {
        self.desk.state().table = (status, csv.to_owned());
    }

    pub fn queries(&self) -> Vec<String> {
        self.desk.state().queries.clone()
    }

    pub fn writes(&self) -> Vec<Write> {
        self.desk.state().writes.clone()
    }

    /// The lines that were taken, in the order in which they came.
    pub fn stored(&self) -> Vec<String> {
        self.desk.state().stored.clone()
    }

    pub fn buckets(&self) -> Vec<Value> {
        self.desk.state().buckets.clone()
    }

    pub fn tasks(&self) -> Vec<Value> {
        self.desk.state().tasks.clone()
    }

    /// Changes a task as somebody else might.
    pub fn spoil_task(&self, index: usize) {
        self.desk.state().tasks[index]["flux"] = "something else".into();
    }
}

impl Drop for FakeInflux {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().expect("lock")
    }
}

fn error(status: u16, message: &str) -> Response {
    let status = StatusCode::from_u16(status).expect("status");
    (status, Json(json!({"code": "x", "message": message}))).into_response()
}

async fn write(State(desk): State<Arc<Desk>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let mut text = String::new();
    assert_eq!(headers[header::CONTENT_ENCODING], "gzip");
    flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).expect("gzip of text");
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let answer = {
        let mut state = desk.state();
        let query = uri.query().unwrap_or_default().to_owned();
        state.writes.push(Write { at: Instant::now(), query, headers, lines: lines.clone() });
        if let Some((until, asked)) = state.limited
            && Instant::now() < until
        {
            return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, asked)], "slow down").into_response();
        }
        state.answers.pop_front()
    };
    match answer {
        Some(Answer::Silence) => std::future::pending().await,
        Some(Answer::Status(status, message)) => return error(status, message),
        Some(Answer::LimitedFor(span, asked)) => {
            desk.state().limited = Some((Instant::now() + span, asked));
            return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, asked)], "slow down").into_response();
        }
        None => {}
    }
    let mut state = desk.state();
    if state.most_lines.is_some_and(|most| lines.len() > most) {
        return error(413, "request too large");
    }
    if let Some(bad) = lines.iter().find(|line| state.poison.is_some_and(|poison| line.contains(poison))) {
        return error(400, &format!("unable to parse '{bad}': bad point"));
    }
    for line in influxdb_line_protocol::parse_lines(&text) {
        if let Err(wrong) = line {
            return error(400, &wrong.to_string());
        }
    }
    state.stored.extend(lines);
    StatusCode::NO_CONTENT.into_response()
}

async fn query(State(desk): State<Arc<Desk>>, body: String) -> Response {
    let mut state = desk.state();
    state.queries.push(body);
    let (status, table) = state.table.clone();
    (StatusCode::from_u16(status).expect("status"), table).into_response()
}

/// Those of this name, or one more.
fn list_or_add(list: &mut Vec<Value>, name: &str, method: Method, uri: &Uri, body: &str) -> Response {
    if method == Method::POST {
        let mut made: Value = serde_json::from_str(body).expect("json");
        made["id"] = format!("id{}", list.len()).into();
        list.push(made.clone());
        return (StatusCode::CREATED, Json(made)).into_response();
    }
    let query = uri.query().unwrap_or_default();
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    let wanted = pairs.into_iter().find(|(key, _)| key == "name").expect("a name").1.into_owned();
    let named = |it: &&Value| {
        it["name"] == wanted.as_str() || it["flux"].as_str().is_some_and(|it| it.contains(&format!("{wanted:?}")))
    };
    let found: Vec<Value> = list.iter().filter(named).cloned().collect();
    let mut answer = json!({});
    answer[name] = found.into();
    Json(answer).into_response()
}

async fn buckets(State(desk): State<Arc<Desk>>, method: Method, uri: Uri, body: String) -> Response {
    list_or_add(&mut desk.state().buckets, "buckets", method, &uri, &body)
}

async fn tasks(State(desk): State<Arc<Desk>>, method: Method, uri: Uri, body: String) -> Response {
    let mut state = desk.state();
    if method == Method::POST {
        // InfluxDB takes the task's name from its text.
        let mut task: Value = serde_json::from_str(&body).expect("json");
        let flux = task["flux"].as_str().expect("flux").to_owned();
        task["name"] = flux.split("name: \"").nth(1).and_then(|it| it.split('"').next()).expect("a name").into();
        return list_or_add(&mut state.tasks, "tasks", method, &uri, &task.to_string());
    }
    list_or_add(&mut state.tasks, "tasks", method, &uri, &body)
}

async fn change_task(State(desk): State<Arc<Desk>>, Path(id): Path<String>, Json(change): Json<Value>) -> Response {
    let mut state = desk.state();
    let task = state.tasks.iter_mut().find(|task| task["id"] == id.as_str()).expect("the task");
    task["flux"] = change["flux"].clone();
    Json(task.clone()).into_response()
}

//! The operators' endpoints.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::http::Method;
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use fanfare::admin::{Admin, PREFIX, Probe, registry, routes};
use fanfare::auth::Identity;
use fanfare::http::layers::EdgeOptions;
use fanfare::stream::{
    Broker, BrokerError, Channel, Hub, HubOptions, Node, Outgoing, Past, Position, StreamMetrics, Tags,
};
use fanfare::tasks::Tasks;
use fanfare::wire::Close;
use serde_json::json;

use crate::http_kit::{call, get as fetch, layered};
use crate::support::eventually;

/// A broker that remembers what it was given.
#[derive(Default)]
struct Recorder {
    published: Mutex<Vec<(String, Bytes, Tags)>>,
}

#[async_trait]
impl Broker for Recorder {
    fn name(&self) -> &'static str {
        "recorder"
    }

    async fn publish(&self, channel: &Channel, message: Outgoing) -> Result<Position, BrokerError> {
        if channel.as_str() == "broken" {
            return Err(BrokerError::Unavailable("10.1.2.3:6379 refused".into()));
        }
        let mut published = self.published.lock().unwrap();
        published.push((channel.to_string(), message.data, message.tags));
        Ok(Position { offset: published.len() as u64, epoch: "e1".into() })
    }

    async fn subscribe(&self, _: &Channel) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn unsubscribe(&self, _: &Channel) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn history(&self, _: &Channel, _: u64) -> Result<Past, BrokerError> {
        Err(BrokerError::Unavailable("keeps nothing".into()))
    }

    async fn forget(&self, _: &Channel) -> Result<(), BrokerError> {
        unreachable!("nobody asks")
    }

    async fn position(&self, _: &Channel) -> Result<Position, BrokerError> {
        Err(BrokerError::Unavailable("keeps nothing".into()))
    }

    fn silent_for(&self) -> Duration {
        Duration::ZERO
    }

    async fn ping(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn stop(&self) {}
}

struct Stage {
    router: Router,
    recorder: Arc<Recorder>,
    hub: Hub,
    tasks: Tasks,
}

impl Stage {
    fn new(probes: Vec<Probe>) -> Self {
        let mut registry = registry();
        let metrics = StreamMetrics::register(registry.sub_registry_with_prefix(PREFIX));
        let hub = Hub::start(HubOptions { shards: 1, ..Default::default() }, metrics).unwrap();
        let (recorder, tasks) = (Arc::new(Recorder::default()), Tasks::new());
        let node = Node::start(hub.clone(), recorder.clone(), &tasks);
        let figures = Box::new(|| json!({"database": {"engine": "sqlite", "in_use": 3}}));
        let admin = Admin::new(Arc::new(registry), node, probes, figures);
        let router = Router::new()
            .route("/health", get(routes::health))
            .route("/health/detailed", get(routes::health_detailed))
            .route("/metrics", get(routes::metrics))
            .route("/system-info", get(routes::system_info))
            .route("/api/publish", post(routes::publish).layer(Extension(Identity::anonymous_admin())))
            .with_state(admin);
        Self { router: layered(router, &EdgeOptions::default()), recorder, hub, tasks }
    }

    async fn publish(&self, body: &str) -> crate::http_kit::Answer {
        let json = [("content-type", "application/json")];
        call(&self.router, Method::POST, "/api/publish", &json, body.to_owned()).await
    }

    async fn end(self) {
        assert!(self.tasks.drain(Duration::from_secs(5)).await.is_empty());
        self.hub.drain(Close::Restart, Duration::from_secs(5)).await;
    }
}

fn up(name: &'static str) -> Probe {
    Probe::mandatory(name, || async { Ok("answers".to_owned()) })
}

#[tokio::test]
async fn liveness_is_small_and_asks_nothing() {
    let stage = Stage::new(vec![Probe::mandatory("database", || async { Err("gone".to_owned()) })]);
    let answer = fetch(&stage.router, "/health", &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), json!({"status": "healthy", "version": env!("CARGO_PKG_VERSION"), "uptime_s": 0}));
    stage.end().await;
}

#[tokio::test]
async fn each_service_is_named_and_a_mandatory_one_that_is_down_is_a_503() {
    let stage = Stage::new(vec![up("database"), up("broker")]);
    let answer = fetch(&stage.router, "/health/detailed", &[]).await;
    assert_eq!(answer.status, 200);
    let health = answer.json();
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["services"]["database"]["status"], "up");
    assert_eq!(health["services"]["broker"]["detail"], "answers");
    assert!(health["services"]["broker"]["latency_ms"].as_f64().unwrap() < 2000.0);
    stage.end().await;

    let mail = Probe::optional("mail", || async { Err("no server".to_owned()) });
    let stage = Stage::new(vec![up("database"), mail]);
    let answer = fetch(&stage.router, "/health/detailed", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.json()["status"].as_str()), (200, Some("degraded")));
    stage.end().await;

    let down = Probe::mandatory("broker", || async { Err("does not answer".to_owned()) });
    let stage = Stage::new(vec![up("database"), down]);
    let answer = fetch(&stage.router, "/health/detailed", &[]).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["status"], "unhealthy");
    assert_eq!(answer.json()["services"]["broker"]["status"], "down");
    assert_eq!(answer.json()["services"]["database"]["status"], "up");
    stage.end().await;
}

#[tokio::test]
async fn services_that_hang_are_down_after_one_time_out_together() {
    let hangs = |name| Probe::mandatory(name, std::future::pending);
    let stage = Stage::new(vec![hangs("database"), hangs("broker"), up("series")]);
    let started = Instant::now();
    let answer = fetch(&stage.router, "/health/detailed", &[]).await;
    assert!(started.elapsed() < Duration::from_millis(3500), "{:?}", started.elapsed());
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["services"]["database"]["detail"], "no answer within 2 s");
    assert_eq!(answer.json()["services"]["series"]["status"], "up");
    stage.end().await;
}

#[tokio::test]
async fn metrics_are_openmetrics_text_with_build_and_process() {
    let stage = Stage::new(Vec::new());
    let answer = fetch(&stage.router, "/metrics", &[]).await;
    assert_eq!(answer.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.contains(&format!("fanfare_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} in\n{text}")).parse().unwrap()
    };
    assert!(value("process_resident_memory_bytes") > 1e6);
    // The kernel counts in hundredths, and a young process may have none: asking often enough costs one.
    eventually("time on a processor", async || {
        let text = String::from_utf8(fetch(&stage.router, "/metrics", &[]).await.body).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("process_cpu_seconds_total ")).unwrap();
        (line.parse::<f64>().unwrap() > 0.0).then_some(())
    })
    .await;
    assert!(value("process_open_fds") > 3.0 && value("process_open_fds") < value("process_max_fds"));
    let now_s = fanfare::clock::Clock::system().now().timestamp() as f64;
    let age_s = now_s - value("process_start_time_seconds");
    assert!((-2.0..3600.0).contains(&age_s), "{age_s}");
    stage.end().await;
}

#[tokio::test]
async fn system_info_has_the_apps_figures() {
    let stage = Stage::new(Vec::new());
    let info = fetch(&stage.router, "/system-info", &[]).await.json();
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(info["database"], json!({"engine": "sqlite", "in_use": 3}));
    assert!(info["uptime_s"].is_u64());
    stage.end().await;
}

#[tokio::test]
async fn a_raw_publish_keeps_every_byte() {
    let stage = Stage::new(Vec::new());
    let data = r#"{"b": 1.50, "a":"é\u00e9",  "big": 12345678901234567890123, "a":2}"#;
    let body = format!(r#"{{"channel": "inventory:updates", "data": {data}, "tags": {{"category": "tools"}}}}"#);
    let answer = stage.publish(&body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), json!({"result": {"offset": 1, "epoch": "e1"}}));
    assert_eq!(stage.publish(r#"{"channel": "a", "data": null}"#).await.json()["result"]["offset"], 2);
    let published = stage.recorder.published.lock().unwrap().clone();
    let tags = vec![("category".to_owned(), "tools".to_owned())];
    assert_eq!(published[0], ("inventory:updates".to_owned(), Bytes::from(data.to_owned()), tags));
    assert_eq!(published[1].1, "null");
    stage.end().await;
}

#[tokio::test]
async fn a_bad_publish_is_told_which_field_is_wrong() {
    let stage = Stage::new(Vec::new());
    let long = "x".repeat(256);
    for channel in ["", "with space", "über", long.as_str()] {
        let body = json!({"channel": channel, "data": 1}).to_string();
        assert_eq!(stage.publish(&body).await.problem(422)["errors"][0]["field"], "channel", "{channel}");
    }
    for (body, field) in [
        (r#"{"data": 1}"#, "channel"),
        (r#"{"channel": "a"}"#, "data"),
        (r#"{"channel": "a", "data": 1, "chanel": 2}"#, "chanel"),
    ] {
        assert_eq!(stage.publish(body).await.problem(422)["errors"][0]["field"], field, "{body}");
    }
    stage.publish(r#"{"channel": "a", "data": {"#).await.problem(400);
    let down = stage.publish(r#"{"channel": "broken", "data": 1}"#).await;
    assert!(!down.problem(503).to_string().contains("6379"));
    assert_eq!(down.header("retry-after"), "1");
    assert!(stage.recorder.published.lock().unwrap().is_empty());
    stage.end().await;
}

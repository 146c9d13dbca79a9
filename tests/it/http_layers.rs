//! What every request passes.

use axum::Router;
use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use axum::routing::{get, post};
use fanfare::http::layers::{self, EdgeOptions, HttpMetrics};
use fanfare::http::{ETag, Json, Origins, Path, Problem};
use fanfare::telemetry::Registry;

use crate::http_kit::{Log, call, get as fetch, layered};

fn items() -> Router {
    let item = |Path(id): Path<u64>| async move {
        if id < 10 { Ok(format!("item {id}")) } else { Err(Problem::not_found("no such item")) }
    };
    let large = || async { ([(header::ETAG, ETag::of(b"large").header())], Json(vec!["price"; 300])) };
    let small = || async { Json(vec!["price"; 3]) };
    let broken = || async { Err::<(), _>(Problem::internal("the disk is on fire")) };
    Router::new()
        .route("/items/{id}", get(item).delete(|| async { StatusCode::NO_CONTENT }))
        .route("/items", post(|Json(_): Json<serde_json::Value>| async { StatusCode::CREATED }))
        .route("/large", get(large))
        .route("/small", get(small))
        .route("/broken", get(broken))
}

fn router() -> Router {
    let allowed_origins = Origins::parse("https://shop.example").unwrap();
    layered(items(), &EdgeOptions { allowed_origins, ..Default::default() })
}

#[tokio::test]
async fn every_answer_has_a_trace_id_and_its_time() {
    for path in ["/items/1", "/nowhere", "/broken"] {
        let answer = fetch(&router(), path, &[("x-trace-id", "order-17")]).await;
        assert_eq!(answer.header("x-trace-id"), "order-17", "{path}");
        let (whole, fraction) = answer.header("x-process-time").split_once('.').unwrap();
        assert!(whole.parse::<u64>().unwrap() < 10 && fraction.len() == 6, "{}", answer.header("x-process-time"));
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
    }
    let made = fetch(&router(), "/items/1", &[("x-trace-id", "not well formed")]).await;
    assert_eq!(made.header("x-trace-id").len(), 32);
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traced = fetch(&router(), "/items/1", &[("traceparent", parent)]).await;
    assert_eq!(traced.header("x-trace-id"), "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[tokio::test]
async fn log_lines_carry_the_trace_and_answers_do_not_carry_the_cause() {
    let log = Log::capture();
    let options = EdgeOptions { slow_request_ms: 0, ..Default::default() };
    let answer = fetch(&layered(items(), &options), "/broken", &[("x-trace-id", "order-17")]).await;
    let problem = answer.problem(500);
    assert!(!problem.to_string().contains("fire"));
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0]["fields"]["cause"], "the disk is on fire");
    assert_eq!(lines[1]["fields"]["message"], "slow request");
    for line in &lines {
        assert_eq!(line["span"]["trace_id"], "order-17", "{line}");
        assert_eq!(line["span"]["route"], "/broken", "{line}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let unknown = fetch(&router(), "/nowhere", &[]).await;
    assert_eq!(unknown.problem(404)["title"], "Not Found");
    // A handler's own 404 keeps its words.
    assert_eq!(fetch(&router(), "/items/99", &[]).await.problem(404)["detail"], "no such item");
    let refused = call(&router(), Method::PUT, "/items/1", &[], Body::empty()).await;
    assert_eq!(refused.problem(405)["title"], "Method Not Allowed");
    let mut allowed: Vec<&str> = refused.header("allow").split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD"]);
    fetch(&router(), "/items/one", &[]).await.problem(400);
    let not_json = call(&router(), Method::POST, "/items", &[], "{}").await;
    assert_eq!(not_json.problem(415)["type"], "/problems/media-type");
    let json = [("content-type", "application/json")];
    call(&router(), Method::POST, "/items", &json, "{\"a\":").await.problem(400);
}

#[tokio::test]
async fn a_preflight_is_answered_for_allowed_origins_only() {
    let ask = |origin| [("origin", origin), ("host", "api.example"), ("access-control-request-method", "DELETE")];
    let allowed = call(&router(), Method::OPTIONS, "/items/1", &ask("https://shop.example"), Body::empty()).await;
    assert_eq!(allowed.status, StatusCode::OK);
    assert_eq!(allowed.header("access-control-allow-origin"), "https://shop.example");
    assert_eq!(allowed.header("access-control-max-age"), "7200");
    assert!(allowed.header("access-control-allow-methods").contains("DELETE"));
    assert!(allowed.header("access-control-allow-headers").contains("authorization"));
    assert_eq!(allowed.header("access-control-allow-credentials"), "");
    let foreign = call(&router(), Method::OPTIONS, "/items/1", &ask("https://evil.example"), Body::empty()).await;
    assert_eq!(foreign.header("access-control-allow-origin"), "");
    let any = layered(items(), &EdgeOptions { allowed_origins: Origins::parse("*").unwrap(), ..Default::default() });
    let open = fetch(&any, "/items/1", &[("origin", "https://evil.example")]).await;
    assert_eq!(open.header("access-control-allow-origin"), "*");
}

#[tokio::test]
async fn errors_can_be_read_by_allowed_pages() {
    let origin = [("origin", "https://shop.example")];
    let errors = [("/nowhere", Method::GET, 404), ("/broken", Method::GET, 500), ("/items/1", Method::PUT, 405)];
    for (path, method, status) in errors {
        let answer = call(&router(), method, path, &origin, Body::empty()).await;
        answer.problem(status);
        assert_eq!(answer.header("access-control-allow-origin"), "https://shop.example", "{path}");
        assert!(answer.header("access-control-expose-headers").contains("x-trace-id"), "{path}");
        assert!(answer.header("vary").contains("origin"), "{path}");
    }
}

#[tokio::test]
async fn only_bodies_over_a_kilobyte_are_compressed() {
    let plain = fetch(&router(), "/large", &[]).await;
    assert_eq!(plain.header("content-encoding"), "");
    assert!(!plain.header("etag").starts_with("W/"));
    for coding in ["br", "gzip", "zstd"] {
        let accept = [("accept-encoding", coding)];
        let large = fetch(&router(), "/large", &accept).await;
        assert_eq!(large.header("content-encoding"), coding);
        assert!(large.body.len() < plain.body.len() / 4, "{coding}: {} bytes", large.body.len());
        assert!(large.header("vary").contains("accept-encoding"));
        // The bytes are others than those the tag was made of.
        assert_eq!(large.header("etag"), format!("W/{}", plain.header("etag")));
        let small = fetch(&router(), "/small", &accept).await;
        assert_eq!(small.header("content-encoding"), "");
        assert_eq!(small.json(), serde_json::json!(["price", "price", "price"]));
    }
}

async fn panics() -> StatusCode {
    panic!("a handler that panics")
}

#[tokio::test]
async fn requests_are_metered_by_route_and_not_by_path() {
    let mut registry = Registry::with_prefix("fanfare");
    let router = items().route("/panic", get(panics));
    let router = layers::apply(router, &EdgeOptions::default(), HttpMetrics::register(&mut registry));
    for path in ["/items/1", "/items/2", "/items/99", "/panic", "/no/such/1", "/no/such/2"] {
        fetch(&router, path, &[]).await;
    }
    call(&router, Method::from_bytes(b"BREW").unwrap(), "/items/1", &[], Body::empty()).await;
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        r#"fanfare_http_requests_total{method="GET",route="/items/{id}",status="200"} 2"#,
        r#"fanfare_http_requests_total{method="GET",route="/items/{id}",status="404"} 1"#,
        r#"fanfare_http_requests_total{method="GET",route="/panic",status="500"} 1"#,
        r#"fanfare_http_requests_total{method="GET",route="other",status="404"} 2"#,
        r#"fanfare_http_requests_total{method="OTHER",route="/items/{id}",status="405"} 1"#,
        r#"fanfare_http_request_duration_seconds_count{method="GET",route="/items/{id}"} 3"#,
        "fanfare_http_panics_total 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nnot in\n{text}");
    }
    assert!(!text.contains("/no/such"));
}

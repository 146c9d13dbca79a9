//! Posts of events: a key in the URL, a class behind one address, and 503 where a 429 would lose what was sent.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request};
use axum::middleware::from_fn_with_state;
use axum::routing::post;
use fanfare::auth::{AuthOptions, Gate, Identity, MintedKey, Secret};
use fanfare::clock::Clock;
use fanfare::http::guard;
use fanfare::http::layers::EdgeOptions;
use fanfare::http::limits::{Limits, Policy, RateOptions, limit};
use fanfare::telemetry::Registry;

use crate::http_kit::{Answer, call, layered, send};

/// The route as the feed of learning events has it.
async fn events(api_keys: Vec<String>, rate: RateOptions) -> Router {
    let api_keys = api_keys.into_iter().map(Secret::new).collect();
    let options = AuthOptions { api_keys, ..AuthOptions::default() };
    let mut registry = Registry::default();
    let gate = Gate::new(&options, Clock::system(), &mut registry).unwrap();
    let limits = Limits::new(&rate, None, &mut registry).await.unwrap();
    let who = |caller: Identity| async move { caller.subject.to_string() };
    let router = Router::new()
        .route("/api/v1/events", post(who))
        .route("/api/v1/events/{key}", post(who))
        .route_layer(from_fn_with_state(gate.clone(), guard::event_writers))
        .route_layer(from_fn_with_state(limits.on(Policy::Events, &gate), limit))
        // Put together wrongly: a guard for headers behind a layer that looks into the URL.
        .merge(
            Router::new()
                .route("/api/v1/other/{key}", post(who))
                .route_layer(from_fn_with_state(gate.clone(), guard::by_method))
                .route_layer(from_fn_with_state(limits.on(Policy::Events, &gate), limit)),
        )
        .merge(
            Router::new()
                .route("/api/v1/stream", post(who))
                .route_layer(from_fn_with_state(gate.clone(), guard::by_method))
                .route_layer(from_fn_with_state(limits.on(Policy::Streams, &gate), limit)),
        );
    let edge = EdgeOptions {
        allowed_origins: fanfare::http::Origins::parse("http://127.0.0.1:18888").unwrap(),
        ..EdgeOptions::default()
    };
    layered(router, &edge)
}

async fn ask(router: &Router, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(Method::POST).uri(path).header("origin", "http://127.0.0.1:18888");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let peer: SocketAddr = "192.0.2.1:4711".parse().unwrap();
    send(router, request.extension(ConnectInfo(peer)).body(Body::empty()).unwrap()).await
}

fn key(grant: &str) -> (String, String) {
    let minted = MintedKey::mint(&AuthOptions::default(), grant).unwrap();
    (minted.key.expose().to_owned(), minted.entry)
}

#[tokio::test]
async fn a_key_in_the_url_may_post_events_and_must_be_good_for_nothing_else() {
    let (events_key, entry) = key("events:write");
    let (wide_key, wide) = key("events:write read");
    let (admin_key, admin) = key("admin");
    let (reader_key, reader) = key("read subscribe:*");
    let router = events(vec![entry, wide, admin, reader], RateOptions::default()).await;
    for path in [format!("/api/v1/events?key={events_key}"), format!("/api/v1/events/{events_key}")] {
        assert!(ask(&router, &path, &[]).await.body.starts_with(b"key:"));
    }
    for key in [&wide_key, &admin_key, &reader_key] {
        for path in [format!("/api/v1/events?key={key}"), format!("/api/v1/events/{key}")] {
            let problem = ask(&router, &path, &[]).await.problem(403);
            assert!(problem["detail"].as_str().unwrap().contains("URL"), "{problem}");
        }
    }
    for (key, status) in [(&events_key, 200), (&wide_key, 200), (&admin_key, 200), (&reader_key, 403)] {
        assert_eq!(ask(&router, "/api/v1/events", &[("x-api-key", key)]).await.status, status);
    }
    for path in ["/api/v1/events", "/api/v1/events?key=", "/api/v1/events?key=wrong", "/api/v1/events/wrong"] {
        ask(&router, path, &[]).await.problem(401);
    }
    for path in [format!("/api/v1/other/{admin_key}"), format!("/api/v1/stream?token={admin_key}")] {
        ask(&router, &path, &[]).await.problem(401);
        assert_eq!(ask(&router, &path, &[("x-api-key", &admin_key)]).await.status, 200);
        assert_eq!(ask(&router, &path, &[("authorization", &format!("apikey {admin_key}"))]).await.status, 200);
    }
    // A header that is shown is what counts.
    let both = ask(&router, &format!("/api/v1/events?key={events_key}"), &[("x-api-key", "wrong")]).await;
    both.problem(401);
}

#[tokio::test]
async fn a_class_behind_one_address_posts_unhindered_and_back_pressure_is_503() {
    let (first, entry) = key("events:write");
    let (second, other) = key("events:write");
    let rate = RateOptions { per_address: 10, per_key: 2000, ..RateOptions::default() };
    let router = events(vec![entry, other], rate).await;
    // 40 students, 40 events each, all within a moment.
    for _ in 0..1600 {
        assert_eq!(ask(&router, &format!("/api/v1/events?key={first}"), &[]).await.status, 200);
    }
    let mut refused = None;
    for _ in 0..1000 {
        let answer = ask(&router, &format!("/api/v1/events?key={first}"), &[]).await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("the key's own limit");
    refused.problem(503);
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(refused.header("access-control-allow-origin"), "http://127.0.0.1:18888", "or it is a network error");
    assert_eq!(ask(&router, &format!("/api/v1/events/{second}"), &[]).await.status, 200, "another class");
    for n in 0..12 {
        let status = ask(&router, "/api/v1/events?key=wrong", &[]).await.status.as_u16();
        assert!(status == 401 || (n >= 10 && status == 503), "{n}: {status}");
    }
}

#[tokio::test]
async fn a_preflight_needs_no_key_and_is_kept_for_two_hours() {
    let (_, entry) = key("events:write");
    let router = events(vec![entry], RateOptions { per_address: 1, ..RateOptions::default() }).await;
    let headers = [
        ("origin", "http://127.0.0.1:18888"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    for _ in 0..5 {
        let answer = call(&router, Method::OPTIONS, "/api/v1/events?key=x", &headers, Body::empty()).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("access-control-max-age"), "7200");
        assert_eq!(answer.header("access-control-allow-origin"), "http://127.0.0.1:18888");
        assert!(answer.header("access-control-allow-methods").contains("POST"));
        assert!(answer.header("access-control-allow-headers").contains("content-type"));
    }
}

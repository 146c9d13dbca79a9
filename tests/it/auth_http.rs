//! Authorization of requests.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use fanfare::auth::{AuthOptions, Gate, Identity, Role, issue_token};
use fanfare::clock::Clock;
use fanfare::http::guard;
use fanfare::http::layers::EdgeOptions;
use fanfare::telemetry::Registry;
use serde_json::json;

use crate::auth_gate::options;
use crate::http_kit::{Log, call, get as fetch, layered, send};

const KEY: &str = "key-of-the-warehouse-0123456789abcdef";

fn gate(registry: &mut Registry) -> Gate {
    Gate::new(&options(), Clock::system(), registry).unwrap()
}

fn guarded(gate: &Gate) -> Router {
    let who = |identity: Identity| async move { format!("{} {}", identity.subject, identity.role) };
    let items = Router::new()
        .route("/items", get(who).post(who).put(who).patch(who).delete(who))
        .route_layer(from_fn_with_state(gate.clone(), guard::by_method));
    let admin =
        Router::new().route("/admin", get(who)).route_layer(from_fn_with_state(gate.clone(), guard::managers_only));
    let metrics = Router::new()
        .route("/metrics", get(|| async { "figures" }))
        .route_layer(from_fn_with_state(gate.clone(), guard::operators));
    layered(items.merge(admin).merge(metrics), &EdgeOptions::default())
}

fn token(role: Role) -> String {
    let token = issue_token(&options(), &Clock::system(), "ann", role, Duration::from_secs(60)).unwrap();
    format!("Bearer {token}")
}

#[tokio::test]
async fn methods_need_what_they_stand_for() {
    let router = guarded(&gate(&mut Registry::default()));
    let (user, manager, admin) = (token(Role::User), token(Role::Manager), token(Role::Admin));
    for (method, path, expected) in [
        (Method::GET, "/items", [200, 200, 200]),
        (Method::HEAD, "/items", [200, 200, 200]),
        (Method::POST, "/items", [403, 200, 200]),
        (Method::PUT, "/items", [403, 200, 200]),
        (Method::PATCH, "/items", [403, 200, 200]),
        (Method::DELETE, "/items", [403, 200, 200]),
        (Method::GET, "/admin", [403, 403, 200]),
    ] {
        for (bearer, expected) in [&user, &manager, &admin].into_iter().zip(expected) {
            let answer = call(&router, method.clone(), path, &[("authorization", bearer)], Body::empty()).await;
            assert_eq!(answer.status.as_u16(), expected, "{method} {path}");
            if expected == 403 {
                answer.problem(403);
            }
        }
    }
    let answer = fetch(&router, "/items", &[("authorization", &user.replace("Bearer", "bearer"))]).await;
    assert_eq!(answer.body, b"ann user");
    let by_key = fetch(&router, "/items", &[("x-api-key", KEY)]).await;
    assert!(by_key.body.starts_with(b"key:") && by_key.body.ends_with(b" manager"));
}

#[tokio::test]
async fn a_refusal_says_how_to_get_in() {
    let router = guarded(&gate(&mut Registry::default()));
    let expired =
        issue_token(&options(), &Clock::manual(Default::default()), "ann", Role::User, Duration::ZERO).unwrap();
    let expired = format!("Bearer {expired}");
    for (headers, challenge) in [
        (vec![], "Bearer realm=\"fanfare\""),
        (vec![("authorization", "Basic YTpi")], "Bearer realm=\"fanfare\""),
        (vec![("authorization", "Bearer a.b.c")], "error=\"invalid_token\""),
        (vec![("authorization", "Bearer wrong")], "error=\"invalid_token\""),
        (vec![("x-api-key", "wrong")], "error=\"invalid_token\""),
        (vec![("authorization", expired.as_str())], "error_description=\"the token has expired\""),
    ] {
        let answer = fetch(&router, "/items", &headers).await;
        answer.problem(401);
        assert!(answer.header("www-authenticate").contains(challenge), "{}", answer.header("www-authenticate"));
    }
    // A token in the query is for WebSockets only.
    fetch(&router, &format!("/items?token={KEY}"), &[]).await.problem(401);
}

#[tokio::test]
async fn an_open_server_asks_nobody() {
    let gate = Gate::new(&AuthOptions::default(), Clock::system(), &mut Registry::default()).unwrap();
    let router = guarded(&gate);
    for (method, path) in [(Method::DELETE, "/items"), (Method::GET, "/admin"), (Method::GET, "/metrics")] {
        assert_eq!(call(&router, method, path, &[], Body::empty()).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn figures_are_open_to_this_machine_but_not_through_a_proxy_on_it() {
    let router = guarded(&gate(&mut Registry::default()));
    let ask = async |peer: &str, header: Option<(&str, &str)>| {
        let mut request = Request::get("/metrics").extension(ConnectInfo::<SocketAddr>(peer.parse().unwrap()));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        send(&router, request.body(Body::empty()).unwrap()).await.status.as_u16()
    };
    for local in ["127.0.0.1:1000", "[::1]:1000", "[::ffff:127.0.0.1]:1000"] {
        assert_eq!(ask(local, None).await, 200, "{local}");
    }
    assert_eq!(ask("127.0.0.1:1000", Some(("x-forwarded-for", "192.0.2.7"))).await, 401);
    assert_eq!(ask("192.0.2.7:1000", None).await, 401);
    assert_eq!(ask("192.0.2.7:1000", Some(("x-api-key", KEY))).await, 200);
    assert_eq!(ask("192.0.2.7:1000", Some(("authorization", &token(Role::User)))).await, 403);
}

#[test]
fn a_websocket_may_bring_its_token_in_the_query_or_as_a_subprotocol() {
    let none = HeaderMap::new();
    assert_eq!(guard::websocket_token(&none, Some("sku=A&token=a%2Bb.c")).as_deref(), Some("a+b.c"));
    assert_eq!(guard::websocket_token(&none, Some("sku=A")), None);
    let mut headers = HeaderMap::new();
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, "fanfare.msgpack, bearer.a.b.c".parse().unwrap());
    assert_eq!(guard::websocket_token(&headers, None).as_deref(), Some("a.b.c"));
    let gate = gate(&mut Registry::default());
    assert!(guard::identify(&gate, &none, Some(KEY)).is_ok());
    assert!(guard::identify(&gate, &none, None).is_err());
}

#[tokio::test]
async fn refusals_are_logged_and_counted_without_the_secret() {
    let log = Log::capture();
    let mut registry = Registry::default();
    let router = guarded(&gate(&mut registry));
    fetch(&router, "/items", &[("x-api-key", "a-wrong-key-that-must-not-be-logged")]).await.problem(401);
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((&lines[0]["target"], &lines[0]["fields"]["reason"]), (&json!("security"), &json!("bad_key")));
    assert_eq!(lines[0]["span"]["route"], "/items");
    assert!(!lines[0].to_string().contains("must-not-be-logged"), "{lines:?}");
    let mut metrics = String::new();
    prometheus_client::encoding::text::encode(&mut metrics, &registry).unwrap();
    assert!(metrics.contains(r#"auth_failures_total{reason="bad_key"} 1"#), "{metrics}");
}

//! The denial matrix: every endpoint × everything that must not open it. An endpoint that is missing here fails the test.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use fanfare::clock::Clock;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::{Fanfare, Settings, http};

pub const SECRET: &str = "a secret for tests, long enough: 0123456789";
const SCOPED: &str = "key-that-may-publish-on-one-channel-012";
const ORIGIN: &str = "https://shop.example";

/// What an endpoint asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Asks {
    /// Liveness and readiness.
    Nothing,
    /// Nothing but to be a page of ours: this is where credentials come from.
    Origin,
    /// A valid credential, whatever it may.
    Known,
    /// At least the role; scopes that do not name it are refused.
    User,
    Manager,
    Admin,
    /// A stream: a user, and a handshake.
    Stream,
    /// A handshake; who it is, the client says afterwards.
    Speaks,
}

const MATRIX: &[(&str, &str, Asks)] = &[
    ("GET", "/ws", Asks::Stream),
    ("GET", "/ws/inventory", Asks::Stream),
    ("GET", "/ws/price", Asks::Stream),
    ("GET", "/ws/progress", Asks::Stream),
    ("GET", "/ws/match", Asks::Stream),
    ("GET", "/connection/websocket", Asks::Speaks),
    ("GET", "/connection/uni_websocket", Asks::Speaks),
    ("POST", "/connection/http_stream", Asks::Speaks),
    ("GET", "/connection/sse", Asks::Speaks),
    ("POST", "/connection/sse", Asks::Speaks),
    ("GET", "/connection/uni_sse", Asks::Speaks),
    ("POST", "/connection/uni_sse", Asks::Speaks),
    ("POST", "/connection/uni_http_stream", Asks::Speaks),
    ("POST", "/emulation", Asks::Origin),
    ("POST", "/api/{method}", Asks::Manager),
    ("POST", "/api/batch", Asks::Manager),
    ("GET", "/sse", Asks::User),
    ("GET", "/sse/inventory", Asks::User),
    ("GET", "/sse/price", Asks::User),
    ("GET", "/sse/progress", Asks::User),
    ("GET", "/sse/match", Asks::User),
    ("POST", "/api/v1/auth/login", Asks::Origin),
    ("POST", "/api/v1/auth/refresh", Asks::Origin),
    ("POST", "/api/v1/auth/logout", Asks::Known),
    ("GET", "/api/v1/auth/me", Asks::Known),
    ("POST", "/api/v1/auth/revoke", Asks::Admin),
    ("GET", "/api/v1/inventory", Asks::User),
    ("POST", "/api/v1/inventory", Asks::Manager),
    ("GET", "/api/v1/inventory/{id}", Asks::User),
    ("PUT", "/api/v1/inventory/{id}", Asks::Manager),
    ("PATCH", "/api/v1/inventory/{id}", Asks::Manager),
    ("DELETE", "/api/v1/inventory/{id}", Asks::Manager),
    ("POST", "/api/v1/inventory/{id}/adjust", Asks::Manager),
    ("GET", "/api/v1/prices", Asks::User),
    ("POST", "/api/v1/prices", Asks::Manager),
    ("GET", "/api/v1/prices/history", Asks::User),
    ("GET", "/api/v1/prices/{id}", Asks::User),
    ("PUT", "/api/v1/prices/{id}", Asks::Manager),
    ("PATCH", "/api/v1/prices/{id}", Asks::Manager),
    ("DELETE", "/api/v1/prices/{id}", Asks::Manager),
    ("GET", "/api/v1/prices/{id}/history", Asks::User),
    ("POST", "/api/v1/prices/{id}/approve", Asks::Manager),
    ("POST", "/api/v1/prices/{id}/reject", Asks::Manager),
    ("POST", "/api/publish", Asks::Manager),
    ("POST", "/api/v1/events", Asks::Manager),
    ("POST", "/api/v1/events/{key}", Asks::Manager),
    ("POST", "/api/v1/events/pioneer", Asks::Manager),
    ("POST", "/api/v1/events/pioneer/{key}", Asks::Manager),
    ("GET", "/api/v1/progress/overview", Asks::User),
    ("GET", "/api/v1/progress/students/{user_id}", Asks::User),
    ("GET", "/api/v1/progress/students/{user_id}/timeline", Asks::User),
    ("GET", "/api/v1/progress/cells", Asks::User),
    ("GET", "/api/v1/progress/matrix", Asks::User),
    ("GET", "/api/v1/progress/help", Asks::User),
    ("GET", "/api/v1/progress/activity", Asks::User),
    ("GET", "/api/v1/series/{measurement}", Asks::User),
    ("GET", "/api/v1/series-dead-letters", Asks::Admin),
    ("GET", "/api/v1/dead-letters", Asks::Admin),
    ("GET", "/api/v1/dead-letters/{id}", Asks::Admin),
    ("DELETE", "/api/v1/dead-letters/{id}", Asks::Admin),
    ("POST", "/api/v1/dead-letters/{id}/replay", Asks::Admin),
    ("GET", "/api/v1/presence", Asks::Manager),
    ("GET", "/api/v2/jobs", Asks::User),
    ("POST", "/api/v2/jobs", Asks::Manager),
    ("POST", "/api/v2/jobs/bulk", Asks::Manager),
    ("POST", "/api/v2/jobs/search", Asks::User),
    ("GET", "/api/v2/jobs/{id}", Asks::User),
    ("PUT", "/api/v2/jobs/{id}", Asks::Manager),
    ("PATCH", "/api/v2/jobs/{id}", Asks::Manager),
    ("DELETE", "/api/v2/jobs/{id}", Asks::Manager),
    ("POST", "/api/v2/jobs/{id}/scoring", Asks::Manager),
    ("GET", "/api/v2/users", Asks::Manager),
    ("POST", "/api/v2/users", Asks::Manager),
    ("POST", "/api/v2/users/bulk", Asks::Manager),
    ("GET", "/api/v2/users/{id}", Asks::Manager),
    ("PUT", "/api/v2/users/{id}", Asks::Manager),
    ("PATCH", "/api/v2/users/{id}", Asks::Manager),
    ("DELETE", "/api/v2/users/{id}", Asks::Manager),
    ("GET", "/api/v2/users/{id}/profile", Asks::Manager),
    ("PUT", "/api/v2/users/{id}/profile", Asks::Manager),
    ("GET", "/api/v2/users/{id}/behavior", Asks::Manager),
    ("POST", "/api/v2/users/{id}/behavior", Asks::Manager),
    ("GET", "/api/v2/matching/users/{id}", Asks::Manager),
    ("POST", "/api/v2/matching/score", Asks::Manager),
    ("POST", "/api/v1/batch/trigger", Asks::Manager),
    ("GET", "/api/v1/batch/status", Asks::Manager),
    ("GET", "/api/v1/batch/status/{id}", Asks::Manager),
    ("POST", "/api/v1/batch/cancel/{id}", Asks::Manager),
    ("POST", "/api/v1/batch/retry/{id}", Asks::Manager),
    ("POST", "/api/v2/batch/trigger", Asks::Manager),
    ("GET", "/api/v2/batch/status", Asks::Manager),
    ("GET", "/api/v2/batch/status/{id}", Asks::Manager),
    ("POST", "/api/v2/batch/cancel/{id}", Asks::Manager),
    ("POST", "/api/v2/batch/retry/{id}", Asks::Manager),
    ("GET", "/api/v1/tasks/{id}/status", Asks::Manager),
    ("GET", "/api/v2/email", Asks::Manager),
    ("GET", "/api/v2/email/preview/{id}", Asks::Manager),
    ("POST", "/api/v2/email/bounces", Asks::Manager),
    ("GET", "/api/v2/monitoring/batches", Asks::Manager),
    ("GET", "/api/v2/monitoring/matches", Asks::Manager),
    ("GET", "/api/v2/monitoring/queues", Asks::Manager),
    // Who holds the link of a mail has no other credentials.
    ("GET", "/api/v2/email/unsubscribe", Asks::Origin),
    ("POST", "/api/v2/email/unsubscribe", Asks::Origin),
    // Asked through a proxy, as everybody on this machine may see them.
    ("GET", "/metrics", Asks::Manager),
    ("GET", "/api/v1/ledger", Asks::Manager),
    ("GET", "/api/v1/explain", Asks::Manager),
    ("GET", "/system-info", Asks::Manager),
    ("GET", "/openapi.json", Asks::Nothing),
    ("GET", "/asyncapi.json", Asks::Nothing),
    ("GET", "/docs", Asks::Nothing),
    ("GET", "/docs/{file}", Asks::Nothing),
    ("GET", "/health", Asks::Nothing),
    ("GET", "/health/detailed", Asks::Nothing),
    ("GET", "/health/ready", Asks::Nothing),
];

pub fn sign(secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

pub fn claims(role: &str, extra: Value) -> Value {
    let exp = Clock::system().now().timestamp() + 600;
    let mut claims = json!({"sub": "ann", "exp": exp, "role": role, "aud": "shop", "iss": "id", "jti": role});
    claims.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    claims
}

/// Credentials that nobody is to be let in with, by name.
pub fn worthless() -> Vec<(&'static str, String)> {
    let admin = |extra| sign(SECRET, &claims("admin", extra));
    let now = Clock::system().now().timestamp();
    let good = admin(json!({"jti": "x"}));
    let (_, rest) = good.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let head = |alg| BASE64.encode(json!({"alg": alg, "typ": "JWT"}).to_string());
    vec![
        ("wrong signature", sign("another secret, also long enough 012345", &claims("admin", json!({})))),
        ("alg none", format!("{}.{payload}.", head("none"))),
        ("alg none, signed", format!("{}.{payload}.{signature}", head("none"))),
        ("another algorithm", format!("{}.{payload}.{signature}", head("RS256"))),
        ("expired", admin(json!({"exp": now - 60}))),
        ("not yet valid", admin(json!({"nbf": now + 60}))),
        ("other audience", admin(json!({"aud": "somebody"}))),
        ("other issuer", admin(json!({"iss": "somebody"}))),
        ("a subscription token", admin(json!({"channel": "price:updates"}))),
        ("no subject", admin(json!({"sub": ""}))),
        ("a key that is none", "key-of-nobody-at-all-0123456789abcdef".into()),
    ]
}

async fn ask(
    (server, http): &(Fanfare, reqwest::Client),
    (method, path, asks): (&str, &str, Asks),
    headers: &[(&str, &str)],
) -> Response {
    let path = path.replace("{id}", "1");
    let mut request = http.request(Method::from_bytes(method.as_bytes()).unwrap(), format!("{}{path}", server.url()));
    if matches!(asks, Asks::Stream | Asks::Speaks) {
        for (name, value) in [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            request = request.header(name, value);
        }
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if method != "GET" {
        request = request.header("content-type", "application/json").body("{}");
    }
    request.header("x-forwarded-for", "203.0.113.1").send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_worthless_opens_anything() {
    let server = Fanfare::start(
        Settings::new()
            .env("SECRET_KEY", SECRET)
            .env("ALLOWED_ORIGINS", ORIGIN)
            .env("FANFARE__AUTH__AUDIENCE", "shop")
            .env("FANFARE__AUTH__ISSUER", "id")
            .env("FANFARE__AUTH__API_KEYS", format!("[publish:no:channel]:{SCOPED}"))
            .env("FANFARE__RATE__PER_ADDRESS", "0")
            .env("FANFARE__RATE__LOG_IN_PER_ADDRESS", "0"),
    )
    .await;
    let revoked = sign(SECRET, &claims("admin", json!({"jti": "revoked"})));
    let log_out = http().post(format!("{}/api/v1/auth/logout", server.url())).bearer_auth(&revoked);
    assert_eq!(log_out.send().await.unwrap().status(), 204);
    let mut worthless = worthless();
    worthless.push(("revoked", revoked));
    let asked = (server, http());
    let server = &asked.0;
    let tokens = ["user", "manager", "admin"].map(|role| format!("Bearer {}", sign(SECRET, &claims(role, json!({})))));

    for &endpoint in MATRIX {
        let (_, path, asks) = endpoint;
        let open = [Asks::Nothing, Asks::Origin, Asks::Speaks].contains(&asks);
        let denied = async |name: &str, headers: &[(&str, &str)]| {
            let answer = ask(&asked, endpoint, headers).await;
            let (status, challenge) = (answer.status().as_u16(), answer.headers().contains_key("www-authenticate"));
            match open {
                true => assert!(![403, 429].contains(&status), "{endpoint:?} {name}: {status}"),
                false => assert!(status == 401 && challenge, "{endpoint:?} {name}: {status}"),
            }
        };
        denied("nothing", &[]).await;
        for (name, credential) in &worthless {
            denied(name, &[("authorization", &format!("Bearer {credential}"))]).await;
            denied(name, &[("x-api-key", credential)]).await;
        }
        denied("a header that is no text", &[("authorization", "Basic YTpi")]).await;

        // Every role, and a key with a scope for something else.
        for ((role, token), rank) in ["user", "manager", "admin"].iter().zip(&tokens).zip(1..) {
            let least = match asks {
                Asks::Nothing | Asks::Origin | Asks::Known | Asks::Speaks => 0,
                Asks::User | Asks::Stream => 1,
                Asks::Manager => 2,
                Asks::Admin => 3,
            };
            if path.ends_with("/logout") {
                continue;
            }
            let status = ask(&asked, endpoint, &[("authorization", token)]).await.status().as_u16();
            assert_eq!(status == 403, rank < least, "{endpoint:?} {role}: {status}");
            assert!(open || status != 401, "{endpoint:?} {role}: {status}");
        }
        let scoped = ask(&asked, endpoint, &[("x-api-key", SCOPED)]).await.status().as_u16();
        let may_pass = open || asks == Asks::Known || ["/api/publish", "/api/{method}", "/api/batch"].contains(&path);
        assert_eq!(scoped == 403, !may_pass, "{endpoint:?} with another scope: {scoped}");

        // A page of another origin, with the best of tokens.
        let foreign = [("authorization", tokens[2].as_str()), ("origin", "https://evil.example")];
        let answer = ask(&asked, endpoint, &foreign).await;
        assert!(!answer.headers().contains_key("access-control-allow-origin"), "{endpoint:?}");
        assert_eq!(answer.status() == 403, asks != Asks::Nothing, "{endpoint:?} from another origin");
        let own = [("authorization", tokens[2].as_str()), ("origin", ORIGIN)];
        if !path.ends_with("/logout") {
            let status = ask(&asked, endpoint, &own).await.status().as_u16();
            assert!(status != 403, "{endpoint:?} from a listed origin: {status}");
        }
    }
    // The scope is looked at: the one channel, and no other.
    for (channel, expected) in [("no:channel", 200), ("price:updates", 403)] {
        let body = json!({"channel": channel, "data": 1});
        let request = http().post(format!("{}/api/publish", server.url())).header("x-api-key", SCOPED).json(&body);
        assert_eq!(request.send().await.unwrap().status(), expected, "{channel}");
    }
}

#[test]
fn every_endpoint_is_in_the_matrix() {
    let routes = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/routes.rs")).unwrap();
    let literals = routes.split('"').skip(1).step_by(2).filter(|text| text.starts_with('/'));
    let feeds = fanfare::feeds::ALL.iter().chain(&fanfare::feeds::EVENTS).map(|(path, _)| *path);
    let exist: BTreeSet<&str> = literals.chain(feeds).collect();
    let named: BTreeSet<&str> = MATRIX.iter().map(|(_, path, _)| *path).collect();
    let missing: Vec<_> = exist.symmetric_difference(&named).collect();
    assert!(missing.is_empty(), "in src/routes.rs or in the matrix, but not in both: {missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_server_answers_to_names_of_this_machine_only() {
    let server = Fanfare::start(Settings::new().env("ALLOWED_ORIGINS", "http://shop.local")).await;
    let status = async |path: &str, host: &str| {
        let request = http().get(format!("{}{path}", server.url())).header("host", host);
        request.send().await.unwrap().status().as_u16()
    };
    for path in ["/api/v1/inventory", "/metrics", "/ws"] {
        assert_eq!(status(path, "rebound.example:8000").await, 403, "{path}");
        for own in [server.address(), "localhost:9", "shop.local", "[::1]"] {
            assert_ne!(status(path, own).await, 403, "{path} {own}");
        }
    }
    // And a page elsewhere cannot have anything done.
    let foreign = http().post(format!("{}/api/v1/inventory", server.url())).header("origin", "https://evil.example");
    assert_eq!(foreign.json(&json!({"sku": "EVIL", "name": "x"})).send().await.unwrap().status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_credential_reaches_the_log() {
    let settings = Settings::new()
        .env("SECRET_KEY", SECRET)
        .env("FANFARE__AUTH__AUDIENCE", "shop")
        .env("FANFARE__AUTH__API_KEYS", SCOPED)
        .env("FANFARE__EDGE__SLOW_REQUEST_MS", "0")
        .env("LOG_LEVEL", "trace");
    let server = Fanfare::start(settings).await;
    let good = sign(SECRET, &claims("admin", json!({})));
    let bad = sign(SECRET, &claims("admin", json!({"aud": "x"})));
    let asked = (server, http());
    let stream = |path: &str| ("GET", path.to_owned(), Asks::Stream);
    for token in [good.as_str(), &bad, SCOPED, "key-of-nobody-at-all-0123456789abcdef"] {
        let (method, path, asks) = stream(&format!("/ws/price?token={token}"));
        ask(&asked, (method, &path, asks), &[]).await;
        ask(&asked, ("GET", "/ws", Asks::Stream), &[("sec-websocket-protocol", &format!("bearer.{token}"))]).await;
        ask(&asked, ("GET", "/api/v1/inventory", Asks::User), &[("authorization", &format!("Bearer {token}"))]).await;
        ask(&asked, ("GET", "/api/v1/inventory", Asks::User), &[("x-api-key", token)]).await;
        ask(&asked, ("GET", &format!("/api/v1/inventory?key={token}"), Asks::User), &[]).await;
        ask(&asked, ("POST", &format!("/api/v1/events/{token}"), Asks::Manager), &[]).await;
    }
    let log = asked.0.log();
    assert!(log.contains("slow request") && log.contains("caller refused"), "{log}");
    for secret in [good.as_str(), &bad, SCOPED, SECRET, "key-of-nobody-at-all-0123456789abcdef"] {
        // Half of one is too much as well.
        let half = &secret[secret.len() / 2..];
        let line = log.lines().find(|line| line.contains(secret) || line.contains(half));
        assert_eq!(line, None);
    }
}

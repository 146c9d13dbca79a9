//! Limits on requests, against the real server: who is counted as what, and how it is told.

use std::sync::LazyLock;

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{Fanfare, PATIENCE, Redis, Settings, eventually};

/// One client for many requests. It keeps no connections, which would belong to the runtime of one test.
static HTTP: LazyLock<Client> =
    LazyLock::new(|| Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(PATIENCE).build().unwrap());

const SECRET: &str = "a secret for tests, long enough: 0123456789";
const KEY: &str = "key-of-the-warehouse-0123456789abcdef";

fn secured() -> Settings {
    Settings::new().env("SECRET_KEY", SECRET).env("FANFARE__AUTH__API_KEYS", KEY)
}

async fn get(server: &Fanfare, headers: &[(&str, &str)]) -> Response {
    let mut request = HTTP.get(format!("{}/api/v1/inventory", server.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

/// How many of `count` requests were let to the guard.
async fn admitted(server: &Fanfare, count: usize, headers: &[(&str, &str)]) -> usize {
    let mut admitted = 0;
    for _ in 0..count {
        admitted += usize::from(get(server, headers).await.status() != StatusCode::TOO_MANY_REQUESTS);
    }
    admitted
}

async fn metric(server: &Fanfare, name: &str) -> f64 {
    let text = HTTP.get(format!("{}/metrics", server.url())).send().await.unwrap().text().await.unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.rsplit(' ').next()?.parse::<f64>().ok());
    lines.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_nothing_gets_a_hundred_a_minute_and_who_shows_a_key_is_not_hindered() {
    let server = Fanfare::start(secured().env("ALLOWED_ORIGINS", "https://shop.example")).await;
    let asked = futures_util::future::join_all((0..140).map(|_| get(&server, &[])));
    let statuses: Vec<u16> = asked.await.iter().map(|answer| answer.status().as_u16()).collect();
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
    assert!((20..=40).contains(&refused), "{refused}");

    let answer = get(&server, &[("origin", "https://shop.example"), ("x-api-key", "wrong")]).await;
    assert_eq!(answer.status(), 429, "a wrong key is no key");
    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://shop.example", "a page can read why");
    assert!(answer.headers().contains_key("x-trace-id"));
    assert!(answer.headers()["access-control-expose-headers"].to_str().unwrap().contains("retry-after"));
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["type"], "/problems/too-many-requests");

    assert_eq!(admitted(&server, 150, &[("x-api-key", KEY)]).await, 150, "the same address");
    assert!(metric(&server, "fanfare_rate_limited_total{caller=\"address\"}").await >= 20.0);
    // What costs nothing is not counted.
    assert_eq!(HTTP.get(format!("{}/health", server.url())).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_open_mode_there_is_no_limit() {
    let server = Fanfare::start(Settings::new()).await;
    let asked = futures_util::future::join_all((0..250).map(|_| get(&server, &[])));
    assert!(asked.await.iter().all(|answer| answer.status() == 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_and_each_user_has_a_limit_of_its_own() {
    let other = "key-of-the-second-house-0123456789abc";
    let settings = Settings::new()
        .env("SECRET_KEY", SECRET)
        .env("FANFARE__AUTH__API_KEYS", format!("{KEY},{other}"))
        .env("FANFARE__RATE__PER_KEY", "8")
        .env("FANFARE__RATE__PER_USER", "6");
    let server = Fanfare::start(settings.clone()).await;
    assert_eq!(admitted(&server, 10, &[("x-api-key", KEY)]).await, 8);
    assert_eq!(admitted(&server, 10, &[("x-api-key", other)]).await, 8);
    for sub in ["ann", "bob"] {
        let (_, token) = Fanfare::run(&settings, &["token", "--sub", sub]).await;
        let bearer = format!("Bearer {}", token.trim());
        assert_eq!(admitted(&server, 8, &[("authorization", &bearer)]).await, 6, "{sub}");
        let (_, token) = Fanfare::run(&settings, &["token", "--sub", sub]).await;
        let bearer = format!("Bearer {}", token.trim());
        assert!(admitted(&server, 2, &[("authorization", &bearer)]).await <= 1, "another token, the same user");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_trusted_proxy_says_where_a_request_comes_from() {
    let settings = secured().env("FANFARE__RATE__PER_ADDRESS", "5");
    let server = Fanfare::start(settings.clone()).await;
    let mut admitted_in_all = 0;
    for n in 0..10 {
        admitted_in_all += admitted(&server, 1, &[("x-forwarded-for", &format!("203.0.113.{n}"))]).await;
    }
    assert_eq!(admitted_in_all, 5, "nobody believes a stranger's header");

    let server = Fanfare::start(settings.env("FANFARE__EDGE__TRUSTED_PROXIES", "127.0.0.0/8, ::1")).await;
    for client in ["203.0.113.1", "203.0.113.2", "2001:db8::1"] {
        assert_eq!(admitted(&server, 7, &[("x-forwarded-for", client)]).await, 5, "{client}");
    }
    assert_eq!(admitted(&server, 2, &[("x-forwarded-for", "2001:db8::2")]).await, 0, "the same /64");
    assert_eq!(
        admitted(&server, 2, &[("x-forwarded-for", "198.51.100.9, 203.0.113.1")]).await,
        0,
        "the last hop counts"
    );
    // The health of the services behind is not for whom a proxy passes on.
    let figures = HTTP.get(format!("{}/metrics", server.url())).header("x-forwarded-for", "203.0.113.5");
    assert_eq!(figures.send().await.unwrap().status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_on_one_redis_count_together_and_each_for_itself_without_it() {
    let mut redis = Redis::start().await;
    let settings = secured().env("FANFARE__RATE__PER_ADDRESS", "20").env("FANFARE__RATE__PER_KEY", "30").redis(&redis);
    let (one, two) = (Fanfare::start(settings.clone()).await, Fanfare::start(settings).await);
    // A refill comes every 3 s, so a slow machine may see a few more.
    let first = admitted(&one, 15, &[]).await;
    let both = first + admitted(&two, 15, &[]).await;
    assert!(first == 15 && (20..=24).contains(&both), "{first} {both}");
    let by_key = admitted(&one, 25, &[("x-api-key", KEY)]).await + admitted(&two, 25, &[("x-api-key", KEY)]).await;
    assert!((30..=40).contains(&by_key), "{by_key}");
    let kept = redis.command(&["KEYS", "fanfare:rate:*"]).await;
    assert!(kept.starts_with("*2"), "{kept}");
    assert!(!kept.contains("127.0.0.1") && !kept.contains(KEY), "{kept}");
    let bucket = kept.lines().find(|line| line.starts_with("fanfare:rate:key:")).unwrap().trim().to_owned();
    let expiry = redis.command(&["PTTL", &bucket]).await;
    assert!(expiry[1..].parse::<i64>().unwrap() > 0, "Redis forgets it by itself: {expiry}");
    assert_eq!(metric(&one, "fanfare_rate_limit_fallbacks_total").await, 0.0);

    // A frozen Redis costs one time-out, not one a request.
    redis.stop_signal();
    let begun = std::time::Instant::now();
    // This address has used up its part on node one, of which node two alone knows 5 and what it was refused.
    let alone = admitted(&two, 4, &[("x-api-key", KEY)]).await;
    assert!(alone >= 1, "{alone}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(metric(&two, "fanfare_rate_limit_fallbacks_total").await >= 1.0);
    redis.continue_signal();
    redis.restart().await;
    let fresh = eventually("Redis counts again", || async {
        let _ = get(&two, &[]).await;
        redis.command(&["KEYS", "fanfare:rate:address:*"]).await.starts_with("*1").then_some(())
    });
    fresh.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_in_is_limited_more_strictly_by_address_and_by_account() {
    let settings =
        secured().env("FANFARE__EDGE__TRUSTED_PROXIES", "127.0.0.1").env("FANFARE__RATE__LOG_IN_PER_ACCOUNT", "14");
    let server = Fanfare::start(settings).await;
    let log_in = async |from: &str, name: &str| {
        let request = HTTP.post(format!("{}/api/v1/auth/login", server.url())).header("x-forwarded-for", from);
        let body = json!({"name": name, "password": "wrong, but long enough"});
        request.header("x-api-key", KEY).json(&body).send().await.unwrap()
    };
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(log_in("203.0.113.1", "ann").await.status().as_u16());
    }
    // A refill comes every 6 s.
    let wrong = statuses.iter().filter(|status| **status == 401).count();
    assert!((10..=11).contains(&wrong) && statuses.contains(&429), "a key does not widen it: {statuses:?}");
    // Other addresses against the same account run into its own limit, other accounts do not.
    let mut statuses = Vec::new();
    for n in 2..10 {
        statuses.push(log_in(&format!("203.0.113.{n}"), "Ann").await.status().as_u16());
    }
    assert!(statuses.starts_with(&[401]) && statuses.ends_with(&[429]), "{statuses:?}");
    assert_eq!(log_in("203.0.113.20", "bob").await.status(), 401);
}

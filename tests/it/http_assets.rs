//! The web page.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use fanfare::http::assets;
use fanfare::http::layers::EdgeOptions;
use rust_embed::RustEmbed;

use crate::http_kit::{Answer, call, get, layered};

#[derive(RustEmbed)]
#[folder = "tests/it/fixtures/page"]
struct Page;

#[derive(RustEmbed)]
#[folder = "tests/it/fixtures/no-such-page"]
#[allow_missing = true]
struct NoPage;

fn page<Files: RustEmbed + 'static>() -> Router {
    let serve = |request: Request| async move {
        assets::answer::<Files>(request.method(), request.uri().path(), request.headers())
    };
    layered(Router::new().fallback(serve), &EdgeOptions::default())
}

const HTML: [(&str, &str); 1] = [("accept", "text/html,application/xhtml+xml;q=0.9")];

#[tokio::test]
async fn the_page_is_checked_each_time_and_hashed_files_are_kept() {
    let index = get(&page::<Page>(), "/", &[]).await;
    assert_eq!(index.status, StatusCode::OK);
    assert_eq!(index.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(index.header("cache-control"), "no-cache");
    let policy = index.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'self'; connect-src 'self' ws: wss:") && !policy.contains("unsafe"),
        "{policy}"
    );
    let script = get(&page::<Page>(), "/assets/app-1a2b3c4d.js", &[]).await;
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    assert_eq!(script.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(get(&page::<Page>(), "/favicon.svg", &[]).await.header("content-type"), "image/svg+xml");
}

#[tokio::test]
async fn a_known_tag_is_answered_with_304() {
    let first = get(&page::<Page>(), "/", &[]).await;
    let tag = first.header("etag");
    assert!(tag.starts_with('"') && tag.len() == 34, "{tag}");
    let again = get(&page::<Page>(), "/", &[("if-none-match", tag)]).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    assert!(again.body.is_empty());
    assert_eq!(again.header("etag"), tag);
    let other = get(&page::<Page>(), "/", &[("if-none-match", "\"other\"")]).await;
    assert_eq!(other.status, StatusCode::OK);
}

#[tokio::test]
async fn a_compressed_copy_is_sent_to_those_who_take_it() {
    let fetch = async |accept| get(&page::<Page>(), "/assets/app-1a2b3c4d.js", &[("accept-encoding", accept)]).await;
    let plain = fetch("identity").await;
    let brotli = fetch("gzip, br;q=0.9").await;
    assert_eq!(brotli.header("content-encoding"), "br");
    assert_eq!(brotli.header("content-type"), "text/javascript; charset=utf-8");
    assert!(brotli.body.starts_with(b"not really brotli"));
    assert!(brotli.header("etag").starts_with('"') && brotli.header("etag") != plain.header("etag"));
    assert!(brotli.header("vary").contains("accept-encoding"));
    for accept in ["gzip", "br;q=0", "brotli", ""] {
        assert_eq!(fetch(accept).await.body, plain.body, "{accept}");
    }
}

#[tokio::test]
async fn paths_of_the_pages_own_router_give_the_page_and_others_a_404() {
    let index = get(&page::<Page>(), "/", &[]).await;
    assert_eq!(get(&page::<Page>(), "/inventory/low", &HTML).await.body, index.body);
    for (path, headers) in [
        ("/inventory/low", [("accept", "application/json")]),
        ("/assets/gone.js", HTML),
        ("/api/v1/nothing", HTML),
        ("/ws/nothing", HTML),
        ("/../Cargo.toml", HTML),
        ("/assets/%2e%2e/%2e%2e/x.toml", HTML),
    ] {
        get(&page::<Page>(), path, &headers).await.problem(404);
    }
    call(&page::<Page>(), Method::POST, "/inventory/low", &HTML, Body::empty()).await.problem(404);
    let refused: Answer = call(&page::<Page>(), Method::POST, "/favicon.svg", &[], Body::empty()).await;
    refused.problem(405);
    assert_eq!(refused.header("allow"), "GET, HEAD");
}

#[tokio::test]
async fn without_a_page_the_start_says_how_to_build_it() {
    let start = get(&page::<NoPage>(), "/", &[]).await;
    assert_eq!(start.status, StatusCode::OK);
    assert!(String::from_utf8(start.body).unwrap().contains("make web"));
    get(&page::<NoPage>(), "/inventory", &HTML).await.problem(404);
}

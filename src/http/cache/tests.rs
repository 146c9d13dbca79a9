//! The cache by itself: what is shared, what is made anew, and what makes room.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::sync::Notify;

use super::*;
use crate::db::{Depends, Moment};

/// Rows that change when they are told to, and count how often they are read.
#[derive(Default)]
struct Rows {
    changes: AtomicU64,
    made: AtomicUsize,
}

impl Tables for Rows {
    async fn moment(&self) -> Option<Moment> {
        Some(Moment::numbered(self.changes.load(Ordering::SeqCst)))
    }

    fn has_changed(&self, _: &Depends, since: &Moment) -> bool {
        *since != Moment::numbered(self.changes.load(Ordering::SeqCst))
    }

    fn stamp(&self, _: &Moment) -> Option<String> {
        None
    }

    fn holds(&self, _: &Depends, _: &str) -> bool {
        false
    }
}

fn made(body: impl Into<Vec<u8>>) -> Result<Made, Infallible> {
    Ok(Made { body: body.into(), depends: Depends::default() })
}

impl Rows {
    async fn get(&self, cache: &Cache, key: &str) -> Arc<Answer> {
        let make = async |_| {
            self.made.fetch_add(1, Ordering::SeqCst);
            made(format!("{key} {} {}", self.changes.load(Ordering::SeqCst), "x".repeat(3000)))
        };
        let Ok(answer) = cache.answer(key, Sharing::Nodes, self, make).await;
        answer
    }

    fn change(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }
}

fn with_bytes(memory_bytes: usize) -> Cache {
    let memory = Memory::new(memory_bytes, Duration::from_secs(60), &mut Registry::default());
    Cache(Arc::new(Inner { enabled: true, memory, shared: None, requests: Family::default() }))
}

#[tokio::test]
async fn an_answer_holds_until_its_rows_change() {
    let (cache, rows) = (Cache::in_memory(), Rows::default());
    let first = rows.get(&cache, "a").await;
    assert!(Arc::ptr_eq(&first, &rows.get(&cache, "a").await));
    rows.change();
    assert!(rows.get(&cache, "a").await.body().starts_with(b"a 1 "));
    assert_eq!(rows.made.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_crowd_makes_one_answer() {
    let (cache, rows, go_on) = (Cache::in_memory(), Rows::default(), Notify::new());
    let one = || async {
        let make = async |_| {
            rows.made.fetch_add(1, Ordering::SeqCst);
            go_on.notified().await;
            made("[]")
        };
        cache.answer("k", Sharing::Nodes, &rows, make).await
    };
    let crowd = futures_util::future::join_all((0..100).map(|_| one()));
    let release = async {
        tokio::task::yield_now().await;
        go_on.notify_one();
    };
    tokio::join!(crowd, release);
    assert_eq!(rows.made.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn who_comes_while_an_older_answer_is_made_does_not_get_it() {
    let (cache, rows) = (Cache::in_memory(), Rows::default());
    let (began, go_on) = (Notify::new(), Notify::new());
    let slow = async {
        let make = async |_| {
            began.notify_one();
            go_on.notified().await;
            made("old")
        };
        cache.answer("k", Sharing::Nodes, &rows, make).await
    };
    let late = async {
        began.notified().await;
        rows.change();
        let late = rows.get(&cache, "k");
        let release = async {
            tokio::task::yield_now().await;
            go_on.notify_one();
        };
        tokio::join!(late, release).0
    };
    let (Ok(slow), late) = tokio::join!(slow, late);
    assert_eq!((&slow.body()[..], &late.body()[..5]), (&b"old"[..], &b"k 1 x"[..]));
}

#[tokio::test]
async fn memory_is_bounded_and_the_least_used_goes() {
    let (cache, rows) = (with_bytes(100_000), Rows::default());
    for number in 0..100 {
        rows.get(&cache, "often").await;
        rows.get(&cache, &number.to_string()).await;
        assert!(cache.0.memory.kept.lock().unwrap().bytes <= 100_000);
    }
    assert_eq!(rows.made.load(Ordering::SeqCst), 101, "what is used often has stayed");
    assert!(cache.0.memory.kept.lock().unwrap().answers.len() < 20);
}

#[tokio::test]
async fn each_form_has_a_tag_of_its_own_and_any_of_them_is_known() {
    let answer = Answer::new("[1234567890]".repeat(200).into_bytes());
    let asks = |name, value: &str| HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())]);
    let mut tags = Vec::new();
    for (accepts, coding) in
        [("", None), ("gzip", Some("gzip")), ("gzip, zstd", Some("zstd")), ("gzip, br", Some("br"))]
    {
        let response = answer.respond(&asks(header::ACCEPT_ENCODING, accepts));
        let found = response.headers().get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap());
        assert_eq!((response.status(), found), (StatusCode::OK, coding));
        assert_eq!(response.headers()[header::CACHE_CONTROL], "private, no-cache");
        tags.push(response.headers()[header::ETAG].to_str().unwrap().to_owned());
    }
    tags.iter().for_each(|tag| {
        let response = answer.respond(&asks(header::IF_NONE_MATCH, tag));
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
    });
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 4);
    assert_eq!(answer.respond(&asks(header::IF_NONE_MATCH, "\"other\"")).status(), StatusCode::OK);
}

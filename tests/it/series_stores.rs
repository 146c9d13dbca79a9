//! The embedded store on both engines: every answer is what the points give, rolled up or not.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use fanfare::clock::Clock;
use fanfare::db::{Db, DbMetrics, DbOptions};
use fanfare::series::{Embedded, Point, Range, Series, SeriesMetrics, SeriesOptions, Step};
use fanfare::telemetry::Registry;

use crate::support::temp_dir;

const SECOND_NS: i64 = 1_000_000_000;
const HOUR_S: i64 = 3_600;

struct Store {
    embedded: Embedded,
    clock: Clock,
    metrics: SeriesMetrics,
    _folder: tempfile::TempDir,
}

/// Noon of some day.
fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000 / 86_400 * 86_400 + 12 * HOUR_S, 0).unwrap()
}

async fn stores(options: SeriesOptions) -> Vec<Store> {
    let mut stores = Vec::new();
    for url in urls().await {
        let db = Db::open(&url.0, &DbOptions::default(), DbMetrics::register(&mut Registry::default())).await.unwrap();
        let (clock, metrics) = (Clock::manual(noon()), SeriesMetrics::default());
        let embedded = Embedded::open(db.clone(), clock.clone(), options.clone(), metrics.clone()).await.unwrap();
        Embedded::open(db, clock.clone(), options.clone(), metrics.clone())
            .await
            .expect("a second time changes nothing");
        stores.push(Store { embedded, clock, metrics, _folder: url.1 });
    }
    stores
}

async fn urls() -> [(String, tempfile::TempDir); 2] {
    let (one, two) = (temp_dir("series"), temp_dir("none"));
    let sqlite = format!("sqlite://{}", one.path().join("series.db").display());
    [(sqlite, one), (crate::support::Postgres::database().await.url, two)]
}

fn ask(tags: &[(&str, &str)], from_s: i64, to_s: i64, step_s: u64) -> Range {
    let tags = tags.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let at = |s| DateTime::from_timestamp(s, 0).unwrap();
    Range::new("m", "v", tags, (at(from_s), at(to_s)), Some(Duration::from_secs(step_s))).unwrap()
}

/// What the question's answer is, worked out from the points.
fn expected(points: &BTreeMap<(String, i64), f64>, tag: Option<&str>, range: &Range) -> Vec<Step> {
    let mut steps = BTreeMap::<i64, Vec<(i64, f64)>>::new();
    for ((of, at), value) in points {
        if tag.is_none_or(|tag| tag == of) && (range.from_ns..range.to_ns).contains(at) {
            steps.entry(at - at % range.step_ns).or_default().push((*at, *value));
        }
    }
    let step = |(at, mut values): (i64, Vec<(i64, f64)>)| {
        values.sort_by_key(|(at, _)| *at);
        let all = || values.iter().map(|(_, value)| *value);
        Step {
            at: DateTime::from_timestamp_nanos(at),
            min: all().fold(f64::INFINITY, f64::min),
            max: all().fold(f64::NEG_INFINITY, f64::max),
            avg: all().sum::<f64>() / values.len() as f64,
            last: values[values.len() - 1].1,
            count: values.len() as u64,
        }
    };
    steps.into_iter().map(step).collect()
}

fn same(found: &[Step], expected: &[Step], what: &str) {
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0);
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!((found.at, found.count, found.last), (expected.at, expected.count, expected.last), "{what}");
        assert_eq!((found.min, found.max), (expected.min, expected.max), "{what}");
        assert!(near(found.avg, expected.avg), "{what}: {found:?} {expected:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_what_the_points_give_rolled_up_or_not() {
    for store in stores(SeriesOptions::default()).await {
        let mut random = fastrand::Rng::with_seed(7);
        let mut truth = BTreeMap::new();
        let begin_s = noon().timestamp() - 5 * HOUR_S;
        for round in 0..4 {
            // Up to now, with some that are late, and some that replace an earlier value of the same moment.
            let now_s = noon().timestamp() + round * 47 * 60;
            let mut points = Vec::new();
            for _ in 0..700 {
                let of = ["a", "b", "c"][random.usize(..3)];
                // Some on the very begin of a minute; no two series at one moment, for `last` would be either's.
                let second = random.i64(begin_s..now_s) / 5 * 5;
                let at_ns = second * SECOND_NS + i64::from(of.as_bytes()[0] - b'a');
                let value = (random.i64(-1000..1000) as f64) / 8.0;
                truth.insert((of.to_owned(), at_ns), value);
                points.push(
                    Point::new("m", DateTime::from_timestamp_nanos(at_ns))
                        .tag("of", of)
                        .field("v", value)
                        .field("w", 1_i64),
                );
            }
            assert_eq!(store.embedded.write(&points).await, Ok(700));
            for rolled in [false, true] {
                if rolled {
                    store.embedded.roll_up().await.unwrap();
                }
                for _ in 0..25 {
                    let from = random.i64(begin_s - HOUR_S..now_s);
                    let to = random.i64(from + 1..=now_s + 100);
                    let step = [1, 7, 60, 300, 3_600, 7_200][random.usize(..6)];
                    let step = if (to - from) / step as i64 > 9_000 { 60 } else { step };
                    let tag = [None, Some("a"), Some("b")][random.usize(..3)];
                    let tags: Vec<_> = tag.iter().map(|tag| ("of", *tag)).collect();
                    let range = ask(&tags, from, to, step);
                    let found = store.embedded.range(&range).await.unwrap();
                    same(&found, &expected(&truth, tag, &range), &format!("round {round} {rolled} {tag:?} {range:?}"));
                }
            }
            store.clock.advance(Duration::from_secs(47 * 60));
        }
        assert!(store.embedded.range(&ask(&[("of", "nobody")], begin_s, begin_s + 9, 1)).await.unwrap().is_empty());
        let untagged = store.embedded.range(&ask(&[("other", "")], begin_s, noon().timestamp(), 3_600)).await.unwrap();
        assert_eq!(untagged.len(), 5, "a tag without a value is one that a series does not have");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_twice_changes_nothing_and_kinds_of_values_are_numbers() {
    for store in stores(SeriesOptions::default()).await {
        let at = noon() - chrono::TimeDelta::seconds(1);
        let point = |v: f64| {
            Point::new("m", at)
                .field("v", v)
                .field("yes", true)
                .field("whole", 3_i64)
                .field("big", u64::MAX)
                .field("text", "x")
        };
        for _ in 0..3 {
            assert_eq!(store.embedded.write(&[point(1.0), point(0.1)]).await, Ok(2));
        }
        let from_s = noon().timestamp() - 60;
        for (field, value) in [("v", 0.1), ("yes", 1.0), ("whole", 3.0), ("big", u64::MAX as f64)] {
            let range = Range { field: field.into(), ..ask(&[], from_s, from_s + 60, 60) };
            let steps = store.embedded.range(&range).await.unwrap();
            assert_eq!(steps.len(), 1, "{field}");
            assert_eq!((steps[0].last, steps[0].min, steps[0].count), (value, value, 1), "{field}");
        }
        let text = Range { field: "text".into(), ..ask(&[], from_s, from_s + 60, 60) };
        assert!(store.embedded.range(&text).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_goes_and_what_was_rolled_up_stays() {
    let options =
        SeriesOptions { keep_points_s: 7_200, keep_minutes_s: 14_400, keep_hours_s: 36_000, ..Default::default() };
    for store in stores(options).await {
        let begin_s = noon().timestamp();
        let write = async |of_s: i64, value: f64| {
            let point = Point::new("m", DateTime::from_timestamp(of_s, 0).unwrap()).field("v", value);
            store.embedded.write(&[point]).await.unwrap()
        };
        assert_eq!(write(begin_s - 60, 1.0).await, 1);
        assert_eq!(write(begin_s - 7_000, 2.0).await, 0, "it would go before it could be rolled up");
        assert_eq!(store.metrics.dropped_for("too_old"), 1);
        assert_eq!(write(begin_s - 30, 5.0).await, 1);
        let count = async |step_s| {
            let steps = store.embedded.range(&ask(&[], begin_s - 7_200, begin_s + 7_200, step_s)).await.unwrap();
            steps.iter().map(|step| step.count).sum::<u64>()
        };
        store.clock.advance(Duration::from_secs(600));
        store.embedded.roll_up().await.unwrap();
        store.embedded.expire().await.unwrap();
        assert_eq!((count(5).await, count(60).await, count(3_600).await), (2, 2, 2));
        for (after_s, left) in [(7_200, (0, 2, 2)), (7_200, (0, 0, 2)), (21_600, (0, 0, 0))] {
            store.clock.advance(Duration::from_secs(after_s));
            store.embedded.roll_up().await.unwrap();
            store.embedded.expire().await.unwrap();
            assert_eq!((count(5).await, count(60).await, count(3_600).await), left);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_only_so_many_series() {
    for store in stores(SeriesOptions { max_series: 3, ..Default::default() }).await {
        let at = |n: i64| noon() - chrono::TimeDelta::milliseconds(n);
        let points: Vec<_> = (0..5).map(|n| Point::new("m", at(n)).tag("of", n.to_string()).field("v", n)).collect();
        assert_eq!(store.embedded.write(&points).await, Ok(3));
        assert_eq!(store.metrics.dropped_for("too_many_series"), 2);
        // Those that there are go on.
        let again: Vec<_> = (0..5).map(|n| Point::new("m", at(n + 9)).tag("of", n.to_string()).field("v", n)).collect();
        assert_eq!(store.embedded.write(&again).await, Ok(3));
    }
}

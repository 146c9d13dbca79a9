//! The way to InfluxDB: what is sent, and what becomes of points when the store does not simply take them.

use std::time::{Duration, Instant};

use chrono::DateTime;
use fanfare::clock::Clock;
use fanfare::series::{
    DeadLetters, Influx, InfluxOptions, Point, Range, ReadError, Series, SeriesMetrics, SeriesOptions, Writer,
    encode_all,
};
use fanfare::tasks::Tasks;

use crate::support::influx::{Answer, FakeInflux};
use crate::support::{eventually, temp_dir};

/// A writer, the batcher behind it, and the store that it speaks to.
struct Way {
    influx: FakeInflux,
    writer: Writer,
    dead: DeadLetters,
    metrics: SeriesMetrics,
    tasks: Tasks,
    folder: tempfile::TempDir,
}

fn options() -> SeriesOptions {
    SeriesOptions {
        batch_points: 1_000,
        batch_age_ms: 20,
        timeout_ms: 500,
        backoff_initial_ms: 50,
        backoff_max_ms: 200,
        ..SeriesOptions::default()
    }
}

fn store(url: &str) -> Influx {
    let url = url.parse().unwrap();
    let at = InfluxOptions { url, token: "t0ken".into(), org: "o".into(), bucket: "b".into() };
    Influx::new(at, options(), Clock::system()).unwrap()
}

impl Way {
    async fn to(influx: FakeInflux, path: &str) -> Self {
        Self::with(influx, path, options()).await
    }

    async fn with(influx: FakeInflux, path: &str, options: SeriesOptions) -> Self {
        let folder = temp_dir("series");
        let (tasks, metrics) = (Tasks::new(), SeriesMetrics::default());
        let store = std::sync::Arc::new(store(&format!("{}{path}", influx.url())));
        let started = fanfare::series::start(folder.path(), store, &options, &Clock::system(), &metrics, &tasks);
        let (writer, dead) = started.unwrap();
        Self { influx, writer, dead, metrics, tasks, folder }
    }

    async fn start() -> Self {
        Self::to(FakeInflux::start().await, "").await
    }

    /// Everything has found its end: stored, dropped or dead.
    async fn settled(&self) {
        eventually("no point waits", async || {
            let stored = self.metrics.stored.get() + self.metrics.dead_letters.get();
            (stored == self.metrics.accepted.get() && self.metrics.waiting.get() == 0).then_some(())
        })
        .await;
    }

    async fn end(self) {
        assert!(self.tasks.drain(Duration::from_secs(10)).await.is_empty());
        drop(self.folder);
    }
}

fn points(count: i64) -> Vec<Point> {
    let point = |n| Point::new("m", DateTime::from_timestamp_nanos(n)).tag("k", "a b").field("v", n);
    (0..count).map(point).collect()
}

fn lines(points: &[Point]) -> Vec<String> {
    encode_all(points).lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn points_go_out_in_order_in_compressed_batches() {
    let way = Way::start().await;
    way.writer.record(points(2_500)).await.unwrap();
    way.settled().await;
    assert_eq!(way.influx.stored(), lines(&points(2_500)));
    let writes = way.influx.writes();
    assert!((3..=10).contains(&writes.len()), "{}", writes.len());
    for write in writes {
        assert!(write.lines.len() <= 1_000);
        assert_eq!(write.headers["authorization"], "Token t0ken");
        assert_eq!(write.headers["content-type"], "text/plain; charset=utf-8");
        let mut query: Vec<&str> = write.query.split('&').collect();
        query.sort_unstable();
        assert_eq!(query, ["bucket=b", "org=o", "precision=ns"]);
    }
    // One by one, as feeds write: they come together by age.
    for point in points(50) {
        way.writer.write(point);
    }
    way.settled().await;
    assert_eq!(way.influx.stored().len(), 2_550);
    assert_eq!(way.metrics.store_up.get(), 1);
    way.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_asks_for_a_pause_gets_it() {
    for path in ["", "/behind"] {
        let way = Way::to(FakeInflux::start().await, path).await;
        way.influx.answer([Answer::LimitedFor(Duration::from_millis(1_500), "2")]);
        let begun = Instant::now();
        way.writer.record(points(10)).await.unwrap();
        way.settled().await;
        let writes = way.influx.writes();
        let with_points: Vec<_> = writes.iter().filter(|write| !write.lines.is_empty()).collect();
        assert_eq!(with_points.len(), 2, "{path}: one that was refused, one after the pause");
        assert!(with_points[1].at.duration_since(with_points[0].at) >= Duration::from_secs(2));
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert_eq!(way.influx.stored(), lines(&points(10)));
        way.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_is_tried_until_it_does() {
    let way = Way::start().await;
    let statuses = [500, 503, 401, 403, 404, 408, 502, 302, 418];
    way.influx.answer(statuses.map(|status| Answer::Status(status, "not now")));
    way.influx.answer([Answer::Silence]);
    way.writer.record(points(100)).await.unwrap();
    eventually("the store is said to be away", async || (way.metrics.store_up.get() == 0).then_some(())).await;
    way.settled().await;
    assert_eq!(way.influx.stored(), lines(&points(100)));
    assert_eq!(way.metrics.store_up.get(), 1);
    assert_eq!(way.metrics.dead_letters.get(), 0);
    // The 503 is asked about by a write of nothing, which met the 401.
    let reasons: u64 =
        ["server", "settings", "timeout", "unreachable"].map(|reason| way.metrics.retried_for(reason)).iter().sum();
    assert_eq!(reasons, 9);
    way.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_is_found_and_the_others_are_written() {
    let way = Way::start().await;
    way.influx.poison(Some("poison"));
    let mut all = points(900);
    for index in [0, 7, 450, 451, 899] {
        all[index] = all[index].clone().tag("poison", index.to_string());
    }
    way.writer.record(all.clone()).await.unwrap();
    way.settled().await;
    let (bad, good): (Vec<_>, Vec<_>) = lines(&all).into_iter().partition(|line| line.contains("poison"));
    assert_eq!(way.influx.stored(), good);
    let dead = way.dead.list(100).unwrap();
    let found: Vec<String> = dead.iter().rev().map(|letter| letter.line.clone().unwrap()).collect();
    assert_eq!(found, bad);
    assert!(dead.iter().all(|letter| letter.points == 1 && letter.reason.contains("bad point")), "{dead:?}");
    assert_eq!(way.dead.list(2).unwrap(), dead[..2]);
    assert_eq!((way.metrics.stored.get(), way.metrics.dead_letters.get()), (895, 5));
    way.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_halved_and_what_was_dropped_is_counted() {
    let way = Way::start().await;
    way.influx.most_lines(60);
    way.writer.record(points(500)).await.unwrap();
    way.settled().await;
    assert_eq!(way.influx.stored(), lines(&points(500)));
    let before = way.influx.writes().len();
    let conflict = "partial write: field type conflict: input field \"v\" … dropped=3 for database: b";
    way.influx.answer([Answer::Status(422, conflict)]);
    way.writer.record(points(10)).await.unwrap();
    way.settled().await;
    assert_eq!(way.influx.writes().len(), before + 1, "never again: the store would say the same");
    let dead = way.dead.list(10).unwrap();
    assert_eq!((dead.len(), dead[0].points, dead[0].line.as_deref()), (1, 3, None));
    assert_eq!(dead[0].reason, conflict);
    assert_eq!((way.metrics.stored.get(), way.metrics.dead_letters.get()), (507, 3));
    way.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_go_out_waits_for_the_next_process() {
    let way = Way::start().await;
    way.influx.answer((0..1_000).map(|_| Answer::Status(500, "engine: cache-max-memory-size exceeded")));
    way.writer.record(points(3_000)).await.unwrap();
    eventually("it was tried", async || (way.metrics.retried_for("server") > 0).then_some(())).await;
    let Way { influx, writer, tasks, folder, .. } = way;
    drop(writer);
    assert!(tasks.drain(Duration::from_secs(10)).await.is_empty());
    assert!(influx.stored().is_empty());
    // The same spool, another store.
    let influx = FakeInflux::start().await;
    let (tasks, metrics) = (Tasks::new(), SeriesMetrics::default());
    let store = std::sync::Arc::new(store(influx.url()));
    // The thread that appends lets go of the spool a moment after the last writer.
    let spool = folder.path().join("spool/0/lock");
    eventually("the spool is free", async || std::fs::File::open(&spool).unwrap().try_lock().is_ok().then_some(()))
        .await;
    let _started =
        fanfare::series::start(folder.path(), store, &options(), &Clock::system(), &metrics, &tasks).unwrap();
    eventually("all of it is there", async || (metrics.stored.get() == 3_000).then_some(())).await;
    assert_eq!(influx.stored(), lines(&points(3_000)));
    assert!(tasks.drain(Duration::from_secs(10)).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_points_and_a_full_queue_are_counted_not_felt() {
    let way = Way::with(FakeInflux::start().await, "", SeriesOptions { queue_points: 8, ..options() }).await;
    way.writer.write(Point::new("m", DateTime::UNIX_EPOCH).field("v", f64::NAN));
    way.writer.write(Point::new("", DateTime::UNIX_EPOCH).field("v", 1.0));
    assert_eq!(way.metrics.dropped_for("invalid"), 2);
    let begun = Instant::now();
    for point in points(20_000) {
        way.writer.write(point);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "a writer never waits");
    // Whoever can wait loses nothing, however small the queue is.
    way.writer.record(points(500)).await.unwrap();
    let dropped = way.metrics.dropped_for("queue_full");
    assert!(dropped > 0, "the disk is not that fast");
    eventually("every other is there", async || (way.influx.stored().len() as u64 == 20_500 - dropped).then_some(()))
        .await;
    assert_eq!(way.metrics.accepted.get(), 20_502);
    Writer::nowhere().write(points(1).remove(0));
    way.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_takes_nothing_is_told_to_those_who_ask() {
    let way = Way::with(FakeInflux::start().await, "", SeriesOptions { spool_bytes: 1 << 20, ..options() }).await;
    way.influx.answer((0..10_000).map(|_| Answer::Status(500, "not now")));
    way.writer.record(points(1_000)).await.unwrap();
    std::fs::remove_dir_all(way.folder.path().join("spool")).unwrap();
    // The file at hand goes on; the next one cannot be made.
    let mut kept = 1_000;
    while way.writer.record(points(1_000)).await.is_ok() {
        kept += 1_000;
        assert!(kept < 100_000);
    }
    assert_eq!(way.metrics.dropped_for("disk"), 1_000);
    assert_eq!(way.metrics.accepted.get(), kept + 1_000);
    way.end().await;
}

#[tokio::test]
async fn buckets_and_tasks_are_set_up_once() {
    let influx = FakeInflux::start().await;
    let store = store(influx.url());
    let done = store.set_up().await.unwrap();
    assert_eq!(done.len(), 5, "{done:?}");
    let keeps = |bucket: &serde_json::Value| {
        (bucket["name"].as_str().unwrap().to_owned(), bucket["retentionRules"][0]["everySeconds"].as_u64().unwrap())
    };
    let options = options();
    let expected = [("b", options.keep_points_s), ("b_1m", options.keep_minutes_s), ("b_1h", options.keep_hours_s)]
        .map(|(n, s)| (n.into(), s));
    assert_eq!(influx.buckets().iter().map(keeps).collect::<Vec<_>>(), expected);
    let tasks = influx.tasks();
    assert_eq!(tasks.len(), 2);
    assert!(tasks.iter().all(|task| task["orgID"] == "0123" && task["status"] == "active"));
    let flux = tasks[0]["flux"].as_str().unwrap();
    assert!(
        flux.contains("every: 1m")
            && flux.contains("from(bucket: \"b\")")
            && flux.contains("to(bucket: \"b_1m\", org: \"o\")")
    );
    assert!(store.set_up().await.unwrap().is_empty(), "a second time changes nothing");
    influx.spoil_task(1);
    assert_eq!(store.set_up().await.unwrap(), ["changed the task \"fanfare: b_1m to b_1h\""]);
    assert_eq!(influx.tasks(), tasks);
}

#[tokio::test]
async fn questions_are_flux_and_answers_are_steps() {
    let influx = FakeInflux::start().await;
    let store = store(influx.url());
    let now = Clock::system().now();
    let ask = |from: i64, to: i64, step_s: u64| {
        let at = |s| now - chrono::TimeDelta::seconds(s);
        Range::new("m", "v", Default::default(), (at(from), at(to)), Some(Duration::from_secs(step_s))).unwrap()
    };
    let row = |name: &str, value: f64| format!(",{name},0,2026-01-01T00:00:00Z,{value}\r\n");
    let mut table =
        "#datatype,string,long,dateTime:RFC3339,double\r\n#group,false,false,false,false\r\n#default,_result,,,\r\n\
                     ,result,table,_time,_value\r\n"
            .to_owned();
    for (name, value) in [("min", 1.0), ("max", 4.0), ("sum", 5.0), ("count", 2.0), ("last", 4.0)] {
        table += &row(name, value);
    }
    influx.table(200, &table);
    let steps = store.range(&ask(3_600, 0, 60)).await.unwrap();
    assert_eq!((steps.len(), steps[0].avg, steps[0].count), (1, 2.5, 2));
    let day = 86_400;
    for (from, step_s, bucket) in
        [(3_600, 60, "b"), (30 * day, 3_600, "b_1m"), (200 * day, 86_400, "b_1h"), (30 * day, 301, "b")]
    {
        store.range(&ask(from, 0, step_s)).await.unwrap();
        let flux = influx.queries().pop().unwrap();
        assert!(flux.starts_with(&format!("data = from(bucket: \"{bucket}\")")), "{flux}");
        assert_eq!(flux.contains("r.agg"), bucket != "b");
    }
    influx.table(200, "#datatype,string,string\r\n#group,true,true\r\n#default,,\r\n,error,reference\r\n,broken,1\r\n");
    assert_eq!(store.range(&ask(60, 0, 1)).await, Err(ReadError::Refused("broken".into())));
    influx.table(503, "{\"code\":\"unavailable\",\"message\":\"starting\"}");
    assert_eq!(store.range(&ask(60, 0, 1)).await, Err(ReadError::Unavailable("starting".into())));
    influx.table(400, "{\"message\":\"no such bucket\"}");
    assert_eq!(store.range(&ask(60, 0, 1)).await, Err(ReadError::Refused("no such bucket".into())));
    assert_eq!(store.ping().await, Ok(()));
    drop(influx);
}

#[tokio::test]
async fn influxdbs_own_compiler_accepts_what_is_asked() {
    let influx = FakeInflux::start().await;
    let store = store(influx.url());
    store.set_up().await.unwrap();
    let now = Clock::system().now();
    let tags = [("sku", "x\") |> drop() ${1 + 1} \\"), ("none", ""), ("日本 語", "りんご\n")];
    let tags: std::collections::BTreeMap<_, _> = tags.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    influx.table(200, "");
    for hours in [1, 24 * 30, 24 * 300] {
        let span = (now - chrono::TimeDelta::hours(hours), now);
        let asked = Range::new("m \"x\"", "v${y}", tags.clone(), span, Some(Duration::from_secs(3_600))).unwrap();
        store.range(&asked).await.unwrap();
    }
    let mut texts = influx.queries();
    texts.extend(influx.tasks().iter().map(|task| task["flux"].as_str().unwrap().to_owned()));
    assert_eq!(texts.len(), 5);
    // That it would say no, too.
    texts.push(texts[0].replace("createEmpty", "makeEmpty"));
    texts.push(texts[0].replace("\\\"", "\""));
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let mut node = std::process::Command::new("node");
    node.arg(folder.join("flux.mjs")).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut node = node.spawn().expect("the tests need the program `node`");
    let input = node.stdin.take().unwrap();
    serde_json::to_writer(input, &texts).unwrap();
    let output = tokio::task::spawn_blocking(move || node.wait_with_output()).await.unwrap().unwrap();
    let verdicts: Vec<bool> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdicts, [true, true, true, true, true, false, false]);
}

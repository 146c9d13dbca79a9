//! A client for load tests that costs little beside the server: threads, kept connections, no libraries.
//!
//!     progress-client events HOST:PORT NAME connections=16 seconds=10 rate=0 batch=100 total=0
//!     progress-client requests HOST:PORT FILE connections=32 seconds=30 rate=200 warm=5
//!
//! `events` posts batches as fast as they are acknowledged, or `rate` events a second; `total` stops after so many. Every
//! event has an id of its own that begins with NAME. `requests` sends the lines of FILE in turn, each `LABEL METHOD PATH
//! [JSON]`, at `rate` a second. A paced request's time counts from when it was due, so that a server that stalls does not
//! hide it; those due in the first `warm` seconds are sent and not counted. Prints one JSON object.

mod http;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Connection;

/// How a run goes.
#[derive(Clone)]
struct Plan {
    address: String,
    connections: u64,
    seconds: u64,
    /// Of a paced run, seconds at its beginning that do not count.
    warm: u64,
    /// Events or requests a second; 0: as fast as they are answered.
    rate: u64,
    batch: u64,
    /// Events in all; 0: no bound but the time.
    total: u64,
}

/// What one connection saw: durations by label, and answers that were not good.
#[derive(Default)]
struct Seen {
    took: BTreeMap<String, Vec<Duration>>,
    bad: BTreeMap<u16, u64>,
}

impl Seen {
    fn note(&mut self, label: &str, status: u16, took: Duration) {
        match self.took.get_mut(label) {
            Some(list) => list.push(took),
            None => drop(self.took.insert(label.to_owned(), vec![took])),
        }
        if !(200..300).contains(&status) {
            *self.bad.entry(status).or_default() += 1;
        }
    }

    fn join(&mut self, other: Seen) {
        for (label, took) in other.took {
            self.took.entry(label).or_default().extend(took);
        }
        for (status, count) in other.bad {
            *self.bad.entry(status).or_default() += count;
        }
    }
}

fn main() -> Result<(), String> {
    let mut words = std::env::args().skip(1);
    let mut word = || words.next().ok_or("progress-client events|requests HOST:PORT NAME|FILE [key=value…]");
    let (mode, address, what) = (word()?, word()?, word()?);
    let mut plan = Plan { address, connections: 16, seconds: 10, warm: 0, rate: 0, batch: 100, total: 0 };
    for option in words {
        let (name, value) = option.split_once('=').ok_or(format!("{option} is not key=value"))?;
        let value = value.parse().map_err(|_| format!("{option}: not a number"))?;
        match name {
            "connections" => plan.connections = value,
            "seconds" => plan.seconds = value,
            "warm" => plan.warm = value,
            "rate" => plan.rate = value,
            "batch" => plan.batch = value,
            "total" => plan.total = value,
            _ => return Err(format!("there is no option {name}")),
        }
    }
    let source: Arc<dyn Source> = match mode.as_str() {
        "events" => Arc::new(Events { name: what }),
        "requests" => Arc::new(Requests::read(&what)?),
        other => return Err(format!("there is no mode {other}")),
    };
    let (seen, took) = run(&plan, &source);
    println!("{}", report(&plan, source.weight(&plan), &seen, took));
    Ok(())
}

/// Where requests come from; `number` counts them over all connections.
trait Source: Send + Sync {
    /// Writes a whole HTTP request into `out`; answers its label.
    fn request(&self, number: u64, plan: &Plan, out: &mut Vec<u8>) -> &str;
    /// What one request counts for in rates.
    fn weight(&self, plan: &Plan) -> u64;
}

struct Events {
    name: String,
}

impl Source for Events {
    fn request(&self, number: u64, plan: &Plan, out: &mut Vec<u8>) -> &str {
        let mut body = String::with_capacity(plan.batch as usize * 420);
        for i in 0..plan.batch {
            let event = number * plan.batch + i;
            // A class of 500 works on 40 cells; every eighth run fails. Times go on by a millisecond an event.
            let (student, cell, failed) = (event % 500, event / 500 % 40, event % 8 == 0);
            let at_s = 1_795_000_000 + event / 1_000;
            let (hour, minute, second) = (at_s / 3_600 % 24, at_s / 60 % 60, at_s % 60);
            body.push(if i == 0 { '[' } else { ',' });
            let error = if failed { r#","errorMessage":"ZeroDivisionError: division by zero""# } else { "" };
            let _ = write!(
                body,
                r#"{{"eventId":"{}-{event}","eventType":"cell_executed","eventTime":"2026-11-18T{hour:02}:{minute:02}:{second:02}.{:03}Z","emailAddress":"student{student}@example.com","teamName":"チームA","userName":"学生{student}","sessionId":"session-{student}","notebookPath":"week1/demo.ipynb","cellId":"cell-{cell}","cellIndex":{cell},"cellType":"code","code":"x = {event}\nprint(x)","executionCount":{},"hasError":{failed}{error},"result":"","executionDurationMs":{}}}"#,
                self.name,
                event % 1_000,
                event / 20_000 + 1,
                event % 97
            );
        }
        body.push(']');
        http::write_request("POST", "/api/v1/events", &plan.address, body.as_bytes(), out);
        "events"
    }

    fn weight(&self, plan: &Plan) -> u64 {
        plan.batch
    }
}

struct Requests {
    /// Label, method, path, body.
    lines: Vec<[String; 4]>,
}

impl Requests {
    fn read(file: &str) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        let mut lines = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let mut parts = line.splitn(4, ' ').map(str::to_owned);
            let mut next = || parts.next().unwrap_or_default();
            lines.push([next(), next(), next(), next()]);
        }
        if lines.is_empty() { Err(format!("{file} has no requests")) } else { Ok(Self { lines }) }
    }
}

impl Source for Requests {
    fn request(&self, number: u64, plan: &Plan, out: &mut Vec<u8>) -> &str {
        let [label, method, path, body] = &self.lines[(number % self.lines.len() as u64) as usize];
        // `{n}` makes each request another one.
        let (path, body) = (path.replace("{n}", &number.to_string()), body.replace("{n}", &number.to_string()));
        http::write_request(method, &path, &plan.address, body.as_bytes(), out);
        label
    }

    fn weight(&self, _: &Plan) -> u64 {
        1
    }
}

fn run(plan: &Plan, source: &Arc<dyn Source>) -> (Seen, Duration) {
    let (next, begun) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let threads: Vec<_> = (0..plan.connections)
        .map(|_| {
            let (plan, source, next) = (plan.clone(), source.clone(), next.clone());
            std::thread::spawn(move || converse(&plan, &*source, &next, begun))
        })
        .collect();
    let mut all = Seen::default();
    for thread in threads {
        match thread.join() {
            Ok(seen) => all.join(seen),
            Err(_) => *all.bad.entry(0).or_default() += 1,
        }
    }
    (all, begun.elapsed())
}

/// One connection: takes the next request, waits until it is due, sends it, reads the answer.
fn converse(plan: &Plan, source: &dyn Source, next: &AtomicU64, begun: Instant) -> Seen {
    let (mut seen, mut connection) = (Seen::default(), None::<Connection>);
    let (warm, end) = (Duration::from_secs(plan.warm), Duration::from_secs(plan.warm + plan.seconds));
    let mut out = Vec::new();
    let weight = source.weight(plan);
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if plan.total > 0 && number * weight >= plan.total {
            return seen;
        }
        out.clear();
        let label = source.request(number, plan, &mut out).to_owned();
        let mut from = Instant::now();
        if plan.rate > 0 {
            let due = begun + Duration::from_secs_f64((number * weight) as f64 / plan.rate as f64);
            if due.duration_since(begun) >= end {
                return seen;
            }
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            from = due;
        } else if plan.total == 0 && begun.elapsed() >= end {
            return seen;
        }
        let status = match &mut connection {
            Some(open) => open.exchange(&out),
            None => Connection::open(&plan.address).and_then(|mut open| {
                let status = open.exchange(&out);
                connection = Some(open);
                status
            }),
        };
        if status.is_err() {
            connection = None;
        }
        if plan.rate == 0 || from.duration_since(begun) >= warm {
            seen.note(&label, status.unwrap_or(0), from.elapsed());
        }
    }
}

fn report(plan: &Plan, weight: u64, seen: &Seen, took: Duration) -> String {
    let count: usize = seen.took.values().map(Vec::len).sum();
    let bad: u64 = seen.bad.values().sum();
    let good = (count as u64).saturating_sub(bad) * weight;
    let mut json = format!(
        r#"{{"seconds":{:.3},"requests":{count},"bad":{bad},"bad_by_status":{:?},"connections":{},"good_per_second":{:.0},"ms":{{"#,
        took.as_secs_f64(),
        seen.bad.iter().map(|(status, count)| format!("{status}: {count}")).collect::<Vec<_>>(),
        plan.connections,
        good as f64 / took.as_secs_f64(),
    );
    for (index, (label, took)) in seen.took.iter().enumerate() {
        let mut sorted: Vec<f64> = took.iter().map(|took| took.as_secs_f64() * 1e3).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |part: f64| sorted[((sorted.len() - 1) as f64 * part).round() as usize];
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(
            json,
            r#"{comma}"{label}":{{"count":{},"p50":{:.2},"p95":{:.2},"p99":{:.2},"max":{:.2}}}"#,
            sorted.len(),
            at(0.5),
            at(0.95),
            at(0.99),
            at(1.0)
        );
    }
    json.push_str("}}");
    json
}

//! `deploy/switch` against a real nginx, two nodes on one Redis and one PostgreSQL, under load.
//!
//! `make rolling-update` makes it 2,000 streams on an optimized server, with k6's mixed load beside the test's own.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::deploy_kit::{Nginx, Roamer, Seen};
use crate::support::{Fanfare, Postgres, Redis, Settings, eventually, temp_dir};

/// Long enough for a restart on a machine that is busy with other tests.
const BACK_WITHIN_MS: usize = 5_000;

/// Does what `deploy/switch` asks for: its commands leave a file `VERB-NAME`, and wait until it is gone.
async fn obey(desk: &Path, nodes: &mut [(&str, Fanfare)]) -> Option<()> {
    for entry in std::fs::read_dir(desk).expect("read").flatten() {
        let wish = entry.file_name().into_string().expect("text");
        let Some((verb, name)) = wish.split_once('-') else { continue };
        let node = &mut nodes.iter_mut().find(|(known, _)| *known == name).expect("a node of that name").1;
        if verb != "start" {
            assert!(node.terminate().await.success());
        }
        if verb != "stop" {
            node.restart().await;
        }
        std::fs::remove_file(entry.path()).expect("remove");
    }
    None
}

/// A command for `deploy/switch` that asks this test.
fn ask(desk: &Path, verb: &str) -> String {
    let script = desk.join(format!("{verb}.sh"));
    let text = format!(
        "#!/bin/sh\n: >\"{0}/{verb}-$1\"\nwhile [ -e \"{0}/{verb}-$1\" ]; do sleep 0.05; done\n",
        desk.display()
    );
    std::fs::write(&script, text).expect("write");
    format!("sh {}", script.display())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_under_load_loses_no_message_and_fails_no_request() {
    let streams: usize = std::env::var("FANFARE_SWITCH_STREAMS").map_or(200, |count| count.parse().expect("a number"));
    let (redis, database, desk) = (Redis::start().await, Postgres::database().await, temp_dir("desk"));
    let settings = Settings::new()
        .redis(&redis)
        .database(&database.url)
        .env("DB_POOL_SIZE", "4")
        .env("DB_MAX_OVERFLOW", "4")
        .env("FANFARE__EDGE__TRUSTED_PROXIES", "127.0.0.1")
        .env("FANFARE__RATE__PER_ADDRESS", "0");
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push((name, Fanfare::start(settings.clone()).await));
    }
    let address: Vec<String> = nodes.iter().map(|(name, node)| format!("{name}={}", node.address())).collect();
    nodes[2].1.terminate().await;
    let nginx = Nginx::start(&[nodes[0].1.address(), nodes[1].1.address()]).await;

    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().expect("client");
    let items = format!("http://{}/api/v1/inventory", nginx.address);
    let item = json!({ "sku": "LOAD-1", "name": "counted", "stock_quantity": 1000, "max_stock_level": 1000000 });
    let item: Value = client.post(&items).json(&item).send().await.expect("create").json().await.expect("json");
    let adjust = format!("{items}/{}/adjust", item["id"]);

    let (seen, stop) = (Arc::new(Seen::default()), CancellationToken::new());
    let mut roamers = JoinSet::new();
    for number in 0..streams as u32 {
        roamers.spawn(Roamer::new(number, nginx.address, "/ws/inventory", &seen, &stop).collect("stock_quantity"));
    }
    let all = async || (seen.connected.load(Ordering::SeqCst) == streams).then_some(());
    let told = seen.clone();
    let _told = scopeguard(move || {
        if std::thread::panicking() {
            let refused = told.refused.lock().expect("lock");
            println!("{} of {streams} connected; refused last: {refused}", told.connected.load(Ordering::SeqCst));
        }
    });
    eventually("all streams are connected", all).await;

    let done = CancellationToken::new();
    let load = tokio::spawn({
        let (client, done) = (client.clone(), done.clone());
        // Each is told to every stream: as many deliveries, however many streams there are.
        let every = Duration::from_millis(30) * (streams as u32).div_ceil(200);
        async move {
            let (mut sent, mut failed) = (0_i64, Vec::new());
            let mut ticks = tokio::time::interval(every);
            while done.run_until_cancelled(ticks.tick()).await.is_some() {
                match client.post(&adjust).json(&json!({ "delta": 1 })).send().await {
                    Ok(answer) if answer.status().is_success() => sent += 1,
                    Ok(answer) => failed.push(answer.status().to_string()),
                    Err(error) => failed.push(format!("{error:?}")),
                }
            }
            (sent, failed)
        }
    });

    let mixed = Mixed::start(&client, &items).await;
    let mut switched = async |words: &[&str], settings: &[(&str, String)]| {
        let mut switch = nginx.switch();
        switch.args(words).envs(settings.iter().map(|(name, value)| (name, value)));
        let switch = switch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("deploy/switch");
        let mut ended = tokio::task::spawn_blocking(move || switch.wait_with_output().expect("wait"));
        let begun = Instant::now();
        let output = loop {
            tokio::select! {
                output = &mut ended => break output.expect("joined"),
                () = tokio::time::sleep(Duration::from_millis(20)) => { obey(desk.path(), &mut nodes).await; }
            }
        };
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
        println!("{words:?} took {:?}\n{said}", begun.elapsed());
        eventually("all streams are back", all).await;
        said
    };
    let rolling = [("NODES", address[..2].join(" ")), ("RESTART", ask(desk.path(), "restart"))];
    let said = switched(&["rolling"], &rolling).await;
    assert!(said.contains("a is renewed") && said.contains("b is renewed"), "{said}");
    // Every stream was on one of the two, and has come back at least once.
    assert!(seen.comebacks.load(Ordering::SeqCst) >= streams);
    let colors = [
        ("BLUE", address[..2].join(" ")),
        ("GREEN", address[2].clone()),
        ("START", ask(desk.path(), "start")),
        ("STOP", ask(desk.path(), "stop")),
    ];
    let said = switched(&["blue-green", "green"], &colors).await;
    assert!(said.contains("green serves") && said.contains("b is stopped"), "{said}");
    let said = switched(&["status"], &colors).await;
    assert!(said.contains("ready, in nginx") && said.contains("down"), "{said}");

    mixed.end().await;
    done.cancel();
    let (sent, failed) = load.await.expect("joined");
    assert!(failed.is_empty(), "{} of {sent} requests failed: {failed:?}\n{}", failed.len(), nginx.log("error.log"));
    // What was sent last is on its way to all.
    tokio::time::timeout(Duration::from_secs(20), async {
        let mut last = nginx_stream(&nginx).await;
        client
            .post(format!("{items}/{}/adjust", item["id"]))
            .json(&json!({ "delta": 1 }))
            .send()
            .await
            .expect("the last");
        while crate::support::next_json(&mut last).await["stock_quantity"] != 1000 + sent + 1 {}
    })
    .await
    .expect("the last message");
    eventually("all streams have had the time", all).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.cancel();
    let wanted: Vec<i64> = (1001..=1000 + sent + 1).collect();
    while let Some(found) = roamers.join_next().await {
        let mut found = found.expect("joined");
        // Who was there early has seen the item made.
        found.retain(|stock| *stock > 1000);
        assert_eq!(found, wanted);
    }
    let longest_ms = seen.longest_ms.load(Ordering::SeqCst);
    println!(
        "{streams} streams, {sent} requests, {} comebacks, the longest took {longest_ms} ms",
        seen.comebacks.load(Ordering::SeqCst)
    );
    assert!(longest_ms < BACK_WITHIN_MS, "{longest_ms} ms");
}

/// k6's mixed scenario, where FANFARE_SWITCH_RATE says how many requests a second.
struct Mixed(Option<(std::process::Child, tempfile::TempDir)>);

impl Mixed {
    const ITEMS: usize = 50;

    async fn start(client: &reqwest::Client, items: &str) -> Self {
        let Ok(rate) = std::env::var("FANFARE_SWITCH_RATE") else { return Self(None) };
        for number in 0..Self::ITEMS {
            let item = json!({ "sku": format!("MIXED-{number}"), "name": "x" });
            assert!(client.post(items).json(&item).send().await.expect("create").status().is_success());
        }
        let folder = temp_dir("mixed");
        let mut k6 = std::process::Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("loadtest/run.sh"));
        // Addresses of their own, as clients have: nginx limits by address.
        k6.args(["mixed", "--local-ips", "127.200.0.1-127.200.0.200"]);
        k6.env("BASE_URL", items.trim_end_matches("/api/v1/inventory")).env("RATE", rate);
        k6.env("RESULT_FILE", folder.path().join("result.json")).env("ITEMS", Self::ITEMS.to_string());
        k6.env("DURATION_SECONDS", "45").env("WRITES", "2").env("CLIENTS", "100").env("FIRST_ITEM", "2");
        Self(Some((k6.spawn().expect("k6"), folder)))
    }

    /// To its own end; no request of it may have failed.
    async fn end(self) {
        let Some((mut k6, folder)) = self.0 else { return };
        // Its own bounds are those of a server that is not being replaced; here the answers count.
        let _ = tokio::task::spawn_blocking(move || k6.wait()).await.expect("joined").expect("k6");
        let result = std::fs::read_to_string(folder.path().join("result.json")).expect("a result");
        let result: Value = serde_json::from_str(&result).expect("JSON");
        let rate = |name: &str| result["metrics"][name]["values"]["rate"].as_f64().expect("a rate");
        let requests = result["metrics"]["http_reqs"]["values"]["count"].as_u64().expect("a count");
        println!("k6: {requests} requests, {} failed, {} as they should be", rate("http_req_failed"), rate("checks"));
        assert!(requests > 1000 && rate("http_req_failed") == 0.0 && rate("checks") == 1.0);
    }
}

/// Runs `last` at the end, however that comes.
fn scopeguard(last: impl FnMut()) -> impl Drop {
    struct Guard<F: FnMut()>(F);
    impl<F: FnMut()> Drop for Guard<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    Guard(last)
}

async fn nginx_stream(nginx: &Nginx) -> crate::support::WebSocket {
    crate::support::ws(&format!("ws://{}/ws/inventory", nginx.address)).await
}

//! More than one Redis: behind a sentinel, and as a cluster.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::stream_recovery::ledger;
use crate::support::{Cluster, Fanfare, PATIENCE, Sentinel, Settings, WebSocket, http, next_json};

const CHANNEL: &str = "system:notifications";

/// Publishes 1, 2, 3, … each under its number as key until it is accepted, and an end when it is told to stop.
async fn publish_until(server: &Fanfare, stop: &AtomicBool, accepted: &AtomicU64) {
    let (http, url) = (http(), format!("{}/api/publish", server.url()));
    let (mut n, mut ended) = (0, false);
    while !ended {
        n += 1;
        ended = stop.load(Ordering::SeqCst);
        let data = json!({ "message_type": if ended { "end" } else { "n" }, "n": n });
        let body = json!({ "channel": CHANNEL, "data": data, "idempotency_key": format!("n-{n}") });
        loop {
            let answer = http.post(&url).json(&body).timeout(PATIENCE).send().await;
            if answer.is_ok_and(|answer| answer.status() == 200) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        accepted.store(n, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Follows the numbers to the end: each the next one, or a gap has been told before it. Answers how many gaps there were.
async fn follow(client: &mut WebSocket) -> usize {
    let (mut expected, mut gaps, mut told) = (1, 0, false);
    loop {
        let message: Value = next_json(client).await;
        match message["message_type"].as_str() {
            Some("gap") => (gaps, told) = (gaps + 1, true),
            Some(kind @ ("n" | "end")) => {
                let n = message["n"].as_u64().unwrap();
                // After a gap the last ones may come once more: what was acknowledged and lost is published again.
                assert!(n == expected || told, "{n} instead of {expected}, and no gap was told");
                (expected, told) = (n + 1, false);
                if kind == "end" {
                    return gaps;
                }
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_by_sentinel_loses_nothing_untold() {
    let mut redis = Sentinel::start().await;
    let settings = || Settings::new().env("REDIS_URL", redis.url());
    let nodes = [Fanfare::start(settings()).await, Fanfare::start(settings()).await];
    let mut clients = [nodes[0].ws("/ws").await, nodes[1].ws("/ws").await];
    let (stop, accepted) = (AtomicBool::new(false), AtomicU64::new(0));
    let publishing = publish_until(&nodes[0], &stop, &accepted);
    let failing_over = async {
        while accepted.load(Ordering::SeqCst) < 50 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        redis.fail_over().await;
        let then = accepted.load(Ordering::SeqCst);
        while accepted.load(Ordering::SeqCst) < then + 50 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.store(true, Ordering::SeqCst);
    };
    let [first, second] = &mut clients;
    tokio::join!(publishing, failing_over, follow(first), follow(second));
    for node in &nodes {
        ledger(node).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_carries_the_stream_while_a_slot_moves() {
    let cluster = Cluster::start().await;
    let settings = || Settings::new().env("REDIS_URL", cluster.url());
    let nodes = [Fanfare::start(settings()).await, Fanfare::start(settings()).await];
    let mut clients = [nodes[0].ws("/ws").await, nodes[1].ws("/ws").await];
    let (stop, accepted) = (AtomicBool::new(false), AtomicU64::new(0));
    let publishing = publish_until(&nodes[0], &stop, &accepted);
    let moving = async {
        while accepted.load(Ordering::SeqCst) < 50 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (from, to) = cluster.move_slot_of("fanfare:{system:notifications}:meta").await;
        assert_ne!(from, to);
        let then = accepted.load(Ordering::SeqCst);
        while accepted.load(Ordering::SeqCst) < then + 100 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.store(true, Ordering::SeqCst);
    };
    let [first, second] = &mut clients;
    let ((), (), gaps, other_gaps) = tokio::join!(publishing, moving, follow(first), follow(second));
    assert_eq!((gaps, other_gaps), (0, 0), "a slot that moves is no loss: history moves with it");
    for node in &nodes {
        ledger(node).await;
    }
}

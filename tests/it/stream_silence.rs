//! A backbone that goes silent: told within its time, and nothing is missed.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::stream_recovery::{ledger, since};
use crate::stream_ws::publish;
use crate::support::{Fanfare, Redis, Settings, WebSocket, eventually, http, next_json};

const CHANNEL: &str = "system:notifications";

async fn next_of(client: &mut WebSocket, message_type: &str) -> Value {
    loop {
        let message = next_json(client).await;
        match message["message_type"].as_str() {
            Some(found) if found == message_type => return message,
            Some("stale" | "live") => {}
            _ => panic!("{message} while waiting for {message_type}"),
        }
    }
}

async fn ready(server: &Fanfare) -> u16 {
    http().get(format!("{}/health/ready", server.url())).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_is_stale_within_its_time_and_live_again() {
    let redis = Redis::start().await;
    let server = Fanfare::start(Settings::new().redis(&redis)).await;
    let mut client = server.ws("/ws").await;
    publish(&server, CHANNEL, "{\"message_type\":\"n\",\"n\":1}").await;
    assert_eq!(next_json(&mut client).await["n"], 1);
    assert_eq!(ready(&server).await, 200);
    let frozen = Instant::now();
    redis.stop_signal();
    let stale = next_of(&mut client, "stale").await;
    assert_eq!(stale["channel"], CHANNEL);
    assert!(stale["silent_ms"].as_u64().unwrap() >= 2_000);
    assert!(frozen.elapsed() < Duration::from_millis(3_500), "{:?}", frozen.elapsed());
    assert_eq!(ready(&server).await, 503);
    // Who comes now is told so too.
    let mut late = server.ws("/ws").await;
    assert_eq!(next_json(&mut late).await["message_type"], "stale");
    redis.continue_signal();
    next_of(&mut client, "live").await;
    eventually("ready again", || async { (ready(&server).await == 200).then_some(()) }).await;
    publish(&server, CHANNEL, "{\"message_type\":\"n\",\"n\":2}").await;
    assert_eq!(next_of(&mut client, "n").await["n"], 2, "no gap: nothing was missed");
    assert_eq!(next_of(&mut late, "n").await["n"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_while_a_node_hears_nothing_is_fetched() {
    let redis = Redis::start().await;
    let nodes =
        [Fanfare::start(Settings::new().redis(&redis)).await, Fanfare::start(Settings::new().redis(&redis)).await];
    let mut client = nodes[0].ws("/ws?positions=true").await;
    next_json(&mut client).await;
    publish(&nodes[1], CHANNEL, "{\"message_type\":\"n\",\"n\":1}").await;
    next_of(&mut client, "n").await;
    // The connection that subscribes is cut again and again while the other node publishes.
    let publishing = async {
        for n in 2..=400 {
            publish(&nodes[1], CHANNEL, &json!({ "message_type": "n", "n": n }).to_string()).await;
        }
    };
    let cutting = async {
        for _ in 0..5 {
            redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    let listening = async {
        for n in 2..=400 {
            let message = next_of(&mut client, "n").await;
            assert_eq!((&message["n"], &message["_position"]["offset"]), (&json!(n), &json!(n)), "no hole, no gap");
        }
    };
    tokio::join!(publishing, cutting, listening);
    ledger(&nodes[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_went_back_in_time_is_a_new_epoch() {
    let redis = Redis::start().await;
    let server = Fanfare::start(Settings::new().redis(&redis)).await;
    let mut client = server.ws("/ws?positions=true").await;
    next_json(&mut client).await;
    for n in 1..=10 {
        publish(&server, CHANNEL, &json!({ "message_type": "n", "n": n }).to_string()).await;
        next_of(&mut client, "n").await;
    }
    // As after a failover to a replica that had not got the last ones: the numbers would be given out twice.
    redis.command(&["HSET", "fanfare:{system:notifications}:meta", "offset", "8"]).await;
    let gap = next_of(&mut client, "gap").await;
    assert_eq!(gap["channel"], CHANNEL);
    publish(&server, CHANNEL, "{\"message_type\":\"n\",\"n\":11}").await;
    let message = next_of(&mut client, "n").await;
    assert_eq!(message["n"], 11);
    let (epoch, _) = gap["since"].as_str().unwrap().split_once(':').unwrap();
    assert!(since(&message).starts_with(epoch), "{gap} {message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_hands_its_clients_to_the_next_node_without_a_loss() {
    const CLIENTS: usize = 40;
    let redis = Redis::start().await;
    let mut old = Fanfare::start(Settings::new().redis(&redis)).await;
    let new = Fanfare::start(Settings::new().redis(&redis)).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = old.ws("/ws?positions=true").await;
        next_json(&mut client).await;
        clients.push(client);
    }
    let (publishing, ended) = (
        async {
            for n in 1..=300 {
                publish(&new, CHANNEL, &json!({ "message_type": "n", "n": n }).to_string()).await;
            }
        },
        async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            old.terminate().await
        },
    );
    let new = &new;
    let listening = futures_util::future::join_all(clients.into_iter().map(|mut client| async move {
        let mut seen = 0;
        let (after, token) = loop {
            let message = next_json(&mut client).await;
            if message["message_type"] == "reconnect" {
                break (message["after_ms"].as_u64().unwrap(), message["since"].as_str().unwrap().to_owned());
            }
            seen += 1;
            assert_eq!(message["n"], seen);
        };
        tokio::time::sleep(Duration::from_millis(after)).await;
        let mut client = new.ws(&format!("/ws?since={token}")).await;
        let hello = next_json(&mut client).await;
        assert_eq!(hello["channels"][CHANNEL]["gap"], false, "{hello}");
        while seen < 300 {
            seen += 1;
            assert_eq!(next_json(&mut client).await["n"], seen, "after {token}");
        }
        after
    }));
    let ((), status, mut slots) = tokio::join!(publishing, ended, listening);
    assert!(status.success());
    slots.sort_unstable();
    slots.dedup();
    assert!(slots.len() > 1, "not all at once: {slots:?}");
}

//! Presence: who watches a channel, told on every node, whatever ends a client or its node.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::stream_ws::{metric, metrics, total};
use crate::support::{Cluster, Fanfare, PATIENCE, Redis, Sentinel, Settings, WebSocket, eventually, http, next_json};

const NOTICES: &str = "system:notifications";
/// Short, so that a node's death is over soon.
const LEASE: Duration = Duration::from_secs(2);

fn settings(redis: &Redis) -> Settings {
    Settings::new().redis(redis).env("FANFARE__STREAM__PRESENCE__LEASE_S", LEASE.as_secs().to_string())
}

/// What a node answers about a channel.
async fn present(server: &Fanfare, channel: &str) -> Value {
    let url = format!("{}/api/v1/presence?channel={channel}", server.url());
    let answer = http().get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

fn names(present: &Value) -> BTreeSet<String> {
    present["clients"].as_array().unwrap().iter().map(|it| it["client"].as_str().unwrap().to_owned()).collect()
}

async fn eventually_present(server: &Fanfare, channel: &str, clients: u64) -> Value {
    let probe = || async {
        let present = present(server, channel).await;
        (present["num_clients"] == clients).then_some(present)
    };
    eventually(&format!("{clients} clients on {channel}"), probe).await
}

/// A client that is told who comes and leaves, and keeps the books of it.
struct Watcher {
    socket: WebSocket,
    channel: &'static str,
    clients: BTreeSet<String>,
    /// Of each client, how often it was told to have left.
    left: HashMap<String, usize>,
}

impl Watcher {
    async fn open(server: &Fanfare, path: &str, channel: &'static str) -> Self {
        // Right after an upheaval behind it, a node may refuse for a moment.
        let url = server.ws_url(path);
        let connect = || async { Some(tokio_tungstenite::connect_async(&url).await.ok()?.0) };
        let socket = eventually("the watcher is connected", connect).await;
        let mut watcher = Self { socket, channel, clients: BTreeSet::new(), left: HashMap::new() };
        let list = watcher.event().await;
        assert_eq!(list["action"], "list", "first who is there: {list}");
        watcher
    }

    /// The next word about the channel's clients.
    async fn event(&mut self) -> Value {
        loop {
            let message = next_json(&mut self.socket).await;
            if message["message_type"] != "presence" || message["channel"] != self.channel {
                continue;
            }
            let client = message["client"].as_str().map(str::to_owned);
            match (message["action"].as_str().unwrap(), client) {
                ("list", _) => self.clients = names(&message),
                ("join", Some(client)) => {
                    self.clients.insert(client);
                }
                ("leave", Some(client)) => {
                    self.clients.remove(&client);
                    *self.left.entry(client).or_default() += 1;
                }
                ("many", None) => {}
                _ => panic!("{message}"),
            }
            return message;
        }
    }

    /// Hears events until these are the clients that it knows of.
    async fn until(&mut self, clients: &BTreeSet<String>) -> Value {
        let mut last = Value::Null;
        while self.clients != *clients {
            last = self.event().await;
        }
        last
    }

    async fn until_count(&mut self, clients: usize) {
        while self.clients.len() != clients {
            self.event().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_knows_its_clients() {
    let server = Fanfare::start(Settings::new()).await;
    let mut watcher = Watcher::open(&server, "/ws?presence=true&positions=true", NOTICES).await;
    let own = watcher.event().await;
    assert_eq!((&own["action"], &own["user"]), (&json!("join"), &json!("anonymous")), "its own joining: {own}");
    let client = server.ws("/ws").await;
    let joined = watcher.event().await;
    assert_eq!(joined["action"], "join");
    assert!(joined["connected_at"].is_string() && joined["timestamp"].is_string() && joined["node"].is_string());
    let present = present(&server, NOTICES).await;
    assert_eq!((&present["num_clients"], &present["num_users"]), (&json!(2), &json!(1)));
    assert_eq!(names(&present), watcher.clients);
    drop(client);
    let left = watcher.event().await;
    assert_eq!(
        (&left["action"], &left["client"], &left["user"]),
        (&json!("leave"), &joined["client"], &json!("anonymous"))
    );
    assert_eq!(left["reason"], Value::Null);
    // Who comes later begins with who is there.
    let mut second = Watcher::open(&server, "/ws?presence=true", NOTICES).await;
    watcher.until_count(2).await;
    second.until(&watcher.clients).await;
    assert!(second.clients.contains(own["client"].as_str().unwrap()));
    // What was told while a client was away follows from the history, as any message does.
    let since = format!("{}:{}", left["_position"]["epoch"].as_str().unwrap(), left["_position"]["offset"]);
    let mut back = server.ws(&format!("/ws?presence=true&since={since}")).await;
    let hello = next_json(&mut back).await;
    assert_eq!(hello["channels"]["presence:system:notifications"]["gap"], false, "{hello}");
    // With a snapshot, who is there comes before the rows.
    let mut rows = server.ws("/ws/inventory?presence=true&snapshot=true").await;
    let mut begun = Vec::new();
    for _ in 0..4 {
        begun.push(next_json(&mut rows).await["message_type"].as_str().unwrap().to_owned());
    }
    assert_eq!(begun, ["subscribed", "presence", "presence", "snapshot"]);
    assert_eq!(metric(&server, "presence_failures_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_nodes_are_told_whatever_the_filter() {
    let redis = Redis::start().await;
    let nodes = [Fanfare::start(settings(&redis)).await, Fanfare::start(settings(&redis)).await];
    let path = "/ws/inventory?presence=true&sku=NOBODY-HAS-THIS";
    let mut first = Watcher::open(&nodes[0], path, "stock:alerts").await;
    first.until_count(1).await;
    let mut second = Watcher::open(&nodes[1], path, "stock:alerts").await;
    first.until_count(2).await;
    second.until_count(2).await;
    let both = first.clients.clone();
    for node in &nodes {
        let client = node.ws("/ws/inventory").await;
        for watcher in [&mut first, &mut second] {
            watcher.until_count(3).await;
        }
        assert_eq!(first.clients, second.clients);
        for node in &nodes {
            for channel in ["stock:alerts", "inventory:updates"] {
                let present = present(node, channel).await;
                assert_eq!(names(&present), first.clients, "the list is the same on each node");
                assert_eq!((&present["num_clients"], &present["num_users"]), (&json!(3), &json!(1)));
            }
        }
        drop(client);
        for watcher in [&mut first, &mut second] {
            let left = watcher.until(&both).await;
            assert_eq!((&left["action"], &left["reason"]), (&json!("leave"), &Value::Null));
        }
    }
    // Who does not ask is not told: the plain client's first message is the feed's own.
    let mut plain = nodes[0].ws("/ws/inventory").await;
    first.until_count(3).await;
    redis.publish("inventory:updates", r#"{"n":1}"#).await;
    assert_eq!(next_json(&mut plain).await, json!({ "n": 1 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_nodes_clients_are_gone_with_its_lease_and_it_is_told_once() {
    let redis = Redis::start().await;
    let mut nodes = [
        Fanfare::start(settings(&redis)).await,
        Fanfare::start(settings(&redis)).await,
        Fanfare::start(settings(&redis)).await,
    ];
    let mut watchers = [
        Watcher::open(&nodes[0], "/ws?presence=true", NOTICES).await,
        Watcher::open(&nodes[1], "/ws?presence=true", NOTICES).await,
    ];
    for watcher in &mut watchers {
        watcher.until_count(2).await;
    }
    let survivors = watchers[0].clients.clone();
    let _doomed = join_all((0..20).map(|_| nodes[2].ws("/ws"))).await;
    for watcher in &mut watchers {
        watcher.until_count(22).await;
    }
    let killed_at = Instant::now();
    nodes[2].kill9();
    for watcher in &mut watchers {
        let last = watcher.until(&survivors).await;
        assert_eq!((&last["action"], &last["reason"]), (&json!("leave"), &json!("lease expired")));
    }
    let took = killed_at.elapsed();
    // The lease, the pause between two looks, and a busy machine.
    assert!(took < LEASE + LEASE / 3 + Duration::from_millis(1_500), "{took:?}");
    assert!(took > LEASE / 2, "not before the lease had ended: {took:?}");
    for node in &nodes[..2] {
        assert_eq!(names(&present(node, NOTICES).await), survivors);
    }
    // Both survivors look for the dead: what came after a later join would have come before it.
    let fence = nodes[0].ws("/ws").await;
    for watcher in &mut watchers {
        watcher.until_count(3).await;
        assert_eq!(watcher.left.len(), 20);
        assert!(watcher.left.values().all(|times| *times == 1), "{:?}", watcher.left);
    }
    drop(fence);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_ends_in_order_leaves_at_once() {
    let redis = Redis::start().await;
    let long = || Settings::new().redis(&redis).env("FANFARE__STREAM__PRESENCE__LEASE_S", "600");
    let (first, mut second) = (Fanfare::start(long()).await, Fanfare::start(long()).await);
    let mut watcher = Watcher::open(&first, "/ws?presence=true", NOTICES).await;
    watcher.until_count(1).await;
    let own = watcher.clients.clone();
    let mut clients = join_all((0..5).map(|_| second.ws("/ws"))).await;
    watcher.until_count(6).await;
    let reading =
        join_all(clients.iter_mut().map(|client| async { while client.next().await.is_some_and(|it| it.is_ok()) {} }));
    let (status, _) = tokio::join!(second.terminate(), reading);
    assert!(status.success(), "{status}");
    let last = watcher.until(&own).await;
    assert_eq!((&last["action"], &last["reason"]), (&json!("leave"), &Value::Null));
    assert_eq!(present(&first, NOTICES).await["num_clients"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_frozen_longer_than_its_lease_is_back() {
    let redis = Redis::start().await;
    let nodes = [Fanfare::start(settings(&redis)).await, Fanfare::start(settings(&redis)).await];
    let mut watcher = Watcher::open(&nodes[0], "/ws?presence=true", NOTICES).await;
    watcher.until_count(1).await;
    let own = watcher.clients.clone();
    let _clients = join_all((0..3).map(|_| nodes[1].ws("/ws"))).await;
    watcher.until_count(4).await;
    let all = watcher.clients.clone();
    nodes[1].stop_signal();
    assert_eq!(watcher.until(&own).await["reason"], "lease expired");
    nodes[1].continue_signal();
    assert_eq!(watcher.until(&all).await["action"], "join");
    assert_eq!(names(&present(&nodes[1], NOTICES).await), all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_was_frozen_or_lost_its_data_knows_all_again() {
    let mut redis = Redis::start().await;
    let nodes = [Fanfare::start(settings(&redis)).await, Fanfare::start(settings(&redis)).await];
    let mut clients =
        [join_all((0..4).map(|_| nodes[0].ws("/ws"))).await, join_all((0..4).map(|_| nodes[1].ws("/ws"))).await];
    let mut watcher = Watcher::open(&nodes[0], "/ws?presence=true", NOTICES).await;
    watcher.until_count(9).await;
    // Frozen for longer than the leases; meanwhile one leaves.
    redis.stop_signal();
    drop(clients[0].pop());
    tokio::time::sleep(LEASE + LEASE / 2).await;
    redis.continue_signal();
    watcher.until_count(8).await;
    let fence = nodes[1].ws("/ws").await;
    watcher.until_count(9).await;
    assert_eq!(watcher.left.len(), 1, "nobody else was taken for dead: {:?}", watcher.left);
    drop(fence);
    watcher.until_count(8).await;
    drop(watcher);
    eventually_present(&nodes[1], NOTICES, 7).await;
    redis.restart().await;
    drop(clients[1].pop());
    let lists = [eventually_present(&nodes[0], NOTICES, 6).await, eventually_present(&nodes[1], NOTICES, 6).await];
    assert_eq!(names(&lists[0]), names(&lists[1]));
    assert!(total(&metrics(&nodes[0]).await, "presence_resyncs_total") >= 1.0);
    // And it stays so, and goes on.
    let mut watcher = Watcher::open(&nodes[0], "/ws?presence=true", NOTICES).await;
    watcher.until_count(7).await;
    drop(clients);
    watcher.until_count(1).await;
    eventually_present(&nodes[1], NOTICES, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_are_few_messages() {
    let redis = Redis::start().await;
    let bounded = || {
        settings(&redis)
            .env("FANFARE__STREAM__PRESENCE__MAX_LISTED", "300")
            .env("FANFARE__STREAM__PRESENCE__MAX_EVENTS", "10")
    };
    let nodes = [Fanfare::start(bounded()).await, Fanfare::start(bounded()).await];
    let mut watcher = Watcher::open(&nodes[0], "/ws?presence=true", NOTICES).await;
    watcher.until_count(1).await;
    let mut clients = Vec::new();
    for some in 0..20 {
        clients.extend(join_all((0..50).map(|_| nodes[some % 2].ws("/ws"))).await);
    }
    let (mut there, mut messages) = (1, 0);
    while there < 1_001 {
        let message = watcher.event().await;
        messages += 1;
        there += if message["action"] == "join" { 1 } else { message["joined"].as_u64().unwrap() };
    }
    assert!(there == 1_001 && messages < 500, "{there} clients, {messages} messages");
    for node in &nodes {
        let present = eventually_present(node, NOTICES, 1_001).await;
        assert_eq!(present["clients"].as_array().unwrap().len(), 300, "a list is bounded");
    }
    drop(clients);
    while there > 1 {
        let message = watcher.event().await;
        there -= if message["action"] == "leave" { 1 } else { message["left"].as_u64().unwrap() };
    }
    eventually_present(&nodes[1], NOTICES, 1).await;
    assert_eq!(total(&metrics(&nodes[0]).await, "presence_resyncs_total"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_who_their_credentials_say() {
    let keys = ["a".repeat(40), "b".repeat(40)];
    let server = Fanfare::start(
        Settings::new()
            .env("FANFARE__AUTH__API_KEYS", format!("user:{},user:{}", keys[0], keys[1]))
            .env("FANFARE__STREAM__PRESENCE__FEEDS", "general,price"),
    )
    .await;
    let paths = [&keys[0], &keys[0], &keys[1]].map(|key| format!("/ws?token={key}"));
    let _clients = join_all(paths.iter().map(|path| server.ws(path))).await;
    let present = eventually_present(&server, NOTICES, 3).await;
    assert_eq!(present["num_users"], 2);
    assert!(present["clients"][0]["user"].as_str().unwrap().starts_with("key:"), "{present}");
    // A feed whose clients are not to be known.
    let _hidden = server.ws(&format!("/ws/inventory?token={}", keys[0])).await;
    let refused = http().get(format!("{}/ws/inventory?presence=true&token={}", server.url(), keys[0]));
    let upgrade = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let refused =
        upgrade.iter().fold(refused, |request, (name, value)| request.header(*name, *value)).send().await.unwrap();
    assert_eq!(refused.status(), 400);
    assert!(refused.text().await.unwrap().contains("presence"));
    assert_eq!(self::present(&server, "inventory:updates").await["num_clients"], 0);
    let wrong = http().get(format!("{}/api/v1/presence?channel=presence:x", server.url())).timeout(PATIENCE);
    assert_eq!(wrong.send().await.unwrap().status(), 422);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dead_are_found_where_nobody_else_watches() {
    let redis = Redis::start().await;
    let (mut doomed, node) = (Fanfare::start(settings(&redis)).await, Fanfare::start(settings(&redis)).await);
    let _clients = join_all((0..3).map(|_| doomed.ws("/ws"))).await;
    eventually_present(&node, NOTICES, 3).await;
    doomed.kill9();
    let killed_at = Instant::now();
    eventually_present(&node, NOTICES, 0).await;
    let took = killed_at.elapsed();
    assert!(took < LEASE + Duration::from_millis(1_500), "{took:?}");
    doomed.restart().await;
    let mut watcher = Watcher::open(&doomed, "/ws?presence=true", NOTICES).await;
    watcher.until_count(1).await;
    assert_eq!(present(&node, NOTICES).await["num_clients"], 1);
}

/// Two nodes know each other's clients, before and after `upheaval`.
async fn survives(url: String, upheaval: impl Future<Output = ()>) {
    let settings = || {
        Settings::new().env("REDIS_URL", &url).env("FANFARE__STREAM__PRESENCE__LEASE_S", LEASE.as_secs().to_string())
    };
    let nodes = [Fanfare::start(settings()).await, Fanfare::start(settings()).await];
    let mut clients = Vec::new();
    for node in nodes.iter().cycle().take(6) {
        clients.push(node.ws("/ws").await);
    }
    eventually_present(&nodes[0], NOTICES, 6).await;
    upheaval.await;
    clients.truncate(3);
    eventually_present(&nodes[0], NOTICES, 3).await;
    clients.push(Watcher::open(&nodes[1], "/ws?presence=true", NOTICES).await.socket);
    let before = eventually_present(&nodes[0], NOTICES, 4).await;
    let mut watcher = Watcher::open(&nodes[1], "/ws?presence=true", NOTICES).await;
    watcher.until_count(5).await;
    assert!(names(&before).is_subset(&watcher.clients));
    drop(clients);
    watcher.until_count(1).await;
    eventually_present(&nodes[0], NOTICES, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_by_sentinel_changes_nothing() {
    let mut redis = Sentinel::start().await;
    survives(redis.url(), redis.fail_over()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_of_a_cluster_that_moves_changes_nothing() {
    let cluster = Cluster::start().await;
    survives(cluster.url(), async {
        let (from, to) = cluster.move_slot_of("fanfare:{presence:system:notifications}:meta").await;
        assert_ne!(from, to);
    })
    .await;
}

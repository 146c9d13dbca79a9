//! Nodes: one that ends, and two that share a Redis.

use std::sync::Arc;

use bytes::Bytes;
use fanfare::stream::{AudienceSpec, Channel, Hub, HubOptions, Joining, Memory, Node, Peer, StreamMetrics, Ticket};
use fanfare::tasks::Tasks;
use fanfare::wire::{Close, Dialect, Incoming};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::stream_kit::Plain;
use crate::stream_ws::{Raw, metric, publish, publish_tagged};
use crate::support::{Fanfare, PATIENCE, Redis, Settings, next_json, next_text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_ends_tells_its_clients_to_come_back() {
    let mut server = Fanfare::start(Settings::new()).await;
    let mut clients = join_all((0..100).map(|_| Raw::open(&server, "/ws"))).await;
    publish(&server, "system:notifications", "\"last\"").await;
    let status = server.terminate();
    let reading = async {
        let mut codes = Vec::new();
        for mut client in clients.drain(..) {
            assert_eq!(client.text().await, "\"last\"");
            codes.push(client.closed().await);
        }
        codes
    };
    let (status, codes) = tokio::join!(status, reading);
    assert!(codes.iter().all(|code| *code == 1012), "{codes:?}");
    assert!(status.success(), "{status}");
}

struct Silent;

impl Peer for Silent {
    fn message(&mut self, _: Incoming<'_>, _: &mut Vec<Bytes>) -> Result<(), Close> {
        Ok(())
    }
}

async fn connect(node: &Node, spec: &AudienceSpec) -> Ticket {
    let audience = node.audience(spec.clone()).await.unwrap();
    let connected = node.connect(audience, Box::new(Silent), Joining::default()).await;
    connected.unwrap_or_else(|missed| panic!("{}", missed.reason))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_under_way_when_the_node_ends_is_told_too() {
    let (hub, tasks) = (Hub::start(HubOptions::default(), StreamMetrics::default()).unwrap(), Tasks::new());
    let broker = Arc::new(Memory::new(Default::default(), Default::default(), Arc::new(hub.clone())));
    let node = Node::start(hub.clone(), broker, &tasks);
    let channels = vec![Channel::new("c").unwrap()];
    let spec = AudienceSpec {
        feed: "test",
        form: Dialect::Json.into(),
        channels,
        filter: Default::default(),
        pace: Default::default(),
        alias: None,
        by_server: false,
    };
    // Places whose sockets have not come keep the shards waiting.
    let mut tickets = Vec::new();
    for _ in 0..2 * hub.shards() {
        tickets.push(connect(&node, &spec).await);
    }
    let mut drain = Box::pin(hub.drain(Close::Restart, PATIENCE));
    // The first poll tells the shards.
    assert!(futures_util::poll!(&mut drain).is_pending());
    let late = connect(&node, &spec).await;
    for ticket in [tickets.pop().unwrap(), late] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let socket = listener.accept().await.unwrap().0.into_std().unwrap();
        ticket.adopt(socket, Vec::new()).await;
        let mut told = [0; 2];
        tokio::time::timeout(PATIENCE, client.read_exact(&mut told)).await.expect("told in time").unwrap();
        assert_eq!(told[0], 0x81, "first when to come back");
        let mut notice = vec![0; usize::from(told[1])];
        client.read_exact(&mut notice).await.unwrap();
        let notice: Value = serde_json::from_slice(&notice).unwrap();
        assert_eq!(notice["message_type"], "reconnect");
        let mut close = [0; 4];
        tokio::time::timeout(PATIENCE, client.read_exact(&mut close)).await.expect("told in time").unwrap();
        assert_eq!((close[0], u16::from_be_bytes([close[2], close[3]])), (0x88, 1012));
    }
    drop(tickets);
    drain.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_on_one_redis_deliver_what_either_accepts() {
    let redis = Redis::start().await;
    let nodes =
        [Fanfare::start(Settings::new().redis(&redis)).await, Fanfare::start(Settings::new().redis(&redis)).await];
    let mut clients = [nodes[0].ws("/ws/inventory").await, nodes[1].ws("/ws/inventory").await];
    let mut toys = [nodes[0].ws("/ws/inventory?category=Toys").await, nodes[1].ws("/ws/inventory?category=Toys").await];
    let mut outside = Plain::subscribed(&redis, "inventory:updates").await;
    for round in 0..5 {
        for (index, node) in nodes.iter().enumerate() {
            let data = format!(r#"{{ "round": {round}, "from": {index} }}"#);
            publish_tagged(node, "inventory:updates", &data, json!({ "category": "Toys" })).await;
            for client in clients.iter_mut().chain(&mut toys) {
                assert_eq!(next_text(client).await, data);
            }
            assert_eq!(outside.message().await, data.into_bytes());
        }
        let data = format!("{{\"round\":{round},\n\"from\":\"outside\"}}");
        redis.publish("inventory:updates", &data).await;
        for client in &mut clients {
            assert_eq!(next_text(client).await, data);
        }
        outside.message().await;
    }
    for node in &nodes {
        assert_eq!(metric(node, "publications_total").await, 15.0, "each message once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_told_of_a_gap_whatever_their_filter() {
    let redis = Redis::start().await;
    let server = Fanfare::start(Settings::new().redis(&redis)).await;
    let mut plain = server.ws("/ws/price").await;
    let mut filtered = server.ws("/ws/price?sku=A-1").await;
    redis.publish("price:updates", "this is not JSON").await;
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    for client in [&mut plain, &mut filtered] {
        let mut channels = Vec::new();
        for _ in 0..2 {
            let notice = next_json(client).await;
            assert_eq!((&notice["message_type"], &notice["reason"]), (&json!("gap"), &json!("reconnected")));
            channels.push(notice["channel"].clone());
        }
        channels.sort_by_key(Value::to_string);
        assert_eq!(channels, ["price:alerts", "price:updates"]);
    }
    // And right after it, all is well again.
    redis.publish("price:alerts", r#"{"sku":"A-1"}"#).await;
    for client in [&mut plain, &mut filtered] {
        assert_eq!(next_json(client).await, json!({ "sku": "A-1" }));
    }
    assert_eq!(metric(&server, "publications_invalid_total").await, 1.0);
    assert_eq!(metric(&server, "broker_connected").await, 1.0);
}

//! Where record and stream meet when another node's relay died between publishing and recording.

use std::sync::Arc;

use bytes::Bytes;
use fanfare::args;
use fanfare::clock::Clock;
use fanfare::feeds::{RecordOptions, RecordReader, Recorder, Relay};
use fanfare::stream::{Channel, Hub, HubOptions, Memory, Node, Outgoing, Record, StreamMetrics, Tags};
use fanfare::tasks::Tasks;
use fanfare::telemetry::Registry;
use serde_json::json;

use crate::rows_kit::{Rows, Text, body};

/// The key under which the relay publishes the only row that waits.
async fn key(rows: &Rows) -> Arc<str> {
    let sql = "SELECT 'outbox-' || CAST(ROUND(EXTRACT(EPOCH FROM created_at) * 1000000) AS BIGINT) || '-' || id AS text
        FROM outbox";
    rows.db.fetch_one::<Text>(sql, args![]).await.unwrap().text.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_relay_has_published_and_not_recorded_is_waited_for() {
    let [_, rows] = Rows::both().await;
    let (tasks, mut registry) = (Tasks::new(), Registry::default());
    let hub = Hub::start(HubOptions::default(), StreamMetrics::default()).unwrap();
    let broker = Arc::new(Memory::new(Default::default(), Default::default(), Arc::new(hub.clone())));
    let node = Node::start(hub, broker, &tasks);
    let recorder = Recorder::new(rows.db.clone(), Clock::system(), RecordOptions::default());
    let mut turn = async || {
        // Told to stop before it begins, it relays what is there.
        let relay = Relay::new(rows.db.clone(), node.clone(), rows.outbox.clone(), &mut registry);
        let stop = tokio_util::sync::CancellationToken::new();
        stop.cancel();
        relay.recording(recorder.clone()).run(stop).await;
    };
    let channel = Channel::new("inventory:updates").unwrap();
    let reader = RecordReader { db: rows.db.clone(), node: node.clone(), outbox: rows.outbox.clone() };
    let seam = async || reader.seam(std::slice::from_ref(&channel), 0, 100).await.unwrap();
    let id =
        rows.inventory.create(body(json!({"sku": "SEAM-1", "name": "S", "stock_quantity": 100}))).await.unwrap().id;
    turn().await;
    assert_eq!(seam().await.expect("recorded").rest.len(), 1);
    // Waiting alone is no reason: it comes behind the seam.
    rows.inventory.adjust(id, -1).await.unwrap();
    assert_eq!(seam().await.expect("not published").rest.len(), 1);
    // What somebody publishes beside the outbox is in no record, and no reason either.
    node.publish(&channel, Bytes::from_static(b"{}"), Tags::new()).await.unwrap();
    assert_eq!(seam().await.expect("nothing of the outbox").rest.len(), 1);
    // As another node's relay does it, and dies.
    let [(_, message)] = rows.staged().await.try_into().unwrap();
    let outgoing = Outgoing { data: message.to_string().into(), key: Some(key(&rows).await), ..Default::default() };
    let position = node.publish_message(&channel, outgoing).await.unwrap();
    assert!(seam().await.is_none(), "out, and not in the record");
    turn().await;
    let seam = seam().await.expect("recorded by the next turn");
    let offsets: Vec<u64> = seam.rest.iter().map(|it| it.publication.position.as_ref().unwrap().offset).collect();
    assert_eq!((offsets.last(), offsets.len()), (Some(&position.offset), 2), "published once");
}

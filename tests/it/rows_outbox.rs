//! Rows and their publications are one: in order, whole, and again after whatever ended the process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fanfare::feeds::Relay;
use fanfare::stream::{Broker, BrokerError, Channel, Hub, HubOptions, Node, Outgoing, Past, Position, StreamMetrics};
use fanfare::tasks::Tasks;
use fanfare::telemetry::Registry;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::rows_kit::{Rows, body};
use crate::support::{Fanfare, Postgres, Redis, Settings, eventually, http};

/// A broker that refuses while it is told to: no real one can be made to refuse between two rows of a batch.
#[derive(Default)]
struct Moody {
    refuses: AtomicBool,
    /// Refuses by itself after so many more.
    accepts: AtomicUsize,
    taken: Mutex<Vec<Value>>,
}

#[async_trait]
impl Broker for Moody {
    fn name(&self) -> &'static str {
        "moody"
    }

    async fn publish(&self, _: &Channel, message: Outgoing) -> Result<Position, BrokerError> {
        let take_one = |left: usize| left.checked_sub(1);
        if self.refuses.load(Ordering::SeqCst)
            || self.accepts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take_one).is_err()
        {
            return Err(BrokerError::Unavailable("in a mood".into()));
        }
        self.taken.lock().await.push(serde_json::from_slice(&message.data).expect("json"));
        Ok(Position { offset: 1, epoch: "e".into() })
    }

    async fn subscribe(&self, _: &Channel) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn unsubscribe(&self, _: &Channel) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn history(&self, _: &Channel, _: u64) -> Result<Past, BrokerError> {
        Err(BrokerError::Unavailable("keeps nothing".into()))
    }

    async fn forget(&self, _: &Channel) -> Result<(), BrokerError> {
        unreachable!("nobody asks")
    }

    async fn position(&self, _: &Channel) -> Result<Position, BrokerError> {
        Err(BrokerError::Unavailable("keeps nothing".into()))
    }

    fn silent_for(&self) -> Duration {
        Duration::ZERO
    }

    async fn ping(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn stop(&self) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_keeps_order_through_refusals_and_ends_empty() {
    for rows in Rows::both().await {
        let mut registry = Registry::default();
        let tasks = Tasks::new();
        let hub = Hub::start(HubOptions { shards: 1, ..Default::default() }, StreamMetrics::default()).unwrap();
        let moody =
            Arc::new(Moody { refuses: AtomicBool::new(true), accepts: AtomicUsize::new(7), ..Default::default() });
        let node = Node::start(hub, moody.clone(), &tasks);
        let relay = Relay::new(rows.db.clone(), node, rows.outbox.clone(), &mut registry);
        let id =
            rows.inventory.create(body(json!({"sku": "relay", "name": "R", "stock_quantity": 500}))).await.unwrap().id;
        // What no broker would take must not stop the rest.
        rows.db.execute("UPDATE outbox SET data = 'not json'", vec![]).await.unwrap();
        tasks.spawn("relay", relay.run(tasks.stop()));
        for _ in 0..30 {
            rows.inventory.adjust(id, -1).await.unwrap();
        }
        moody.refuses.store(false, Ordering::SeqCst);
        // Seven go through, then it refuses in the middle of a batch; then all.
        eventually("the first seven", async || (moody.taken.lock().await.len() == 7).then_some(())).await;
        moody.accepts.store(usize::MAX, Ordering::SeqCst);
        eventually("an empty outbox", async || rows.staged().await.is_empty().then_some(())).await;
        let taken = moody.taken.lock().await;
        let stocks: Vec<i64> = taken.iter().map(|it| it["stock_quantity"].as_i64().unwrap()).collect();
        assert_eq!(stocks, (470..500).rev().collect::<Vec<_>>(), "on {}", rows.db.engine());
        drop(taken);
        assert!(tasks.drain(std::time::Duration::from_secs(5)).await.is_empty());
    }
}

/// Acknowledged writes and their publications survive `kill -9` right behind the answer.
async fn survives_kill9(database: Option<String>) {
    let redis = Redis::start().await;
    let mut settings = Settings::new().redis(&redis);
    if let Some(url) = &database {
        settings = settings.database(url);
    }
    let mut server = Fanfare::start(settings).await;
    // A second node only listens: what the first accepted must reach it, whoever relays it in the end.
    let witness = Fanfare::start(Settings::new().redis(&redis)).await;
    let mut stream = witness.ws("/ws/inventory").await;
    let heard = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
    let record = heard.clone();
    let listener = tokio::spawn(async move {
        loop {
            let message = crate::support::next_json(&mut stream).await;
            if message["message_type"] == "inventory_update" {
                *record.lock().await.entry(message["sku"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
    });
    let mut acknowledged = BTreeSet::new();
    for round in 0..8 {
        let url = format!("{}/api/v1/inventory", server.url());
        for i in 0..=round {
            let sku = format!("KILL-{round}-{i}");
            let new = json!({"sku": sku, "name": "x", "stock_quantity": 100});
            let answer = http().post(&url).json(&new).send().await.expect("an answer");
            assert_eq!(answer.status(), 201);
            acknowledged.insert(sku);
        }
        server.kill9();
        server.restart().await;
    }
    let all_heard = async || acknowledged.iter().all(|sku| futures_heard(&heard, sku)).then_some(());
    eventually("every publication", all_heard).await;
    let list: Value =
        http().get(format!("{}/api/v1/inventory?limit=1000", server.url())).send().await.unwrap().json().await.unwrap();
    let stored: BTreeSet<String> =
        list["items"].as_array().unwrap().iter().map(|item| item["sku"].as_str().unwrap().to_owned()).collect();
    assert_eq!(stored, acknowledged);
    listener.abort();
}

fn futures_heard(heard: &Mutex<BTreeMap<String, usize>>, sku: &str) -> bool {
    heard.try_lock().is_ok_and(|heard| heard.contains_key(sku))
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_behind_the_answer_loses_nothing_on_sqlite() {
    survives_kill9(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_behind_the_answer_loses_nothing_on_postgresql() {
    let database = Postgres::database().await;
    survives_kill9(Some(database.url)).await;
}

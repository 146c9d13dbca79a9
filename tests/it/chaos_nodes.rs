//! What dies or is cut off, with real processes: nobody misses a change untold, and what was acknowledged is there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::stream_model::client::{Client, Mode};
use crate::stream_recovery::ledger;
use crate::support::{Fanfare, Network, Postgres, Redis, Settings, WebSocket, eventually, http, next_json};

const CLIENTS: usize = 12;
/// How long after a failure its first sign may come: what the server promises, and time for a busy machine.
const TOLD_WITHIN: Duration = Duration::from_millis(2_000 + 1_500);

/// Who writes, to whichever node answers, and remembers what was acknowledged.
pub struct Writer {
    http: reqwest::Client,
    acknowledged: Vec<String>,
    pub tried: usize,
}

impl Writer {
    pub fn new() -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().expect("a client");
        Self { http, acknowledged: Vec::new(), tried: 0 }
    }

    /// One new item; whether it was acknowledged.
    pub async fn create(&mut self, server: &str, padding: usize) -> Result<(), String> {
        let sku = format!("SKU-{}", self.tried);
        let category = if self.tried.is_multiple_of(2) { "even" } else { "odd" };
        self.tried += 1;
        let body = json!({ "sku": sku, "name": "x", "description": "x".repeat(padding), "category": category,
            "stock_quantity": self.tried, "min_stock_level": 1 });
        let answer = self.http.post(format!("{server}/api/v1/inventory")).json(&body).send().await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status() == 201 {
            self.acknowledged.push(sku);
            return Ok(());
        }
        let status = answer.status();
        Err(format!("{status} {}", answer.text().await.unwrap_or_default()))
    }

    /// What the database says, which has everything that was acknowledged, once all of it has been told.
    pub async fn rows(&self, server: &str) -> BTreeMap<String, i64> {
        eventually("the outbox is empty", || async {
            let text = self.http.get(format!("{server}/metrics")).send().await.ok()?.text().await.ok()?;
            text.lines().any(|line| line == "fanfare_outbox_pending 0").then_some(())
        })
        .await;
        let answer = self.http.get(format!("{server}/api/v1/inventory?limit=1000")).send().await.expect("an answer");
        let page: Value = answer.json().await.expect("json");
        let rows: BTreeMap<String, i64> = page["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|item| {
                (item["sku"].as_str().expect("sku").to_owned(), item["stock_quantity"].as_i64().expect("stock"))
            })
            .collect();
        let lost: Vec<_> = self.acknowledged.iter().filter(|sku| !rows.contains_key(*sku)).collect();
        assert!(lost.is_empty(), "acknowledged, and gone: {lost:?}");
        rows
    }
}

/// Clients of all kinds at one address, which may change.
fn audience(address: &Arc<Mutex<String>>) -> Vec<Client> {
    let categories = [None, Some("even"), None, Some("odd")];
    let mode = |n: usize| Mode { category: categories[n % 4], paced: n % 6 == 5 };
    (0..CLIENTS).map(|n| Client::start(mode(n), address.clone())).collect()
}

/// Each comes to know the rows it wants, and none has found a hole that it was not told of.
async fn all_settle(clients: &[Client], rows: &BTreeMap<String, i64>) {
    for client in clients {
        let wanted = rows.iter().filter(|(sku, _)| client.mode.wants(sku));
        let wanted: BTreeMap<String, i64> = wanted.map(|(sku, stock)| (sku.clone(), *stock)).collect();
        if let Err(problem) = client.settles_at(&wanted).await {
            panic!("{:?}: {problem}", client.mode);
        }
    }
}

async fn told(client: &mut WebSocket, message_type: &str) {
    while next_json(client).await["message_type"] != message_type {}
}

async fn ready(server: &Fanfare) -> u16 {
    http().get(format!("{}/health/ready", server.url())).send().await.expect("an answer").status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_nodes_clients_go_on_at_another_and_its_writes_are_there() {
    let (redis, database) = (Redis::start().await, Postgres::database().await);
    let settings = Settings::new().redis(&redis).database(&database.url);
    let mut dying = Fanfare::start(settings.clone()).await;
    let other = Fanfare::start(settings).await;
    let address = Arc::new(Mutex::new(dying.address().to_owned()));
    let (clients, mut writer) = (audience(&address), Writer::new());
    for n in 0..200 {
        if n == 100 {
            // In the middle of a write, and with publications of its own that nobody has heard yet.
            let mut last = Writer::new();
            last.tried = 100_000;
            let url = dying.url();
            let writing = tokio::spawn(async move {
                while last.create(&url, 0).await.is_ok() {}
                last
            });
            tokio::time::sleep(Duration::from_millis(50)).await;
            dying.kill9();
            other.address().clone_into(&mut address.lock().expect("lock"));
            let last = writing.await.expect("it ends when nobody answers");
            assert!(!last.acknowledged.is_empty());
            writer.acknowledged.extend(last.acknowledged);
        }
        let server = if n % 2 == 0 && n < 100 { dying.url() } else { other.url() };
        writer.create(&server, 0).await.expect("acknowledged");
    }
    all_settle(&clients, &writer.rows(&other.url()).await).await;
    // Back again, it serves as before.
    dying.restart().await;
    dying.address().clone_into(&mut address.lock().expect("lock"));
    clients.iter().for_each(Client::cut);
    writer.create(&dying.url(), 0).await.expect("acknowledged");
    all_settle(&clients, &writer.rows(&dying.url()).await).await;
    ledger(&other).await;
    ledger(&dying).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_alone_that_is_killed_has_what_it_acknowledged() {
    let mut server = Fanfare::start(Settings::new()).await;
    let address = Arc::new(Mutex::new(server.address().to_owned()));
    let (clients, mut writer) = (audience(&address), Writer::new());
    for _ in 0..3 {
        let mut writing = Writer { tried: writer.tried + 1_000, ..Writer::new() };
        let url = server.url();
        let writing = tokio::spawn(async move {
            while writing.create(&url, 0).await.is_ok() {}
            writing
        });
        tokio::time::sleep(Duration::from_millis(150)).await;
        server.kill9();
        let done = writing.await.expect("it ends when nobody answers");
        writer.tried = done.tried;
        writer.acknowledged.extend(done.acknowledged);
        server.restart().await;
        all_settle(&clients, &writer.rows(&server.url()).await).await;
    }
    assert!(writer.acknowledged.len() > 10);
    ledger(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_says_so_and_misses_nothing() {
    let network = Network::new(2);
    let (redis, database) = (Redis::start_in(&network).await, Postgres::database().await);
    let settings = |link| {
        let url = format!("redis://{}:{}", network.host(link), redis.port());
        Settings::new().env("REDIS_URL", url).database(&database.url)
    };
    let (lonely, other) = (Fanfare::start(settings(0)).await, Fanfare::start(settings(1)).await);
    let address = Arc::new(Mutex::new(lonely.address().to_owned()));
    let (clients, mut writer) = (audience(&address), Writer::new());
    let mut witness = lonely.ws("/ws/inventory").await;
    for _ in 0..20 {
        writer.create(&lonely.url(), 0).await.expect("acknowledged");
    }
    all_settle(&clients, &writer.rows(&other.url()).await).await;

    // Cut twice: once for less than it takes to give a connection up, and once for longer.
    for silence in [Duration::from_secs(3), Duration::from_secs(9)] {
        network.cut(0);
        let cut = Instant::now();
        let writing = async {
            while cut.elapsed() < silence {
                writer.create(&other.url(), 0).await.expect("acknowledged");
                // A row that the lonely one takes is told by whoever can.
                writer.create(&lonely.url(), 0).await.expect("acknowledged");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let noticing = async {
            told(&mut witness, "stale").await;
            assert!(cut.elapsed() < TOLD_WITHIN, "told after {:?}", cut.elapsed());
            assert_eq!(ready(&lonely).await, 503);
            assert_eq!(ready(&other).await, 200, "the other one hears Redis as ever");
        };
        tokio::join!(writing, noticing);
        network.mend(0);
        told(&mut witness, "live").await;
        all_settle(&clients, &writer.rows(&lonely.url()).await).await;
        eventually("ready again", || async { (ready(&lonely).await == 200).then_some(()) }).await;
    }
    ledger(&lonely).await;
    ledger(&other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_dies_and_comes_back_empty_is_told_and_nothing_stays_wrong() {
    let (mut redis, database) = (Redis::start().await, Postgres::database().await);
    let settings = Settings::new().redis(&redis).database(&database.url);
    let nodes = [Fanfare::start(settings.clone()).await, Fanfare::start(settings).await];
    let address = Arc::new(Mutex::new(nodes[0].address().to_owned()));
    let (clients, mut writer) = (audience(&address), Writer::new());
    let mut witness = nodes[1].ws("/ws/inventory").await;
    for n in 0..20 {
        writer.create(&nodes[n % 2].url(), 0).await.expect("acknowledged");
    }
    redis.kill();
    let died = Instant::now();
    for n in 0..10 {
        writer.create(&nodes[n % 2].url(), 0).await.expect("rows need no Redis");
    }
    told(&mut witness, "stale").await;
    assert!(died.elapsed() < TOLD_WITHIN, "told after {:?}", died.elapsed());
    for node in &nodes {
        eventually("not ready", || async { (ready(node).await == 503).then_some(()) }).await;
    }
    redis.restart().await;
    told(&mut witness, "live").await;
    for n in 0..20 {
        writer.create(&nodes[n % 2].url(), 0).await.expect("acknowledged");
    }
    all_settle(&clients, &writer.rows(&nodes[0].url()).await).await;
    for node in &nodes {
        ledger(node).await;
    }
}

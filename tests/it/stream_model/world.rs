//! The server under test: the whole app in this process, on its own data, with or without a real Redis.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare::app::App;
use fanfare::config::{Loaded, Overrides};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::ITEMS;
use crate::support::{PATIENCE, Redis, eventually, http, temp_dir};

pub struct World {
    folder: TempDir,
    redis: Option<Redis>,
    http: reqwest::Client,
    /// Where the server of the moment listens.
    address: Arc<Mutex<String>>,
    server: Option<(CancellationToken, JoinHandle<()>)>,
    ids: Vec<Option<i64>>,
}

impl World {
    pub async fn start(redis: bool) -> Self {
        let redis = match redis {
            true => Some(Redis::start().await),
            false => None,
        };
        let (folder, address) = (temp_dir("model"), Arc::default());
        let mut world = Self { folder, redis, http: http(), address, server: None, ids: vec![None; ITEMS] };
        world.serve().await;
        world
    }

    pub fn address(&self) -> Arc<Mutex<String>> {
        self.address.clone()
    }

    async fn serve(&mut self) {
        let mut environment = vec![
            // Small bounds, so that they are met: little waits, and little is kept.
            ("FANFARE__STREAM__OUTBOX_BYTES", "300000".to_owned()),
            ("FANFARE__STREAM__SHARDS", "2".to_owned()),
            ("FANFARE__STREAM__HISTORY__MESSAGES", "60".to_owned()),
            ("FANFARE__STREAM__LINGER_MS", "200".to_owned()),
            ("FANFARE__REDIS__CANARY_INTERVAL_MS", "50".to_owned()),
        ];
        if let Some(redis) = &self.redis {
            environment.push(("REDIS_URL", redis.url()));
        }
        let environment: Vec<_> = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let build = async || {
            let listen = "127.0.0.1:0".parse().ok();
            let overrides = Overrides { listen, data_dir: Some(PathBuf::from(self.folder.path())) };
            let loaded = Loaded::read(None, environment.clone(), overrides).expect("settings");
            App::build(loaded.settings).await
        };
        // A machine that is busy with other things may need longer than a server waits for Redis when it starts.
        let app = match build().await {
            Ok(app) => app,
            Err(_) => build().await.expect("a server"),
        };
        let listener = fanfare::http::server::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        *self.address.lock().expect("lock") = listener.local_addr().expect("an address").to_string();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(app.serve(listener, stop.clone()));
        self.server = Some((stop, serving));
    }

    pub async fn restart(&mut self) {
        self.stop().await;
        self.serve().await;
    }

    async fn stop(&mut self) {
        if let Some((stop, serving)) = self.server.take() {
            stop.cancel();
            tokio::time::timeout(PATIENCE, serving).await.expect("the server ends in time").expect("and well");
        }
    }

    pub async fn end(mut self) {
        self.stop().await;
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address.lock().expect("lock"))
    }

    pub async fn write(&mut self, item: usize, delta: i64) {
        match self.ids[item] {
            Some(id) => {
                let url = self.url(&format!("/api/v1/inventory/{id}/adjust"));
                let answer = self.http.post(url).json(&json!({ "delta": delta })).send().await.expect("an answer");
                assert_eq!(answer.status(), 200);
            }
            None => {
                // Its category never changes, so that no item leaves a filter.
                let category = if item.is_multiple_of(2) { "even" } else { "odd" };
                let body = json!({ "sku": format!("SKU-{item}"), "name": "x", "category": category,
                    "stock_quantity": 50 + delta, "min_stock_level": 1 });
                let answer = self.http.post(self.url("/api/v1/inventory")).json(&body).send().await.expect("an answer");
                assert_eq!(answer.status(), 201);
                self.ids[item] = answer.json::<Value>().await.expect("json")["id"].as_i64();
            }
        }
    }

    pub async fn delete(&mut self, item: usize) {
        if let Some(id) = self.ids[item].take() {
            let answer = self.http.delete(self.url(&format!("/api/v1/inventory/{id}"))).send().await;
            assert_eq!(answer.expect("an answer").status(), 204);
        }
    }

    pub async fn flood(&self) {
        let padding = "x".repeat(60_000);
        for _ in 0..60 {
            let data = json!({ "message_type": "padding", "padding": padding });
            let body = json!({ "channel": "inventory:updates", "data": data });
            // Refused while Redis is frozen: nobody has been promised anything then.
            let _ = self.http.post(self.url("/api/publish")).json(&body).send().await;
        }
    }

    pub async fn cut_redis(&self) {
        if let Some(redis) = &self.redis {
            redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        }
    }

    pub async fn freeze_redis(&self) {
        if let Some(redis) = &self.redis {
            redis.stop_signal();
            tokio::time::sleep(Duration::from_millis(200)).await;
            redis.continue_signal();
        }
    }

    pub async fn empty_redis(&self) {
        if let Some(redis) = &self.redis {
            redis.command(&["FLUSHALL"]).await;
        }
    }

    /// What the database says, once the outbox is empty: everything acknowledged has been published by then.
    pub async fn rows(&self) -> BTreeMap<String, i64> {
        eventually("the outbox is empty", || async {
            let text = self.http.get(self.url("/metrics")).send().await.ok()?.text().await.ok()?;
            text.lines().any(|line| line == "fanfare_outbox_pending 0").then_some(())
        })
        .await;
        let answer = self.http.get(self.url("/api/v1/inventory?limit=100")).send().await.expect("an answer");
        let page: Value = answer.json().await.expect("json");
        let items = page["items"].as_array().expect("items").iter();
        items
            .map(|item| {
                (item["sku"].as_str().expect("sku").to_owned(), item["stock_quantity"].as_i64().expect("stock"))
            })
            .collect()
    }

    /// Whether every publication is accounted for, and nothing waits any more.
    pub async fn books_balance(&self) -> Result<(), String> {
        let mut books = Value::Null;
        // What was flooded behind the last row may take a client with little room a while.
        let until = tokio::time::Instant::now() + 2 * PATIENCE;
        while tokio::time::Instant::now() < until {
            let answer = self.http.get(self.url("/api/v1/ledger")).send().await.map_err(|error| error.to_string())?;
            books = answer.json().await.map_err(|error| error.to_string())?;
            if books["balanced"] != true {
                return Err(format!("the books do not balance: {books}"));
            }
            let channels = books["channels"].as_object().ok_or("channels")?;
            if channels.values().all(|account| account["pending"] == 0) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(format!("something waits for ever: {books}"))
    }
}

//! The app as a value: `build` makes every part once, `serve` runs them and ends them in order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin, Probe};
use crate::alerts::Alerts;
use crate::auth::Gate;
use crate::clock::Clock;
use crate::config::{InfluxDb, Settings};
use crate::db::{Db, DbMetrics};
use crate::feeds::inventory::Inventory;
use crate::feeds::price::Prices;
use crate::feeds::{self, Figures, Outbox, Relay, Rows, Source};
use crate::http::{layers, server};
use crate::queue::Queue;
use crate::routes::{self, Parts};
use crate::session::{Sessions, Snapshots};
use crate::stream::{
    Broker, Channel, FeedSpec, Hub, Memory, Node, PresenceMetrics, Redis, SharedSink, SnapshotSource, StreamMetrics,
};
use crate::tasks::Tasks;
use crate::telemetry::Registry;
use crate::wire::Close;

/// Every part, made and connected, none of them serving yet.
pub struct App {
    settings: Settings,
    router: axum::Router,
    node: Node,
    db: Db,
    server_metrics: server::ServerMetrics,
    /// Ends after the last request and before the streams.
    relay: Tasks,
    /// Ends after the streams.
    tasks: Tasks,
}

impl App {
    /// Fails, with one line, when something that was configured cannot be reached.
    pub async fn build(settings: Settings) -> anyhow::Result<Self> {
        let (clock, tasks) = (Clock::system(), Tasks::new());
        let mut registry = admin::registry();
        let metrics = registry.sub_registry_with_prefix(admin::PREFIX);
        let hub =
            Hub::start(settings.stream.clone(), StreamMetrics::register(metrics)).context("starting the shards")?;
        let db = open_database(&settings, metrics).await?;
        let broker = broker(&settings, hub.clone()).await?;
        let node = Node::start(hub, broker, &tasks);
        node.start_presence(clock.clone(), PresenceMetrics::register(metrics), &tasks);
        let queue = queue(&settings, &db, &clock, metrics, &tasks)?;
        let outbox = Outbox::new(queue);
        let inventory = Inventory::new(db.clone(), outbox.clone(), clock.clone(), metrics);
        let prices = Prices::new(db.clone(), outbox.clone(), clock.clone(), settings.price.clone());
        let relay = Relay::new(db.clone(), node.clone(), outbox.clone(), metrics);
        let relaying = Tasks::new();
        relaying.spawn("outbox relay", relay.run(relaying.stop()));
        tasks.spawn("figures", Figures::new(db.clone(), metrics).run(tasks.stop()));
        let gate = Gate::new(&settings.auth, clock, metrics)?;
        let origins = settings.edge.allowed_origins.clone();
        let snapshots = snapshots(&db, &node, &outbox, &inventory, &prices)?;
        let sessions = Sessions::new(node.clone(), gate.clone(), origins, settings.limits.clone(), snapshots, metrics);
        let server_metrics = server::ServerMetrics::register(metrics);
        let http_metrics = layers::HttpMetrics::register(metrics);
        let probes = probes(&settings, &node, &db)?;
        let system_info = system_info(&node, &db);
        let admin = Admin::new(Arc::new(registry), node.clone(), probes, system_info);
        let router = routes::router(Parts { gate, sessions, admin, inventory, prices });
        let router = layers::apply(router, &settings.edge, http_metrics);
        Ok(Self { settings, router, node, db, server_metrics, relay: relaying, tasks })
    }

    /// Serves until `stop`; then, under one deadline: finishes requests, relays what they wrote, tells every stream to
    /// reconnect and flushes it, ends the workers.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        server::serve(listener, self.router, self.settings.http, self.server_metrics, stop).await;
        let deadline = Instant::now() + Duration::from_millis(self.settings.server.drain_timeout_ms);
        let left = || deadline.saturating_duration_since(Instant::now());
        let hub = self.node.hub();
        // Before the streams end: what was acknowledged is to reach them.
        log_aborted(self.relay.drain(left() / 2).await);
        tracing::info!(connections = hub.connections(), "stopping: streams are told to reconnect");
        hub.drain(Close::Restart, left()).await;
        log_aborted(self.tasks.drain(left()).await);
        self.node.broker().stop().await;
        self.db.close().await;
        tracing::info!("stopped");
    }
}

/// The rows behind the feeds that have some.
fn snapshots(
    db: &Db,
    node: &Node,
    outbox: &Outbox,
    inventory: &Inventory,
    prices: &Prices,
) -> anyhow::Result<Snapshots> {
    fn source<R: Rows + 'static>(
        feed: &FeedSpec,
        (db, node, outbox): (&Db, &Node, &Outbox),
        rows: R,
    ) -> anyhow::Result<(&'static str, Arc<dyn SnapshotSource>)> {
        let channels = feed.channels.iter().map(|name| Channel::new(name)).collect::<Result<_, _>>()?;
        let (db, node, outbox) = (db.clone(), node.clone(), outbox.clone());
        Ok((feed.name, Arc::new(Source { db, node, outbox, channels, rows })))
    }
    let parts = (db, node, outbox);
    Ok(Snapshots::from([
        source(&feeds::INVENTORY, parts, inventory.clone())?,
        source(&feeds::PRICE, parts, prices.clone())?,
    ]))
}

fn log_aborted(tasks: Vec<&'static str>) {
    for task in tasks {
        tracing::warn!(task, "a task did not end in time");
    }
}

async fn broker(settings: &Settings, hub: Hub) -> anyhow::Result<Arc<dyn Broker>> {
    let sink: SharedSink = Arc::new(hub);
    let history = settings.stream.history.clone();
    Ok(match &settings.redis.url {
        Some(url) => {
            let redis = Redis::connect(url.expose(), settings.redis.options(), history, sink).await;
            Arc::new(redis.context("Redis (REDIS_URL) cannot be used")?)
        }
        None => Arc::new(Memory::new(settings.memory.clone(), history, sink)),
    })
}

/// The durable queue with its workers running in `tasks`.
fn queue(settings: &Settings, db: &Db, clock: &Clock, registry: &mut Registry, tasks: &Tasks) -> anyhow::Result<Queue> {
    let queue = Queue::new(db.clone(), clock.clone(), settings.queue.clone(), registry);
    Alerts::new(db.clone(), clock.clone(), &settings.alerts, &settings.smtp, registry)?.spawn(&queue, tasks);
    Ok(queue)
}

/// Runs the queue's workers alone until `stop`.
pub async fn work(settings: Settings, stop: CancellationToken) -> anyhow::Result<()> {
    let (clock, tasks, mut registry) = (Clock::system(), Tasks::new(), admin::registry());
    let metrics = registry.sub_registry_with_prefix(admin::PREFIX);
    let db = open_database(&settings, metrics).await?;
    queue(&settings, &db, &clock, metrics, &tasks)?;
    tracing::info!("working");
    stop.cancelled().await;
    log_aborted(tasks.drain(Duration::from_millis(settings.server.drain_timeout_ms)).await);
    db.close().await;
    Ok(())
}

/// Opens the database and brings its tables up to date.
pub async fn open_database(settings: &Settings, registry: &mut Registry) -> anyhow::Result<Db> {
    let metrics = DbMetrics::register(registry);
    let db = Db::open(&settings.database_url(), &settings.database.options(), metrics).await;
    let db = db.context("the database (DATABASE_URL) cannot be used")?;
    db.migrate().await.context("the database's tables cannot be brought up to date")?;
    Ok(db)
}

fn probes(settings: &Settings, node: &Node, db: &Db) -> anyhow::Result<Vec<Probe>> {
    let (broker, db) = (node.broker().clone(), db.clone());
    let stale_after = Duration::from_millis(settings.redis.stale_after_ms);
    let mut probes = vec![Probe::mandatory("broker", move || {
        let broker = broker.clone();
        async move {
            // A connection that answers is not enough: what is published must come back too.
            let silent = broker.silent_for();
            if silent > stale_after {
                return Err(format!("{}: nothing has come back for {} ms", broker.name(), silent.as_millis()));
            }
            broker.ping().await.map(|()| broker.name().to_owned()).map_err(|error| error.to_string())
        }
    })];
    probes.push(Probe::mandatory("database", move || {
        let db = db.clone();
        async move { db.ping().await.map(|()| db.engine().to_owned()).map_err(|_| "does not answer".to_owned()) }
    }));
    if let InfluxDb { url: Some(url), .. } = &settings.influxdb {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build()?;
        let ping = format!("{}/ping", url.trim_end_matches('/'));
        probes.push(Probe::optional("influxdb", move || {
            let request = client.get(&ping);
            async move {
                let answer = request.send().await.and_then(reqwest::Response::error_for_status);
                answer.map(|_| "reachable".to_owned()).map_err(|error| error.without_url().to_string())
            }
        }));
    }
    Ok(probes)
}

fn system_info(node: &Node, db: &Db) -> admin::SystemInfo {
    let (node, db) = (node.clone(), db.clone());
    Box::new(move || {
        serde_json::json!({
            "database": { "engine": db.engine(), "pool": db.pool_figures() },
            "broker": node.broker().name(),
            "connections": node.hub().connections(),
            "shards": node.hub().shards(),
        })
    })
}

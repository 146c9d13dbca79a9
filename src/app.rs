//! The app as a value: `build` makes every part once, `serve` runs them and ends them in order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin, Probe};
use crate::alerts::{Alerts, Letter, Mailer};
use crate::auth::Gate;
use crate::clock::Clock;
use crate::config::{InfluxDb, Settings};
use crate::db::{Db, DbMetrics};
use crate::feeds::inventory::Inventory;
use crate::feeds::matching::{Matching, Parcel, Postman};
use crate::feeds::price::Prices;
use crate::feeds::{Figures, Outbox, Relay};
use crate::http::{layers, server};
use crate::queue::{Outcome, Queue};
use crate::routes::{self, Parts};
use crate::session::Sessions;
use crate::stream::{Broker, Hub, Memory, Node, Redis, SharedSink, StreamMetrics};
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
        let queue = queue(&settings, &db, &clock, metrics, &tasks)?;
        let outbox = Outbox::new(queue.clone());
        let matching = matching(&settings, &db, &outbox, &clock)?;
        matching.spawn(&queue, &tasks);
        let inventory = Inventory::new(db.clone(), outbox.clone(), clock.clone(), metrics);
        let prices = Prices::new(db.clone(), outbox.clone(), clock.clone(), settings.price.clone());
        let relay = Relay::new(db.clone(), node.clone(), outbox, metrics);
        let relaying = Tasks::new();
        relaying.spawn("outbox relay", relay.run(relaying.stop()));
        tasks.spawn("figures", Figures::new(db.clone(), metrics).run(tasks.stop()));
        let gate = Gate::new(&settings.auth, clock, metrics)?;
        let origins = settings.edge.allowed_origins.clone();
        let sessions = Sessions::new(node.clone(), gate.clone(), origins, settings.limits.clone(), metrics);
        let server_metrics = server::ServerMetrics::register(metrics);
        let http_metrics = layers::HttpMetrics::register(metrics);
        let probes = probes(&settings, &node, &db)?;
        let system_info = system_info(&node, &db);
        let admin = Admin::new(Arc::new(registry), node.clone(), probes, system_info);
        let router = routes::router(Parts { gate, sessions, admin, inventory, prices, matching });
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

fn log_aborted(tasks: Vec<&'static str>) {
    for task in tasks {
        tracing::warn!(task, "a task did not end in time");
    }
}

async fn broker(settings: &Settings, hub: Hub) -> anyhow::Result<Arc<dyn Broker>> {
    let sink: SharedSink = Arc::new(hub);
    Ok(match &settings.redis.url {
        Some(url) => {
            let redis = Redis::connect(url.expose(), settings.redis.options(), sink).await;
            Arc::new(redis.context("Redis (REDIS_URL) cannot be used")?)
        }
        None => Arc::new(Memory::new(settings.memory.clone(), sink)),
    })
}

/// The durable queue with its workers running in `tasks`.
fn queue(settings: &Settings, db: &Db, clock: &Clock, registry: &mut Registry, tasks: &Tasks) -> anyhow::Result<Queue> {
    let queue = Queue::new(db.clone(), clock.clone(), settings.queue.clone(), registry);
    Alerts::new(db.clone(), clock.clone(), &settings.alerts, &settings.smtp, registry)?.spawn(&queue, tasks);
    Ok(queue)
}

fn matching(settings: &Settings, db: &Db, outbox: &Outbox, clock: &Clock) -> anyhow::Result<Matching> {
    settings.matching.check()?;
    let post = Box::new(PostOffice(Mailer::new(&settings.smtp)?));
    Ok(Matching::new(db.clone(), outbox.clone(), clock.clone(), settings.matching.clone(), post))
}

/// The mails of job matching go out the way of alerts.
struct PostOffice(Option<Mailer>);

#[async_trait::async_trait]
impl Postman for PostOffice {
    async fn deliver(&self, parcel: Parcel<'_>) -> Outcome {
        let Some(mailer) = &self.0 else { return Outcome::Retry("no mail server is configured (SMTP_HOST)".into()) };
        let letter = Letter {
            delivery_id: &parcel.delivery_id,
            to: parcel.to,
            subject: parcel.letter.subject,
            text: parcel.letter.text,
            html: parcel.letter.html,
            unsubscribe_url: &parcel.unsubscribe_url,
            at: parcel.at,
        };
        mailer.post(letter).await
    }
}

/// Runs the queue's workers alone until `stop`.
pub async fn work(settings: Settings, stop: CancellationToken) -> anyhow::Result<()> {
    let (clock, tasks, mut registry) = (Clock::system(), Tasks::new(), admin::registry());
    let metrics = registry.sub_registry_with_prefix(admin::PREFIX);
    let db = open_database(&settings, metrics).await?;
    let queue = queue(&settings, &db, &clock, metrics, &tasks)?;
    matching(&settings, &db, &Outbox::new(queue.clone()), &clock)?.spawn(&queue, &tasks);
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
    let mut probes = vec![Probe::mandatory("broker", move || {
        let broker = broker.clone();
        async move { broker.ping().await.map(|()| broker.name().to_owned()).map_err(|error| error.to_string()) }
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

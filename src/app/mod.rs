//! The app as a value: `build` makes every part once, `serve` runs them and ends them in order.

mod past; // the time series
mod workers; // learning events and job matching

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::past::Past;
use self::workers::{apply_events, journal, matching, progress};
use crate::admin::server_api::ServerApi;
use crate::admin::{self, Admin, Probe};
use crate::alerts::Alerts;
use crate::auth::{Accounts, Gate, Notice, Secret};
use crate::clock::Clock;
use crate::config::Settings;
use crate::contract;
use crate::db::{Db, DbMetrics};
use crate::feeds::history::OwnFigures;
use crate::feeds::inventory::Inventory;
use crate::feeds::price::Prices;
use crate::feeds::{self, Figures, Kept, Outbox, RecordReader, Recorder, Relay, Rows, Source};
use crate::http::Cache;
use crate::http::limits::Limits;
use crate::http::tls::Tls;
use crate::http::{layers, server};
use crate::queue::Queue;
use crate::routes::{self, Parts};
use crate::series::Series;
use crate::session::centrifuge::Channels;
use crate::session::{Replays, Sessions, Snapshots};
use crate::stream::{
    Broker, Channel, FeedSpec, Hub, HubOptions, Memory, Node, PresenceMetrics, Redis, SharedSink, SnapshotSource,
    StreamMetrics, Tags,
};
use crate::tasks::Tasks;
use crate::telemetry::{self, Disk, Registry, name};
use crate::wire::Close;

/// Where nodes tell each other of revocations.
const REVOCATIONS: &str = "system:revocations";

/// Between two looks at the services, for the figures.
const SERVICES_EVERY: Duration = Duration::from_secs(10);

/// Every part, made and connected, none of them serving yet.
pub struct App {
    settings: Settings,
    router: axum::Router,
    node: Node,
    db: Db,
    server_metrics: server::ServerMetrics,
    tls: Option<Tls>,
    /// Ends after the last request and before the streams.
    relay: Tasks,
    /// Ends after the streams.
    tasks: Tasks,
    /// Ends when nobody writes points any more.
    past: Past,
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
        let outbox = Outbox::new(queue.clone());
        let past = Past::open(&settings, &db, &clock, metrics).await?;
        let writer = past.writer.clone();
        let journal = journal(&settings, &queue, true).await?;
        let progress = progress(&settings, &db, &clock, journal.clone(), metrics, &tasks);
        if settings.progress.worker {
            apply_events(&settings, &db, &clock, &queue, &outbox, &writer, journal, metrics, &tasks);
        }
        let inventory = Inventory::new(db.clone(), outbox.clone(), clock.clone(), writer.clone(), metrics);
        let price_options = settings.price.clone();
        let prices = Prices::new(db.clone(), outbox.clone(), clock.clone(), writer.clone(), price_options);
        let history = past.history(&clock);
        if settings.series.own_figures_s > 0 {
            let own = OwnFigures::new(node.clone(), writer, clock.clone(), own_name(&settings));
            let every = Duration::from_secs(settings.series.own_figures_s);
            tasks.spawn("own figures", own.run(every, tasks.stop()));
        }
        let recorder = Recorder::new(db.clone(), clock.clone(), settings.record.clone());
        let replays = recorder.as_ref().map(|_| {
            let record = RecordReader { db: db.clone(), node: node.clone(), outbox: outbox.clone() };
            Replays::new(Arc::new(record), clock.clone(), tasks.stop(), metrics)
        });
        if let Some(recorder) = &recorder {
            tasks.spawn("record", recorder.clone().tend(tasks.stop()));
        }
        let relay = Relay::new(db.clone(), node.clone(), outbox.clone(), metrics).recording(recorder);
        let matching = matching(&settings, &db, &outbox, &clock)?;
        matching.spawn(&queue, &tasks);
        let relaying = Tasks::new();
        relaying.spawn("outbox relay", relay.run(relaying.stop()));
        tasks.spawn("changes", db.clone().tend_changes(tasks.stop()));
        tasks.spawn("figures", Figures::new(db.clone(), metrics).run(tasks.stop()));
        let gate = Gate::new(&settings.auth, clock.clone(), metrics)?;
        gate.load_key_set().await?;
        tasks.spawn("token keys", gate.clone().keep_key_set_fresh(tasks.stop()));
        let notice = revocation_notice(&node);
        let accounts = Accounts::new(db.clone(), gate.clone(), clock, settings.auth.clone(), notice);
        accounts.load_revocations().await.context("reading the revoked tokens")?;
        tasks.spawn("revocations", accounts.clone().watch(tasks.stop()));
        let redis_url = settings.redis.url.as_ref().map(Secret::expose);
        let limits = Limits::new(&settings.rate, redis_url, metrics).await;
        let limits = limits.map_err(|error| anyhow::anyhow!("Redis (REDIS_URL) cannot be used: {error}"))?;
        tasks.spawn("rate limits", limits.clone().sweep(tasks.stop()));
        let cache = Cache::new(&settings.cache, redis_url, metrics).await;
        let cache = cache.map_err(|error| anyhow::anyhow!("Redis (REDIS_URL) cannot be used: {error}"))?;
        let kept = Kept { cache, db: db.clone() };
        let origins = settings.edge.allowed_origins.clone();
        let snapshots = snapshots(&db, &node, &outbox, &inventory, &prices)?;
        let sessions =
            Sessions::new(node.clone(), gate.clone(), origins.clone(), settings.limits.clone(), snapshots, metrics)
                .with_replays(replays);
        tasks.spawn("rights", sessions.watch(tasks.stop()));
        let channels = Channels::new(
            sessions.clone(),
            settings.centrifuge.clone(),
            settings.channel.clone(),
            settings.namespaces.clone(),
            feeds::ALL.iter().map(|(_, feed)| *feed).collect(),
            Clock::system(),
            metrics,
        );
        channels.named(own_name(&settings));
        tasks.spawn("orders to sessions", channels.clone().carry_out(tasks.stop()));
        let server_metrics = server::ServerMetrics::register(metrics);
        let tls = tls(&settings, metrics, &tasks)?;
        on_hang_up(tls.as_ref(), &tasks)?;
        let up = Family::default();
        metrics.register(name::SERVICE_UP, "1 while a service that this server needs answers", up.clone());
        metrics.register_collector(Box::new(Disk(settings.server.data_dir.clone())));
        telemetry::register_dropped(metrics);
        let http_metrics = layers::HttpMetrics::register(metrics);
        let probes = probes(&settings, &node, &db, &past.store);
        let system_info = system_info(&node, &db);
        let check = contract::Check::new(&settings.contract).map_err(anyhow::Error::msg).context("the contract")?;
        let check = Arc::new(check);
        let same = check.clone();
        channels.checking(Box::new(move |channel, data| same.check(channel, data).is_ok()));
        let check = move |channel: &str, data: &[u8]| check.check(channel, data).map_err(contract::problem);
        let admin = Admin::new(Arc::new(registry), node.clone(), probes, system_info).checking(Arc::new(check));
        tasks.spawn("services", watch_services(admin.clone(), up, tasks.stop()));
        let parts = Parts {
            gate,
            origins,
            limits,
            accounts,
            sessions,
            server_api: ServerApi::new(channels.clone()),
            channels,
            admin,
            kept,
            inventory,
            prices,
            progress,
            matching,
            queue,
            history,
        };
        let router = routes::router(parts);
        let router = layers::apply(router, &settings.edge, http_metrics);
        let router = if tls.is_some() { layers::over_tls(router) } else { router };
        Ok(Self { settings, router, node, db, server_metrics, tls, relay: relaying, tasks, past })
    }

    pub fn hub(&self) -> Hub {
        self.node.hub().clone()
    }

    /// Serves until `stop`; then, under one deadline: finishes requests, relays what they wrote, tells every stream to
    /// reconnect and flushes it, ends the workers.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let tls = self.tls.clone();
        let http = server::serve(listener, self.router, self.settings.http, self.server_metrics, tls, stop).await;
        let deadline = Instant::now() + Duration::from_millis(self.settings.server.drain_timeout_ms);
        let left = || deadline.saturating_duration_since(Instant::now());
        let hub = self.node.hub();
        // Before the streams end: what was acknowledged is to reach them.
        log_aborted(self.relay.drain(left() / 2).await);
        tracing::info!(connections = hub.connections(), "stopping: streams are told to reconnect");
        hub.drain(Close::Restart, left()).await;
        // Streams within HTTP answers have their last word in hand, and now write it.
        let _ = tokio::time::timeout(left(), http.wait()).await;
        if let Some(tls) = self.tls {
            // What the streams were told last is on its way through the relays.
            tls.drain(left()).await;
        }
        log_aborted(self.tasks.drain(left()).await);
        self.past.close(left()).await;
        self.node.broker().stop().await;
        self.db.close().await;
        tracing::info!("stopped");
    }
}

/// TLS where it is set, with its certificate kept fresh in `tasks`.
fn tls(settings: &Settings, registry: &mut Registry, tasks: &Tasks) -> anyhow::Result<Option<Tls>> {
    let (Some(cert), Some(key)) = (&settings.server.tls_cert, &settings.server.tls_key) else { return Ok(None) };
    let tls = Tls::open(cert, key, registry).context("TLS (server.tls_cert, server.tls_key) cannot be used")?;
    tasks.spawn("TLS certificate", tls.clone().keep_fresh(tasks.stop()));
    Ok(Some(tls))
}

/// What SIGHUP asks for: a certificate that was renewed, an audit file that was moved away.
fn on_hang_up(tls: Option<&Tls>, tasks: &Tasks) -> anyhow::Result<()> {
    let (mut hang_up, look, stop) = (signal(SignalKind::hangup())?, tls.map(Tls::look), tasks.stop());
    tasks.spawn("SIGHUP", async move {
        while let Some(Some(())) = stop.run_until_cancelled(hang_up.recv()).await {
            telemetry::reopen_audit();
            if let Some(look) = &look {
                look.notify_one();
            }
        }
    });
    Ok(())
}

/// Asks the services as `/health/ready` does, and keeps what they answered as figures.
async fn watch_services(admin: Admin, up: Family<[(&'static str, String); 1], Gauge>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(SERVICES_EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        for (service, is_up) in admin.check().await.services_up() {
            up.get_or_create(&[("service", service.to_owned())]).set(is_up.into());
        }
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

/// Tells the other nodes that there is a revocation to read. Only its number: whoever listens learns no name, and whoever
/// forges it causes one look at the database. Lost on its way, it is found by the next look without it.
fn revocation_notice(node: &Node) -> Notice {
    let node = node.clone();
    Arc::new(move |number| {
        let node = node.clone();
        tokio::spawn(async move {
            let Ok(channel) = Channel::new(REVOCATIONS) else { return };
            let data = format!("{{\"revocation_id\":{number}}}").into();
            if let Err(error) = node.publish(&channel, data, Tags::new()).await {
                tracing::warn!(%error, "the other nodes were not told of a revocation");
            }
        });
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
    // Whoever works on a queue writes points, too.
    let past = Past::open(&settings, &db, &clock, metrics).await?;
    let queue = queue(&settings, &db, &clock, metrics, &tasks)?;
    let outbox = Outbox::new(queue.clone());
    let journal = journal(&settings, &queue, false).await?;
    if settings.redis.url.is_some() {
        // Publishes by itself what it stages; with a broker within the server, that one finds it at its next look.
        let hub = Hub::start(HubOptions { shards: 1, ..settings.stream.clone() }, StreamMetrics::register(metrics));
        let hub = hub.context("starting the shards")?;
        let node = Node::start(hub.clone(), broker(&settings, hub).await?, &tasks);
        let recorder = Recorder::new(db.clone(), clock.clone(), settings.record.clone());
        let relay = Relay::new(db.clone(), node, outbox.clone(), metrics).recording(recorder);
        tasks.spawn("outbox relay", relay.run(tasks.stop()));
    }
    apply_events(&settings, &db, &clock, &queue, &outbox, &past.writer, journal, metrics, &tasks);
    matching(&settings, &db, &outbox, &clock)?.spawn(&queue, &tasks);
    tracing::info!("working");
    stop.cancelled().await;
    let deadline = Instant::now() + Duration::from_millis(settings.server.drain_timeout_ms);
    log_aborted(tasks.drain(deadline.saturating_duration_since(Instant::now())).await);
    past.close(deadline.saturating_duration_since(Instant::now())).await;
    db.close().await;
    Ok(())
}

/// What this server is called among others that write to the same store.
fn own_name(settings: &Settings) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "localhost".into());
    format!("{}:{}", host.trim(), settings.server.listen.port())
}

/// Opens the database and brings its tables up to date.
pub async fn open_database(settings: &Settings, registry: &mut Registry) -> anyhow::Result<Db> {
    let metrics = DbMetrics::register(registry);
    let db = Db::open(&settings.database_url(), &settings.database.options(), metrics).await;
    let db = db.context("the database (DATABASE_URL) cannot be used")?;
    db.migrate().await.context("the database's tables cannot be brought up to date")?;
    Ok(db)
}

fn probes(settings: &Settings, node: &Node, db: &Db, store: &Arc<dyn Series>) -> Vec<Probe> {
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
    if settings.influxdb.url.is_some() {
        let store = store.clone();
        probes.push(Probe::optional("influxdb", move || {
            let store = store.clone();
            async move { store.ping().await.map(|()| "reachable".to_owned()) }
        }));
    }
    probes
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

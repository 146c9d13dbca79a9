//! Log format and metric names. Parts register their own metrics; every name stands here.

mod audit; // the file of security events
mod disk;
mod errors; // reports for a Sentry-compatible receiver
mod export; // sends traces and reports
mod histogram;
mod options;
pub mod trace;

use std::path::Path;
use std::sync::{LazyLock, OnceLock};
use std::time::SystemTime;

use anyhow::Context;
use prometheus_client::metrics::counter::Counter;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use self::audit::AuditFile;
use self::errors::{Receiver, Reports};
use self::export::Exports;

pub use disk::Disk;
pub use export::flush;
pub use histogram::Histogram;
pub use options::{TelemetryError, TelemetryOptions};
pub use prometheus_client::registry::Registry;

/// Metric names, without the `fanfare_` prefix and without the `_total` that the encoder adds to counters.
pub mod name {
    pub const BUILD_INFO: &str = "build";

    // the process and what it stands on
    pub const DATA_FREE: &str = "data_free";
    pub const DATA_SIZE: &str = "data_size";
    pub const SERVICE_UP: &str = "service_up";
    pub const SIGNALS_DROPPED: &str = "signals_dropped";

    // kept answers
    pub const CACHE_BYTES: &str = "cache_bytes";
    pub const CACHE_EVICTED: &str = "cache_evicted";
    pub const CACHE_REQUESTS: &str = "cache_requests";

    // stream
    pub const CONNECTIONS: &str = "websocket_connections";
    pub const CONNECTIONS_OPENED: &str = "websocket_connections_opened";
    pub const CONNECTIONS_CLOSED: &str = "websocket_connections_closed";
    pub const UPGRADES_REJECTED: &str = "websocket_upgrades_rejected";
    pub const PUBLICATIONS: &str = "publications";
    pub const PUBLICATIONS_UNHEARD: &str = "publications_unheard";
    pub const PUBLICATIONS_INVALID: &str = "publications_invalid";
    pub const DELIVERIES: &str = "deliveries";
    pub const DELIVERIES_FILTERED: &str = "deliveries_filtered";
    pub const DELIVERIES_CONFLATED: &str = "deliveries_conflated";
    pub const LEDGER: &str = "ledger_publications";
    pub const LEDGER_PENDING: &str = "ledger_pending";
    pub const RECOVERED: &str = "publications_recovered";
    pub const DELIVERIES_DROPPED: &str = "deliveries_dropped";
    pub const BYTES_OUT: &str = "websocket_sent_bytes";
    pub const WRITES: &str = "websocket_writes";
    pub const MESSAGES_IN: &str = "websocket_messages_received";
    pub const TURNS: &str = "shard_turns";
    pub const FRAMES_PER_WRITE: &str = "websocket_frames_per_write";
    pub const DELIVERY_LATENCY: &str = "delivery_latency_seconds";
    pub const CONNECTIONS_WAITING: &str = "websocket_connections_pending";
    pub const OUTBOX_BYTES: &str = "websocket_pending_bytes";
    pub const INBOX_FULL: &str = "shard_inbox_full";
    pub const LISTENERS_BEHIND: &str = "listeners_behind";
    pub const ENCODINGS: &str = "publication_encodings";
    pub const BROKER_CONNECTED: &str = "broker_connected";
    pub const BROKER_GAPS: &str = "broker_gaps";
    pub const REPLAYS: &str = "replays";
    pub const REPLAYED: &str = "replayed_messages";
    pub const PRESENCE_CHANGES: &str = "presence_changes";
    pub const PRESENCE_FAILURES: &str = "presence_failures";
    pub const PRESENCE_RESYNCS: &str = "presence_resyncs";
    pub const POLL_REQUESTS: &str = "shared_poll_requests";
    pub const POLL_ITEMS: &str = "shared_poll_items";
    pub const POLL_DELIVERIES: &str = "shared_poll_deliveries";

    // http
    pub const HTTP_REQUESTS: &str = "http_requests";
    pub const HTTP_REQUEST_DURATION: &str = "http_request_duration_seconds";
    pub const HTTP_PANICS: &str = "http_panics";
    pub const HTTP_CONNECTIONS: &str = "http_connections";
    pub const HTTP_CONNECTIONS_ACCEPTED: &str = "http_connections_accepted";
    pub const HTTP_ACCEPT_ERRORS: &str = "http_accept_errors";
    pub const HTTP_ACCEPT_WAITS: &str = "http_accept_waits";
    pub const TLS_HANDSHAKES: &str = "tls_handshakes";
    pub const TLS_RELOADS: &str = "tls_certificate_reloads";

    // auth
    pub const AUTH_FAILURES: &str = "auth_failures";
    pub const AUTH_KEY_SETS: &str = "auth_key_set_looks";
    pub const RATE_LIMITED: &str = "rate_limited";
    pub const RATE_LIMIT_KEYS: &str = "rate_limit_keys";
    pub const RATE_LIMIT_FALLBACKS: &str = "rate_limit_fallbacks";

    // rows, outbox, queue, alerts
    pub const DB_QUERY_DURATION: &str = "db_query_duration_seconds";
    pub const DB_SLOW: &str = "db_slow_statements";
    pub const DB_REPLICA_READS: &str = "db_replica_reads";
    pub const DB_CONNECTIONS: &str = "db_connections";
    pub const OUTBOX_RELAYED: &str = "outbox_relayed";
    pub const OUTBOX_REFUSED: &str = "outbox_refused";
    pub const OUTBOX_PENDING: &str = "outbox_pending";
    pub const QUEUE_FINISHED: &str = "queue_items_finished";
    pub const QUEUE_PENDING: &str = "queue_items_pending";
    pub const JOURNAL_REFUSED: &str = "journal_entries_refused";
    pub const LOW_STOCK_ALERTS: &str = "low_stock_alerts";
    pub const ALERTS_DELIVERED: &str = "alerts_delivered";
    pub const INVENTORY_ITEMS: &str = "inventory_items";

    // progress
    pub const PROGRESS_RECEIVED: &str = "progress_events_received";
    pub const PROGRESS_STORED: &str = "progress_events_stored";
    pub const PROGRESS_SIGNALS: &str = "progress_signals";

    // series
    pub const SERIES_ACCEPTED: &str = "series_points_accepted";
    pub const SERIES_STORED: &str = "series_points_stored";
    pub const SERIES_DROPPED: &str = "series_points_dropped";
    pub const SERIES_WAITING: &str = "series_points_pending";
    pub const SERIES_SPOOL_BYTES: &str = "series_spool_bytes";
    pub const SERIES_RETRIES: &str = "series_retries";
    pub const SERIES_DEAD_LETTERS: &str = "series_dead_letters";
    pub const SERIES_STORE_UP: &str = "series_store_up";
    pub const SERIES_BATCH_DURATION: &str = "series_batch_duration_seconds";
}

/// How the log is kept.
pub struct LogSpec<'a> {
    /// A tracing filter such as `info` or `fanfare=debug,warn`.
    pub level: &'a str,
    pub json: bool,
    pub audit_file: Option<&'a Path>,
}

static AUDIT: OnceLock<AuditFile> = OnceLock::new();
static DROPPED: LazyLock<Counter> = LazyLock::new(Counter::default);

/// Starts logging to standard error, and whatever else is set: the audit file, traces, error reports.
pub fn start(log: &LogSpec<'_>, options: &TelemetryOptions) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(log.level).context("log.level (LOG_LEVEL)")?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if log.json { lines.json().flatten_event(true).boxed() } else { lines.boxed() };
    let audit = match log.audit_file {
        Some(path) => {
            let file = AuditFile::open(path).with_context(|| format!("log.audit_file: {}", path.display()))?;
            let _ = AUDIT.set(file.clone());
            let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(file);
            // Spans too: the trace id and the peer stand there.
            let ours = filter_fn(|it| it.is_span() || it.target() == audit::TARGET);
            Some(layer.with_filter(ours.with_max_level_hint(LevelFilter::INFO)))
        }
        None => None,
    };
    let mut exports = Exports::new(&options.environment, DROPPED.clone());
    let reports = options.sentry_dsn.as_deref().and_then(Receiver::parse).map(|receiver| {
        let (reports, queue) = Reports::new(&options.environment, DROPPED.clone());
        exports.reports = Some((queue, receiver));
        let ours = filter_fn(|it| it.is_span() || *it.level() == Level::ERROR);
        reports.with_filter(ours.with_max_level_hint(LevelFilter::ERROR))
    });
    if let Some(url) = &options.otlp_url {
        exports.spans = trace::begin(options.sample_ratio, DROPPED.clone()).map(|queue| (queue, url.clone()));
    }
    tracing_subscriber::registry().with(lines.with_filter(filter)).with(audit).with(reports).try_init()?;
    if exports.spans.is_some() || exports.reports.is_some() {
        exports.start()?;
    }
    Ok(())
}

/// Goes on in a new audit file, after the old one was moved away.
pub fn reopen_audit() {
    if let Some(Err(error)) = AUDIT.get().map(AuditFile::reopen) {
        tracing::error!(%error, "the audit file cannot be opened anew; the old one is written on");
    }
}

/// What spans and reports carry: the world's time, also where a test has another.
#[allow(clippy::disallowed_methods, reason = "telemetry may use nobody, not even the clock")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// The same as receivers want it.
fn wall_clock_text() -> String {
    chrono::DateTime::<chrono::Utc>::from(wall_clock()).to_rfc3339()
}

/// Spans and reports that found no place or no receiver.
pub fn register_dropped(registry: &mut Registry) {
    registry.register(name::SIGNALS_DROPPED, "Spans and error reports that were not sent", DROPPED.clone());
}

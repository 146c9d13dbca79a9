//! Settings: raw → checked, before a port is bound. `config/default.toml` < a file < the environment; unknown keys are
//! refused by name; secrets cannot be printed.

mod environment; // names that deployments already use
mod print;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use config::{Config, File, FileFormat};
use serde::Deserialize;

use crate::alerts::{AlertOptions, SmtpOptions};
use crate::auth::{AuthOptions, Secret};
use crate::contract::ContractOptions;
use crate::db::DbOptions;
use crate::feeds::RecordOptions;
use crate::feeds::matching::MatchingOptions;
use crate::feeds::price::PriceOptions;
use crate::feeds::progress::{JournalChoice, ProgressOptions};
use crate::http::cache::CacheOptions;
use crate::http::layers::EdgeOptions;
use crate::http::limits::RateOptions;
use crate::http::server::ServerOptions;
use crate::queue::QueueOptions;
use crate::series::{InfluxOptions, SeriesOptions};
use crate::session::LimitOptions;
use crate::session::centrifuge::{self, CentrifugeOptions, ChannelOptions};
use crate::stream::{HubOptions, MemoryOptions, RedisOptions};
use crate::telemetry::TelemetryOptions;

const DEFAULTS: &str = include_str!("../config/default.toml");

/// Everything that can be set; each part's options stand beside the part.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub server: Server,
    pub log: Log,
    pub telemetry: TelemetryOptions,
    pub auth: AuthOptions,
    pub http: ServerOptions,
    pub edge: EdgeOptions,
    pub limits: LimitOptions,
    pub rate: RateOptions,
    pub cache: CacheOptions,
    pub stream: HubOptions,
    pub centrifuge: CentrifugeOptions,
    /// Of channels without a namespace.
    pub channel: ChannelOptions,
    #[serde(default)]
    pub namespaces: Vec<ChannelOptions>,
    pub memory: MemoryOptions,
    pub redis: Redis,
    pub database: Database,
    pub price: PriceOptions,
    pub progress: ProgressOptions,
    pub matching: MatchingOptions,
    pub record: RecordOptions,
    pub queue: QueueOptions,
    pub smtp: SmtpOptions,
    pub alerts: AlertOptions,
    pub series: SeriesOptions,
    pub influxdb: InfluxDb,
    pub contract: ContractOptions,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    /// PEM files of the certificate's chain and its key; without them the server speaks plain HTTP.
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    /// How long a stop may take in all.
    pub drain_timeout_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub level: String,
    pub format: LogFormat,
    /// Security events, beside the log: JSON lines, of every level.
    pub audit_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Json,
    Text,
}

/// `url` decides whether there is a Redis; the rest says how to use it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    pub url: Option<Secret>,
    pub queue_messages: usize,
    pub command_timeout_ms: u64,
    pub connect_timeout_ms: u64,
    pub canary_interval_ms: u64,
    pub stale_after_ms: u64,
    pub idle_epoch_s: u64,
}

impl Redis {
    pub fn options(&self) -> RedisOptions {
        RedisOptions {
            queue_messages: self.queue_messages,
            command_timeout_ms: self.command_timeout_ms,
            connect_timeout_ms: self.connect_timeout_ms,
            canary_interval_ms: self.canary_interval_ms,
            stale_after_ms: self.stale_after_ms,
            idle_epoch_s: self.idle_epoch_s,
        }
    }
}

/// `url` decides which database it is; the rest says how to use it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `sqlite://path` or `postgres://…`; unset: a SQLite file in the data directory.
    pub url: Option<Secret>,
    pub pool_size: u32,
    pub max_overflow: u32,
    pub acquire_timeout_ms: u64,
    pub recycle_s: u64,
    /// Read replicas, by spaces: READ_DATABASE_URL_1 and so on.
    pub read_urls: Secret,
    pub slow_ms: u64,
    pub explain_slow: bool,
}

impl Database {
    pub fn options(&self) -> DbOptions {
        DbOptions {
            pool_size: self.pool_size,
            max_overflow: self.max_overflow,
            acquire_timeout_ms: self.acquire_timeout_ms,
            recycle_s: self.recycle_s,
            read_urls: self.read_urls.expose().to_owned(),
            slow_ms: self.slow_ms,
            explain_slow: self.explain_slow,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InfluxDb {
    pub url: Option<String>,
    pub token: Option<Secret>,
    pub org: String,
    pub bucket: String,
}

impl InfluxDb {
    /// `None` when there is no InfluxDB.
    pub fn options(&self) -> anyhow::Result<Option<InfluxOptions>> {
        let Some(url) = &self.url else { return Ok(None) };
        let wrong = "influxdb.url (INFLUXDB_URL) is http:// or https:// and a host";
        let url = url::Url::parse(url).ok().filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
        let token = self.token.as_ref().map_or("", Secret::expose).to_owned();
        let (org, bucket) = (self.org.clone(), self.bucket.clone());
        Ok(Some(InfluxOptions { url: url.context(wrong)?, token, org, bucket }))
    }
}

/// What the command line says before everything else.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub listen: Option<SocketAddr>,
    pub data_dir: Option<PathBuf>,
}

/// The settings in force, and how to print them.
pub struct Loaded {
    pub settings: Settings,
    raw: Config,
}

impl Loaded {
    /// Reads `file` if there is one, then `environment` (names and values), then the command line's overrides.
    pub fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        overrides: Overrides,
    ) -> anyhow::Result<Self> {
        let mut builder = Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
        if let Some(path) = file {
            builder = builder.add_source(File::from(path).format(FileFormat::Toml));
        }
        for (key, value) in environment::from_environment(environment) {
            builder = builder.set_override(key, value)?;
        }
        if let Some(listen) = overrides.listen {
            builder = builder.set_override("server.listen", listen.to_string())?;
        }
        if let Some(data_dir) = overrides.data_dir {
            builder = builder.set_override("server.data_dir", data_dir.to_string_lossy().into_owned())?;
        }
        let raw = builder.build()?;
        let settings: Settings = raw.clone().try_deserialize().context("settings")?;
        settings.check()?;
        Ok(Self { settings, raw })
    }

    /// The settings in force as TOML, secrets hidden.
    pub fn print(&self) -> anyhow::Result<String> {
        print::without_secrets(&self.raw)
    }
}

impl Settings {
    /// The database's URL; the embedded one lies in the data directory.
    pub fn database_url(&self) -> String {
        match &self.database.url {
            Some(url) => url.expose().to_owned(),
            None => format!("sqlite://{}", self.server.data_dir.join("fanfare.db").display()),
        }
    }

    /// Refuses an open server anywhere but on loopback, whoever has opened the socket.
    pub fn may_listen_on(&self, address: SocketAddr) -> anyhow::Result<()> {
        let refused = self.auth.is_open() && !address.ip().is_loopback();
        let why = "without SECRET_KEY or API keys the server is open to everybody, so it listens on loopback only";
        ensure!(!refused, "{why}, not on {address}");
        Ok(())
    }

    /// Rules over several settings; each refusal is one line that names them.
    fn check(&self) -> anyhow::Result<()> {
        self.auth.check()?;
        self.telemetry.check()?;
        self.queue.check()?;
        centrifuge::check(&self.centrifuge, &self.channel, &self.namespaces, &self.stream.history)?;
        self.progress.check()?;
        ensure!(
            self.progress.journal != JournalChoice::Redis || self.redis.url.is_some(),
            "progress.journal is redis, but there is no redis.url (REDIS_URL)"
        );
        self.alerts.check(&self.smtp)?;
        self.series.check()?;
        self.influxdb.options()?;
        ensure!(
            self.server.tls_cert.is_some() == self.server.tls_key.is_some(),
            "server.tls_cert and server.tls_key go together: both or neither"
        );
        self.may_listen_on(self.server.listen)?;
        let stream = &self.stream;
        ensure!(
            (1..stream.ping_interval_s).contains(&stream.pong_timeout_s),
            "stream.pong_timeout_s ({}) must be at least 1 and shorter than stream.ping_interval_s ({})",
            stream.pong_timeout_s,
            stream.ping_interval_s
        );
        let lease_s = stream.presence.lease_s;
        ensure!((2..=3600).contains(&lease_s), "stream.presence.lease_s ({lease_s}) must be from 2 to 3600");
        ensure!(stream.shards <= 1024, "stream.shards ({}) is more than 1024", stream.shards);
        ensure!(stream.inbox_messages > 0, "stream.inbox_messages must be at least 1");
        ensure!(
            stream.outbox_bytes >= stream.max_message_bytes && stream.max_message_bytes >= 125,
            "stream.outbox_bytes must be at least stream.max_message_bytes, and that at least 125"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(environment: &[(&str, &str)]) -> anyhow::Result<Loaded> {
        let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Loaded::read(None, environment, Overrides::default())
    }

    fn refusal(environment: &[(&str, &str)]) -> String {
        let line = format!("{:#}", load(environment).err().expect("refused"));
        assert!(!line.contains('\n'), "one line: {line}");
        line
    }

    const LONG: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn defaults_are_the_parts_defaults() {
        let settings = load(&[]).unwrap().settings;
        assert_eq!(settings.server.listen, "127.0.0.1:8000".parse().unwrap());
        assert_eq!(format!("{:?}", settings.stream), format!("{:?}", HubOptions::default()));
        assert_eq!(format!("{:?}", settings.telemetry), format!("{:?}", TelemetryOptions::default()));
        assert_eq!(format!("{:?}", settings.limits), format!("{:?}", LimitOptions::default()));
        assert_eq!(format!("{:?}", settings.rate), format!("{:?}", RateOptions::default()));
        assert_eq!(format!("{:?}", settings.auth), format!("{:?}", AuthOptions::default()));
        assert_eq!(format!("{:?}", settings.memory), format!("{:?}", MemoryOptions::default()));
        assert_eq!(format!("{:?}", settings.redis.options()), format!("{:?}", RedisOptions::default()));
        assert_eq!(format!("{:?}", settings.database.options()), format!("{:?}", DbOptions::default()));
        assert_eq!(format!("{:?}", settings.price), format!("{:?}", PriceOptions::default()));
        assert_eq!(format!("{:?}", settings.progress), format!("{:?}", ProgressOptions::default()));
        assert_eq!(format!("{:?}", settings.http), format!("{:?}", ServerOptions::default()));
        assert_eq!(format!("{:?}", settings.queue), format!("{:?}", QueueOptions::default()));
        assert_eq!(format!("{:?}", settings.series), format!("{:?}", SeriesOptions::default()));
        assert_eq!(format!("{:?}", settings.smtp), format!("{:?}", SmtpOptions::default()));
        assert_eq!(format!("{:?}", settings.alerts), format!("{:?}", AlertOptions::default()));
        assert_eq!(format!("{:?}", settings.edge), format!("{:?}", EdgeOptions::default()));
    }

    #[test]
    fn the_environment_has_known_names_and_any_key() {
        let key = "00123456789012345678901234567890123";
        let settings = load(&[
            ("REDIS_HOST", "cache"),
            ("REDIS_PORT", "7000"),
            ("SECRET_KEY", key),
            ("FANFARE__STREAM__SHARDS", "3"),
            ("FANFARE__SERVER__LISTEN", "0.0.0.0:80"),
            ("ALLOWED_ORIGINS", "https://a.example, https://b.example"),
            ("INFLUXDB_TOKEN", ""),
        ])
        .unwrap()
        .settings;
        assert_eq!(settings.redis.url.unwrap().expose(), "redis://cache:7000");
        assert_eq!(settings.auth.secret_key.unwrap().expose(), key);
        assert_eq!(settings.stream.shards, 3);
        assert!(settings.edge.allowed_origins.allows(Some("https://b.example"), None));
        assert!(settings.influxdb.token.is_none());
    }

    #[test]
    fn what_is_wrong_is_refused_by_name() {
        assert!(refusal(&[("FANFARE__STREAM__SHARD", "3")]).contains("shard"));
        assert!(refusal(&[("FANFARE__STREAM__SHARDS", "many")]).contains("shards"));
        assert!(refusal(&[("INFLUXDB_URL", "influx:8086")]).contains("INFLUXDB_URL"));
        assert!(refusal(&[("FANFARE__SERIES__KEEP_POINTS_S", "60")]).contains("series.keep_points_s"));
        assert!(refusal(&[("SECRET_KEY", "short")]).contains("SECRET_KEY"));
        assert!(refusal(&[("FANFARE__SERVER__LISTEN", "0.0.0.0:8000")]).contains("loopback"));
        assert!(refusal(&[("FANFARE__STREAM__PONG_TIMEOUT_S", "25")]).contains("pong_timeout_s"));
        assert!(load(&[("FANFARE__SERVER__LISTEN", "0.0.0.0:8000"), ("SECRET_KEY", LONG)]).is_ok());
    }

    #[test]
    fn printing_hides_secrets() {
        let environment =
            [("SECRET_KEY", LONG), ("REDIS_URL", "redis://me:hunter2@cache:6379/1"), ("INFLUXDB_TOKEN", "tok-tok")];
        let printed = load(&environment).unwrap().print().unwrap();
        for secret in [LONG, "hunter2", "tok-tok"] {
            assert!(!printed.contains(secret), "{printed}");
        }
        assert!(
            printed.contains("redis://me:***@cache:6379/1") && printed.contains("ping_interval_s = 25"),
            "{printed}"
        );
    }
}

//! What operators and trusted back ends ask: health, metrics, system information, raw publish.

pub mod dead_letters;
pub mod fate; // the ledger, and what became of one message
mod health;
mod metrics;
pub mod presence; // who watches a channel
mod process;
pub mod routes;
pub mod server_api; // what back ends ask of the channel protocol

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::Problem;
use crate::stream::Node;
use crate::telemetry::Registry;

pub use health::{Probe, Report, ServiceHealth, ServiceState};
pub use metrics::{PREFIX, registry};

/// The operators' side of a running server. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    inner: Arc<Inner>,
    check: Option<Arc<MessageCheck>>,
}

struct Inner {
    started: Instant,
    registry: Arc<Registry>,
    node: Node,
    probes: Vec<Probe>,
    system_info: SystemInfo,
}

/// Gives what only the app knows, such as pool and connection figures; its fields stand beside `version` and `uptime_s`.
pub type SystemInfo = Box<dyn Fn() -> Value + Send + Sync>;

/// Says what is wrong with a message that is to be published on a channel.
pub type MessageCheck = dyn Fn(&str, &[u8]) -> Result<(), Problem> + Send + Sync;

/// The crate's version, in answers and in the build metric.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Admin {
    pub fn new(registry: Arc<Registry>, node: Node, probes: Vec<Probe>, system_info: SystemInfo) -> Self {
        let inner = Inner { started: Instant::now(), registry, node, probes, system_info };
        Self { inner: Arc::new(inner), check: None }
    }

    /// Has every message looked at before it is published.
    pub fn checking(self, check: Arc<MessageCheck>) -> Self {
        Self { check: Some(check), ..self }
    }

    pub fn uptime(&self) -> Duration {
        self.inner.started.elapsed()
    }

    /// Asks every service how it is, all at once.
    pub async fn check(&self) -> Report {
        health::check(&self.inner.probes).await
    }

    /// Version, uptime and the app's own figures, in one object.
    pub fn system_info(&self) -> Value {
        let mut info = serde_json::Map::new();
        info.insert("version".into(), VERSION.into());
        info.insert("uptime_s".into(), self.uptime().as_secs().into());
        match (self.inner.system_info)() {
            Value::Object(figures) => info.extend(figures),
            Value::Null => {}
            other => {
                info.insert("info".into(), other);
            }
        }
        Value::Object(info)
    }
}

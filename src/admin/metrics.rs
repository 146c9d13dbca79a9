//! The registry of metrics and its text.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;

use super::VERSION;
use super::process::ProcessCollector;
use crate::telemetry::{Registry, name};

/// What the names of all own metrics begin with: `fanfare_…`.
pub const PREFIX: &str = "fanfare";

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The root registry, with the figures of the process under the names that dashboards know, and the build.
/// Parts register in `registry.sub_registry_with_prefix(PREFIX)`.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(ProcessCollector));
    registry.sub_registry_with_prefix(PREFIX).register(
        name::BUILD_INFO,
        "What is running",
        Info::new([("version", VERSION)]),
    );
    registry
}

/// All metrics as OpenMetrics text.
pub(super) fn text(registry: &Registry) -> Result<String, std::fmt::Error> {
    let mut text = String::with_capacity(16 * 1024);
    encode(&mut text, registry)?;
    Ok(text)
}

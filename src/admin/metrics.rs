//! The registry of metrics and its text.

use std::collections::BTreeMap;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;

use super::VERSION;
use super::process::ProcessCollector;
use crate::stream::Account;
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

/// Channels with lines of their own; the others are added up, so that names bound no more than this.
const MOST_CHANNELS: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Line {
    channel: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Waiting {
    channel: String,
}

/// All metrics as OpenMetrics text, the ledger's books among them.
pub(super) fn text(registry: &Registry, ledger: &BTreeMap<String, Account>) -> Result<String, std::fmt::Error> {
    let mut text = String::with_capacity(16 * 1024);
    encode_registry(&mut text, registry)?;
    encode_registry(&mut text, &books(ledger))?;
    encode_eof(&mut text)?;
    Ok(text)
}

fn books(ledger: &BTreeMap<String, Account>) -> Registry {
    let (outcomes, waiting) = (Family::<Line, Counter>::default(), Family::<Waiting, Gauge>::default());
    for (index, (channel, account)) in ledger.iter().enumerate() {
        let channel = if index < MOST_CHANNELS { channel.as_str() } else { "(others)" };
        let add = |outcome: &'static str, count: u64| {
            outcomes.get_or_create(&Line { channel: channel.to_owned(), outcome }).inc_by(count);
        };
        add("offered", account.offered);
        add("recovered", account.recovered);
        add("delivered", account.delivered);
        add("filtered", account.filtered);
        add("conflated", account.conflated);
        add("dropped", account.dropped.values().sum());
        let pending = i64::try_from(account.pending).unwrap_or(i64::MAX);
        waiting.get_or_create(&Waiting { channel: channel.to_owned() }).inc_by(pending);
    }
    let mut registry = Registry::with_prefix(PREFIX);
    let help =
        "What became of publications, by channel: offered and recovered are what the others and pending add up to";
    registry.register(name::LEDGER, help, outcomes);
    registry.register(name::LEDGER_PENDING, "Publications that wait for a client, by channel", waiting);
    registry
}

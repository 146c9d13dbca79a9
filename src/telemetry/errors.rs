//! Error reports for a Sentry-compatible receiver: each line that is logged as an error, with its trace id.
//!
//! What is sent is what the log has: message, fields, target; no request, no header, no address. Reports wait in a bounded
//! queue; what does not fit is dropped and counted, and a fault that repeats is sent a few times a minute at most.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Reports that wait to be sent.
const QUEUE: usize = 64;
/// The same message more often than this many times in [`WINDOW`] is left out.
const SAME_MOST: u32 = 5;
const WINDOW: Duration = Duration::from_secs(60);

/// Where reports go, from a DSN.
#[derive(Clone, Debug)]
pub(super) struct Receiver {
    pub url: String,
    pub key: String,
}

impl Receiver {
    /// `https://KEY@HOST/PROJECT`; a path before the project stays.
    pub fn parse(dsn: &str) -> Option<Self> {
        let mut url = url::Url::parse(dsn).ok().filter(|url| ["http", "https"].contains(&url.scheme()))?;
        let key = Some(url.username()).filter(|key| !key.is_empty())?.to_owned();
        let (before, project) = url.path().rsplit_once('/').filter(|(_, project)| !project.is_empty())?;
        let path = format!("{before}/api/{project}/envelope/");
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
        url.set_path(&path);
        Some(Self { url: url.to_string(), key })
    }
}

/// Makes a report of each error that is logged.
pub(super) struct Reports {
    queue: mpsc::Sender<Value>,
    dropped: Counter,
    environment: String,
    /// How often each message came in the window that began then.
    seen: Mutex<(Instant, HashMap<String, u32>)>,
}

impl Reports {
    pub fn new(environment: &str, dropped: Counter) -> (Self, mpsc::Receiver<Value>) {
        let (queue, reports) = mpsc::channel(QUEUE);
        let seen = Mutex::new((Instant::now(), HashMap::new()));
        (Self { queue, dropped, environment: environment.to_owned(), seen }, reports)
    }

    fn is_too_often(&self, message: &str) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0.elapsed() > WINDOW {
            *seen = (Instant::now(), HashMap::new());
        }
        let times = seen.1.entry(message.chars().take(100).collect()).or_default();
        *times += 1;
        *times > SAME_MOST
    }
}

/// The fields of an event or a span.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Reports {
    fn on_new_span(&self, attributes: &tracing::span::Attributes<'_>, id: &tracing::Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if *event.metadata().level() != Level::ERROR {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.0.remove("message").and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default();
        if self.is_too_often(&message) {
            self.dropped.inc();
            return;
        }
        let mut tags = Map::new();
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(Fields(of_span)) = span.extensions().get::<Fields>() {
                for name in ["trace_id", "method", "route"] {
                    tags.extend(of_span.get(name).map(|value| (name.to_owned(), value.clone())));
                }
            }
        }
        let report = json!({
            "event_id": uuid::Uuid::new_v4().simple().to_string(),
            "timestamp": super::wall_clock_text(),
            "level": "error",
            "platform": "native",
            "logger": event.metadata().target(),
            "release": concat!("fanfare@", env!("CARGO_PKG_VERSION")),
            "environment": self.environment,
            "message": { "formatted": message },
            // One fault is one issue, whatever stands in its fields.
            "fingerprint": [event.metadata().target(), message],
            "tags": tags,
            "extra": fields.0,
        });
        if self.queue.try_send(report).is_err() {
            self.dropped.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dsn_names_where_reports_go() {
        let receiver = Receiver::parse("https://abc@errors.example/42").unwrap();
        assert_eq!((receiver.url.as_str(), receiver.key.as_str()), ("https://errors.example/api/42/envelope/", "abc"));
        assert_eq!(Receiver::parse("http://k@h:9/sub/7").unwrap().url, "http://h:9/sub/api/7/envelope/");
        for bad in ["", "errors.example/42", "https://errors.example/42", "https://abc@errors.example", "ftp://a@b/1"] {
            assert!(Receiver::parse(bad).is_none(), "{bad}");
        }
    }
}

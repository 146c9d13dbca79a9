//! Sends traces and error reports, from a thread with a runtime of its own: a server that is stuck can still tell of it.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::errors::Receiver;

/// Spans of one request to the collector.
const BATCH: usize = 512;
/// A batch goes when it is full, or when its first span has waited so long.
const LINGER: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(5);

static FLUSH: OnceLock<mpsc::Sender<oneshot::Sender<()>>> = OnceLock::new();

/// What comes in, and where each of it goes.
pub(super) struct Exports {
    pub spans: Option<(mpsc::Receiver<Value>, String)>,
    pub reports: Option<(mpsc::Receiver<Value>, Receiver)>,
    pub environment: String,
    pub dropped: Counter,
}

impl Exports {
    pub fn new(environment: &str, dropped: Counter) -> Self {
        Self { spans: None, reports: None, environment: environment.to_owned(), dropped }
    }

    /// Ends with the process.
    pub fn start(self) -> std::io::Result<()> {
        let (flush, flushes) = mpsc::channel(1);
        if FLUSH.set(flush).is_err() {
            return Ok(());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(self.run(flushes)))?;
        Ok(())
    }

    async fn run(self, mut flushes: mpsc::Receiver<oneshot::Sender<()>>) {
        let client = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).build();
        let Ok(client) = client else { return tracing::warn!("traces and error reports cannot be sent") };
        let sender = Sender { client, dropped: self.dropped, environment: self.environment };
        // A queue whose other end is gone never has anything.
        let (mut spans, collector) = self.spans.unwrap_or_else(|| (mpsc::channel(1).1, String::new()));
        let (mut reports, receiver) = match self.reports {
            Some((reports, receiver)) => (reports, Some(receiver)),
            None => (mpsc::channel(1).1, None),
        };
        let mut batch = Vec::new();
        let mut ticks = tokio::time::interval(LINGER);
        loop {
            let mut asked = None;
            let due = tokio::select! {
                Some(report) = reports.recv() => {
                    sender.report(receiver.as_ref(), &report).await;
                    false
                }
                Some(span) = spans.recv() => {
                    batch.push(span);
                    batch.len() >= BATCH
                }
                flush = flushes.recv() => {
                    asked = flush;
                    true
                }
                _ = ticks.tick() => true,
            };
            if asked.is_some() {
                while let Ok(span) = spans.try_recv() {
                    batch.push(span);
                }
                while let Ok(report) = reports.try_recv() {
                    sender.report(receiver.as_ref(), &report).await;
                }
            }
            if due && !batch.is_empty() {
                sender.spans(&collector, std::mem::take(&mut batch)).await;
            }
            if let Some(asked) = asked {
                let _ = asked.send(());
            }
        }
    }
}

/// Sends what waits, for at most `within`; for the end of the process.
pub async fn flush(within: Duration) {
    let Some(flush) = FLUSH.get() else { return };
    let (ask, answered) = oneshot::channel();
    let _ = tokio::time::timeout(within, async {
        let _ = flush.send(ask).await;
        let _ = answered.await;
    })
    .await;
}

struct Sender {
    client: reqwest::Client,
    dropped: Counter,
    environment: String,
}

impl Sender {
    async fn spans(&self, collector: &str, spans: Vec<Value>) {
        let count = spans.len();
        let resource = [
            ("service.name", "fanfare"),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("deployment.environment", &self.environment),
        ];
        let resource = resource.map(|(key, value)| json!({ "key": key, "value": { "stringValue": value } }));
        let body = json!({ "resourceSpans": [{
            "resource": { "attributes": resource },
            "scopeSpans": [{ "scope": { "name": "fanfare" }, "spans": spans }],
        }] });
        let url = format!("{}/v1/traces", collector.trim_end_matches('/'));
        let sent = self.client.post(url).json(&body).send().await;
        if let Some(why) = refusal(sent) {
            self.dropped.inc_by(count as u64);
            tracing::warn!(why, spans = count, "traces could not be sent");
        }
    }

    async fn report(&self, receiver: Option<&Receiver>, report: &Value) {
        let Some(receiver) = receiver else { return };
        let header = json!({ "event_id": report["event_id"], "sent_at": super::wall_clock_text() });
        let envelope = format!("{header}\n{}\n{report}\n", json!({ "type": "event" }));
        let client = concat!("fanfare/", env!("CARGO_PKG_VERSION"));
        let auth = format!("Sentry sentry_version=7, sentry_client={client}, sentry_key={}", receiver.key);
        let request = self.client.post(&receiver.url).header("X-Sentry-Auth", auth);
        let sent = request.header("Content-Type", "application/x-sentry-envelope").body(envelope).send().await;
        if let Some(why) = refusal(sent) {
            self.dropped.inc();
            // Not as an error: that would be the next report.
            tracing::warn!(why, "an error report could not be sent");
        }
    }
}

/// Why it was not taken; addresses stay out of the log, as they may hold a key.
fn refusal(sent: reqwest::Result<reqwest::Response>) -> Option<String> {
    match sent {
        Ok(answer) if answer.status().is_success() => None,
        Ok(answer) => Some(answer.status().to_string()),
        Err(error) => Some(error.without_url().to_string()),
    }
}

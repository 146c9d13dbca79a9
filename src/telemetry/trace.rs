//! Traces: what one message cost on its way, from the request through database, outbox and broker to the sockets.
//!
//! A trace travels as a W3C `traceparent`: from the caller's header to the running task, from there as a tag of the
//! publication into the outbox row and through the broker to every node. Spans are kept in a bounded queue and sent in
//! batches ([`super::export`]); what does not fit is dropped and counted. Without `telemetry.otlp_url` nothing is recorded
//! and nothing is tagged.

use std::fmt;
use std::future::Future;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::Counter;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// The tag of a publication that a trace leads to.
pub const TAG: &str = "traceparent";
/// Spans that wait to be sent.
const QUEUE: usize = 8192;

static TRACER: OnceLock<Tracer> = OnceLock::new();

tokio::task_local! {
    static CURRENT: Parent;
}

struct Tracer {
    spans: mpsc::Sender<Value>,
    dropped: Counter,
    sample_ratio: f64,
    /// The same moment on both clocks.
    begun: (Instant, SystemTime),
}

/// A span that others hang below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    trace: u128,
    span: u64,
}

/// What a span is to whoever draws it.
#[derive(Clone, Copy)]
pub enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
    Producer = 4,
    Consumer = 5,
}

impl Parent {
    /// Reads a `traceparent`; `None` when it is none, or when its sender does not record it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |part: &str, len| part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let complete = hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
        if !complete || !hex(trace, 32) || !hex(span, 16) || !hex(flags, 2) {
            return None;
        }
        let (trace, span) = (u128::from_str_radix(trace, 16).ok()?, u64::from_str_radix(span, 16).ok()?);
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        (sampled && trace != 0 && span != 0).then_some(Self { trace, span })
    }

    /// A span below this one, that has yet to end: see [`record`].
    pub fn child(&self) -> Self {
        Self { trace: self.trace, span: fastrand::u64(1..) }
    }

    /// The trace's own number, 32 hex digits.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }
}

impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-01", self.trace, self.span)
    }
}

/// Begins to record; answers where spans come out, or `None` when somebody has begun before.
pub(super) fn begin(sample_ratio: f64, dropped: Counter) -> Option<mpsc::Receiver<Value>> {
    let (spans, queue) = mpsc::channel(QUEUE);
    let begun = (Instant::now(), super::wall_clock());
    TRACER.set(Tracer { spans, dropped, sample_ratio, begun }).ok().map(|()| queue)
}

/// The span of a request: below the caller's, or a trace of its own for some. `trace_id` is what the caller is answered.
pub fn root(traceparent: Option<&str>, trace_id: &str) -> Option<(Parent, Option<Parent>)> {
    let tracer = TRACER.get()?;
    let above = match traceparent {
        Some(text) => Some(Parent::parse(text)?),
        None if fastrand::f64() < tracer.sample_ratio => None,
        None => return None,
    };
    let own = u128::from_str_radix(trace_id, 16).ok().filter(|id| *id != 0);
    let trace = above.map(|above| above.trace).or(own).unwrap_or_else(|| fastrand::u128(1..));
    Some((Parent { trace, span: fastrand::u64(1..) }, above))
}

/// Runs a future below `parent`.
pub async fn within<T>(parent: Option<Parent>, work: impl Future<Output = T>) -> T {
    match parent {
        Some(parent) => CURRENT.scope(parent, work).await,
        None => work.await,
    }
}

/// What the running task works for, where that is traced.
pub fn current() -> Option<Parent> {
    TRACER.get()?;
    CURRENT.try_with(|parent| *parent).ok()
}

/// Tags a publication with what the running task works for.
pub fn tag(tags: &mut Vec<(String, String)>) {
    if let Some(parent) = current()
        && !tags.iter().any(|(name, _)| name == TAG)
    {
        tags.push((TAG.to_owned(), parent.to_string()));
    }
}

/// What a publication's tags say that it belongs to.
pub fn of_tags(tags: &[(String, String)]) -> Option<Parent> {
    tags.iter().find(|(name, _)| name == TAG).and_then(|(_, value)| of_text(value))
}

/// The same of what was kept as text.
pub fn of_text(text: &str) -> Option<Parent> {
    TRACER.get()?;
    Parent::parse(text)
}

/// Records a span that ends now, below `above`; answers it, so that others can hang below it.
pub fn span(above: Parent, name: &str, kind: Kind, began: Instant, attributes: &[(&str, &dyn fmt::Display)]) -> Parent {
    let own = above.child();
    record(own, Some(above), name, kind, began, attributes);
    own
}

/// Records a span whose number was given out before it ended.
pub fn record(
    own: Parent,
    above: Option<Parent>,
    name: &str,
    kind: Kind,
    began: Instant,
    attributes: &[(&str, &dyn fmt::Display)],
) {
    let Some(tracer) = TRACER.get() else { return };
    let attributes: Vec<Value> = attributes
        .iter()
        .map(|(key, value)| json!({ "key": key, "value": { "stringValue": value.to_string() } }))
        .collect();
    let mut span = json!({
        "traceId": own.trace_id(),
        "spanId": format!("{:016x}", own.span),
        "name": name,
        "kind": kind as u8,
        "startTimeUnixNano": tracer.unix_ns(began).to_string(),
        "endTimeUnixNano": tracer.unix_ns(Instant::now()).to_string(),
        "attributes": attributes,
    });
    if let Some(above) = above {
        span["parentSpanId"] = format!("{:016x}", above.span).into();
    }
    if tracer.spans.try_send(span).is_err() {
        tracer.dropped.inc();
    }
}

/// The moment on this process's clock at which something with a wall clock's time began.
pub fn since(wall: SystemTime) -> Instant {
    let ago = super::wall_clock().duration_since(wall).unwrap_or(Duration::ZERO);
    Instant::now().checked_sub(ago).unwrap_or_else(Instant::now)
}

impl Tracer {
    fn unix_ns(&self, at: Instant) -> u128 {
        let (instant, wall) = self.begun;
        let base = wall.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        // What began before the tracer lies before its own beginning.
        let now = at.checked_duration_since(instant).map(|later| base + later);
        now.unwrap_or_else(|| base.saturating_sub(instant.duration_since(at))).as_nanos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_and_sampled_traceparent_is_one() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent = Parent::parse(text).unwrap();
        assert_eq!((parent.to_string().as_str(), parent.trace_id().as_str()), (text, &text[3..35]));
        for bad in ["", "00", &text[..54], &format!("{text}-x"), &text.replace("-01", "-00"), &text.to_uppercase()] {
            assert_eq!(Parent::parse(bad), None, "{bad}");
        }
        assert_eq!(Parent::parse(&text.replace("00f067aa0ba902b7", "0000000000000000")), None);
    }
}

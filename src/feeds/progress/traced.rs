//! Traces of events through the journal: what an event waited there, what applying it took, and what it is told with.

use std::collections::BTreeMap;
use std::time::Instant;

use super::event::Event;
use crate::stream::Tags;
use crate::telemetry::trace::{self, Kind, Parent};

/// Requests of one batch that are traced; those of the rest end at the journal.
const MOST: usize = 32;

/// The traced requests whose events are applied together, each with the span of that.
pub struct Traced<'a> {
    begun: Instant,
    requests: BTreeMap<&'a str, (Parent, Parent)>,
}

impl<'a> Traced<'a> {
    pub fn begin(events: &[&'a Event]) -> Self {
        let mut requests = BTreeMap::new();
        for event in events {
            let Some(text) = event.traceparent.as_deref().filter(|text| !requests.contains_key(text)) else { continue };
            let Some(above) = trace::of_text(text).filter(|_| requests.len() < MOST) else { continue };
            trace::span(above, "journal.wait", Kind::Internal, trace::since(event.received_at.into()), &[]);
            requests.insert(text, (above, above.child()));
        }
        Self { begun: Instant::now(), requests }
    }

    /// What the statements of the batch hang below: they are one request's as much as another's.
    pub fn first(&self) -> Option<Parent> {
        self.requests.values().next().map(|(_, own)| *own)
    }

    /// Tags what is told of an event.
    pub fn tag(&self, event: &Event, tags: &mut Tags) {
        if let Some((_, own)) = event.traceparent.as_deref().and_then(|text| self.requests.get(text)) {
            tags.push((trace::TAG.to_owned(), own.to_string()));
        }
    }

    /// To be called when all is done.
    pub fn end(self, events: usize) {
        for (above, own) in self.requests.values() {
            trace::record(*own, Some(*above), "events.apply", Kind::Consumer, self.begun, &[("events", &events)]);
        }
    }
}

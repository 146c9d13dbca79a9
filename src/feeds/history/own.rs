//! The server's own figures as points: how many streams are open, and what the stream has done since the start.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::series::{Point, Writer};
use crate::stream::Node;

/// Writes a point of the measurement `stream` now and then. Counters begin at 0 with the process.
pub struct OwnFigures {
    node: Node,
    writer: Writer,
    clock: Clock,
    /// Tells servers on one store apart.
    name: String,
}

impl OwnFigures {
    pub fn new(node: Node, writer: Writer, clock: Clock, name: String) -> Self {
        Self { node, writer, clock, name }
    }

    pub async fn run(self, every: Duration, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => self.writer.write(self.point()),
            }
        }
    }

    fn point(&self) -> Point {
        let (hub, stream) = (self.node.hub(), self.node.hub().metrics());
        // Counters fit: at a billion a second the sign would be reached after 292 years.
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Point::new("stream", self.clock.now())
            .tag("node", &self.name)
            .field("connections", whole(hub.connections() as u64))
            .field("publications", whole(stream.publications.get()))
            .field("deliveries", whole(stream.delivered.get()))
            .field("filtered", whole(stream.filtered.get()))
            .field("sent_bytes", whole(stream.bytes_out.get()))
            .field("writes", whole(stream.writes.get()))
            .field("messages_received", whole(stream.messages_in.get()))
            .field("pending_bytes", stream.outbox_bytes.get())
            .field("connections_pending", stream.waiting.get())
    }
}

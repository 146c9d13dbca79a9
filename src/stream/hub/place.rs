//! A connection's claim on its shard, and the ticket for it until its socket comes.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::inbox::Command;
use super::{Hub, Inner};
use crate::stream::Audience;
use crate::stream::metrics::FeedLabel;
use crate::stream::presence::Attendance;

/// A connection's claim on its shard, channels and figures; giving it up undoes them all, whatever way it ends.
pub(super) struct Place {
    hub: Arc<Inner>,
    shard: usize,
    pub audience: Arc<Audience>,
    /// Whether it is a connection's own place, and not one of several that it has on channels.
    first: bool,
    /// Given up with the place: that is the moment when the client has left.
    _attendance: Option<Attendance>,
}

impl Place {
    pub fn take(hub: Arc<Inner>, shard: usize, audience: Arc<Audience>, attendance: Option<Attendance>) -> Self {
        let mut place = Self::further(hub, shard, audience, attendance);
        place.first = true;
        let feed = FeedLabel { feed: place.audience.spec.feed };
        place.hub.shards[shard].count_connection(1);
        place.hub.metrics.connections.get_or_create(&feed).inc();
        place.hub.metrics.opened.get_or_create(&feed).inc();
        place
    }

    /// On the channels of one more audience, for a connection that has its place.
    pub fn further(hub: Arc<Inner>, shard: usize, audience: Arc<Audience>, attendance: Option<Attendance>) -> Self {
        for watch in &audience.watches {
            watch.active.on_shard[shard].fetch_add(1, Ordering::SeqCst);
            if audience.spec.alias.is_none() {
                watch.active.enter(audience.spec.form);
            }
        }
        Self { hub, shard, audience, first: false, _attendance: attendance }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for watch in &self.audience.watches {
            watch.active.on_shard[self.shard].fetch_sub(1, Ordering::SeqCst);
            if self.audience.spec.alias.is_none() {
                watch.active.leave(self.audience.spec.form);
            }
        }
        if !self.first {
            return;
        }
        self.hub.shards[self.shard].count_connection(-1);
        self.hub.metrics.connections.get_or_create(&FeedLabel { feed: self.audience.spec.feed }).dec();
    }
}

/// A place that waits for its socket. Dropped without one, the place is given up.
pub struct Ticket {
    hub: Arc<Inner>,
    shard: usize,
    ticket: u64,
    adopted: bool,
}

impl Ticket {
    pub(super) fn new(hub: Arc<Inner>, shard: usize, ticket: u64) -> Self {
        Self { hub, shard, ticket, adopted: false }
    }

    /// What the client is called in answers and in `explain`.
    pub fn client(&self) -> String {
        Hub(self.hub.clone()).client_name(self.ticket)
    }

    /// How a session that answers what the client says reaches it.
    pub fn session(&self) -> super::Client {
        super::Client::new(self.hub.clone(), self.shard, self.ticket)
    }

    /// Hands the upgraded socket to the shard for good. `first` is what the client sent right behind its request.
    pub async fn adopt(mut self, socket: TcpStream, first: Vec<u8>) {
        self.adopted = true;
        let command = Command::Adopt { ticket: self.ticket, socket, first };
        self.hub.shards[self.shard].send(command).await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.adopted {
            return;
        }
        let (hub, shard, ticket) = (self.hub.clone(), self.shard, self.ticket);
        // Without a runtime the process is ending, and the places with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { hub.shards[shard].send(Command::Cancel { ticket }).await });
        }
    }
}

//! A connection as its session reaches it: by number, in order, through its shard's queue.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::inbox::Command;
use super::place::Place;
use super::{Hub, Inner};
use crate::stream::Audience;
use crate::stream::ledger::Account;
use crate::stream::outbox::Marks;
use crate::stream::presence::Attending;
use crate::wire::Close;

/// What a session tells its connection's shard. Cloning shares it.
#[derive(Clone)]
pub struct Client {
    hub: Arc<Inner>,
    shard: usize,
    ticket: u64,
}

/// A further channel for a connection, and what it is sent before anything live of it.
pub(in crate::stream) struct Subscription {
    /// The session's own number for it.
    pub id: u64,
    pub audience: Arc<Audience>,
    /// Where it goes on after its first publication: what comes then is a patch.
    pub then: Option<Arc<Audience>>,
    /// Where the channels stand.
    pub marks: Marks,
    pub reply: Bytes,
    /// What of the first channel the reply carries.
    pub book: Option<(u64, Account)>,
    /// Who is to be known on the channel.
    pub attending: Option<Attending>,
}

/// The same on its shard.
pub(super) struct Seating {
    pub id: u64,
    pub place: Place,
    pub then: Option<Place>,
    pub marks: Marks,
    pub reply: Bytes,
    pub book: Option<(u64, Account)>,
}

impl Client {
    pub(super) fn new(hub: Arc<Inner>, shard: usize, ticket: u64) -> Self {
        Self { hub, shard, ticket }
    }

    /// What the client is called in answers, in presence and in `explain`.
    pub fn name(&self) -> String {
        Hub(self.hub.clone()).client_name(self.ticket)
    }

    /// Ready frames, behind everything that was sent before.
    pub async fn send(&self, frames: Bytes) {
        self.tell(Command::Send { ticket: self.ticket, frames }).await;
    }

    /// From here on everything waits until [`Client::uncork`], whose frames go before it.
    pub async fn cork(&self) {
        self.tell(Command::Cork { ticket: self.ticket }).await;
    }

    pub async fn uncork(&self, first: Bytes) {
        self.tell(Command::Uncork { ticket: self.ticket, first }).await;
    }

    /// Takes the client off a channel; `frames` are sent behind the last publication of it.
    pub async fn unsubscribe(&self, id: u64, frames: Bytes) {
        self.tell(Command::Unsubscribe { ticket: self.ticket, id, frames }).await;
    }

    /// Ends the connection behind what waits for it. `frame`: the close frame, where it is not that of `close`.
    pub async fn close(&self, close: Close, frame: Option<Bytes>) {
        self.tell(Command::Close { ticket: self.ticket, close, frame }).await;
    }

    /// To be called while the lines of the audience are held: the subscription begins between two publications.
    pub(in crate::stream) async fn subscribe(&self, subscription: Subscription) {
        let Subscription { id, audience, then, marks, reply, book, attending } = subscription;
        let roster = self.hub.roster.get();
        let attendance = attending.and_then(|who| Some(roster?.attend_on(&audience, self.ticket, who)));
        let further = |audience, attendance| Place::further(self.hub.clone(), self.shard, audience, attendance);
        let place = further(audience, attendance);
        let then = then.map(|audience| further(audience, None));
        let seating = Box::new(Seating { id, place, then, marks, reply, book });
        self.tell(Command::Subscribe { ticket: self.ticket, seating }).await;
    }

    async fn tell(&self, command: Command) {
        if self.hub.shards[self.shard].send(command).await {
            self.hub.metrics.inbox_full.inc();
        }
    }
}

impl Hub {
    /// Connections of this node on a channel.
    pub fn listeners(&self, channel: &crate::stream::Channel) -> u32 {
        self.active(channel).map_or(0, |active| active.on_shard.iter().map(|on| on.load(Ordering::Relaxed)).sum())
    }

    /// The channels of this node that somebody listens to.
    pub fn listened(&self) -> Vec<(crate::stream::Channel, u32)> {
        let all = self.all_active().into_iter().filter(|active| active.watched());
        all.map(|active| (active.channel.clone(), active.on_shard.iter().map(|on| on.load(Ordering::Relaxed)).sum()))
            .filter(|(_, listening)| *listening > 0)
            .collect()
    }
}

//! The bounded queue into a shard, and the wake-up that is only paid for when the shard sleeps.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use mio::{Poll, Token, Waker};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::client::Seating;
use super::wake::Sleep;
use super::{Beginning, Peer, Place, Slots};
use crate::stream::{Account, AudienceSpec, Channel, Mark, Position, Publication};
use crate::wire::Close;

/// The token under which the wake-up arrives.
pub(super) const WAKE: Token = Token(usize::MAX);

/// What a shard is told; in order, whoever tells it.
pub(super) enum Command {
    Publish {
        channel: u64,
        publication: Arc<Publication>,
    },
    Reserve(Box<Reservation>),
    Adopt {
        ticket: u64,
        socket: TcpStream,
        first: Vec<u8>,
    },
    Cancel {
        ticket: u64,
    },
    Send {
        ticket: u64,
        frames: Bytes,
    },
    Cork {
        ticket: u64,
    },
    Uncork {
        ticket: u64,
        first: Bytes,
    },
    Subscribe {
        ticket: u64,
        seating: Box<Seating>,
    },
    Unsubscribe {
        ticket: u64,
        id: u64,
        frames: Bytes,
    },
    Close {
        ticket: u64,
        close: Close,
        frame: Option<Bytes>,
    },
    /// Ask everybody whether he may stay.
    Examine,
    Drain {
        close: Close,
        within: Duration,
        slots: Slots,
    },
    Report(oneshot::Sender<BTreeMap<String, Account>>),
    Ask {
        question: Question,
        reply: oneshot::Sender<Option<Found>>,
    },
}

pub(super) struct Reservation {
    pub place: Place,
    pub peer: Box<dyn Peer>,
    pub beginning: Beginning,
}

/// Asks for one client, and whether a position of a channel still waits for it.
#[derive(Clone)]
pub(in crate::stream) struct Question {
    pub ticket: u64,
    pub channel: Channel,
    pub position: Position,
    /// While it is in the history.
    pub publication: Option<Arc<Publication>>,
}

/// What a shard knows of one client.
pub(in crate::stream) struct Found {
    pub audience: Arc<AudienceSpec>,
    /// From where on the client was to get everything, and how far it has got by now or by its end.
    pub began: Option<Mark>,
    pub reached: Option<Mark>,
    /// What comes after `reached` waits in its outbox.
    pub waits: bool,
    /// Why and when it ended.
    pub ended: Option<(&'static str, DateTime<Utc>)>,
    /// The fold that carries the position, if one does: its last offset and how many it stands for.
    pub folded_into: Option<(u64, u64)>,
}

/// The runtime's end.
pub(super) struct Sender {
    queue: mpsc::Sender<Command>,
    wake: Arc<Wake>,
    connections: AtomicIsize,
}

struct Wake {
    waker: Waker,
    sleep: Sleep,
}

impl Sender {
    /// Waits while the queue is full; answers whether it had to.
    pub async fn send(&self, command: Command) -> bool {
        let waited = match self.queue.try_send(command) {
            Ok(()) => false,
            Err(TrySendError::Full(command)) => self.queue.send(command).await.is_ok(),
            // Only after the shard was drained: there is nobody left to tell.
            Err(TrySendError::Closed(_)) => return false,
        };
        if self.wake.sleep.must_wake()
            && let Err(error) = self.wake.waker.wake()
        {
            tracing::error!(%error, "a shard could not be woken");
        }
        waited
    }

    pub fn connections(&self) -> usize {
        usize::try_from(self.connections.load(Ordering::Relaxed)).unwrap_or(0)
    }

    pub fn count_connection(&self, change: isize) {
        self.connections.fetch_add(change, Ordering::Relaxed);
    }
}

/// The shard's end.
pub(super) struct Inbox {
    queue: mpsc::Receiver<Command>,
    wake: Arc<Wake>,
}

impl Inbox {
    pub fn new(capacity: usize, poll: &Poll) -> std::io::Result<(Sender, Self)> {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        let wake = Arc::new(Wake { waker: Waker::new(poll.registry(), WAKE)?, sleep: Sleep::new() });
        let sender = Sender { queue: sender, wake: wake.clone(), connections: AtomicIsize::new(0) };
        Ok((sender, Self { queue: receiver, wake }))
    }

    pub fn next(&mut self) -> Option<Command> {
        self.queue.try_recv().ok()
    }

    /// Says that the shard is about to sleep. `false`: something has arrived, do not.
    pub fn may_sleep(&self) -> bool {
        self.wake.sleep.may_sleep(|| self.queue.is_empty())
    }

    pub fn awake(&self) {
        self.wake.sleep.awake();
    }
}

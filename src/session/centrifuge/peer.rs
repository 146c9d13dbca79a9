//! The shard's end of a session: it passes on what the client says, and sees that it is still there.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};

use super::orders::Order;
use crate::session::limits::Held;
use crate::stream::{Heartbeat, Peer};
use crate::wire::centrifuge::{Disconnect, Encoding};
use crate::wire::{Close, Incoming};

/// Bytes of one client's messages that wait for its session.
const MOST_BYTES: usize = 1 << 20;

/// What a session hears.
pub(super) enum Input {
    /// A message of the client.
    Frame(Bytes),
    /// Of a back end.
    Order(Order),
}

/// What the shard and the session both look at.
pub(super) struct Signs {
    /// WebSocket's own pings, for tools that cannot answer others.
    native: bool,
    one_way: bool,
    pub connected: AtomicBool,
    /// A ping has not been answered yet.
    asked: AtomicBool,
    waiting_bytes: AtomicUsize,
    evicted: Mutex<Vec<u64>>,
    pub look: Notify,
}

impl Signs {
    pub fn new(native: bool, one_way: bool) -> Self {
        Self {
            native,
            one_way,
            connected: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            waiting_bytes: AtomicUsize::new(0),
            evicted: Mutex::default(),
            look: Notify::new(),
        }
    }

    pub fn is_native(&self) -> bool {
        self.native
    }

    /// An answer to a ping; `false`: none was asked for.
    pub fn pong(&self) -> bool {
        self.asked.swap(false, Ordering::Relaxed)
    }

    pub fn taken(&self, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// A subscription has been ended, and the client told.
    pub fn evict(&self, subscription: u64) {
        self.evicted.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(subscription);
        self.look.notify_one();
    }

    /// Subscriptions that have been ended since the last call.
    pub fn evicted(&self) -> Vec<u64> {
        std::mem::take(&mut *self.evicted.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

pub(super) struct Talker {
    queue: mpsc::Sender<Input>,
    encoding: Encoding,
    signs: Arc<Signs>,
    /// Its place in the limits, given back when the connection ends.
    _held: Held,
}

impl Talker {
    pub fn new(queue: mpsc::Sender<Input>, encoding: Encoding, signs: Arc<Signs>, held: Held) -> Self {
        Self { queue, encoding, signs, _held: held }
    }
}

impl Peer for Talker {
    fn message(&mut self, message: Incoming<'_>, _replies: &mut Vec<Bytes>) -> Result<(), Close> {
        let message = match message {
            Incoming::Text(text) => text.as_bytes(),
            Incoming::Binary(bytes) => bytes,
            Incoming::Ping(_) | Incoming::Pong | Incoming::Close(_) => return Ok(()),
        };
        let refused = |why| Err(Close::Channels(why));
        if self.encoding.is_pong(message) {
            // Who only listens need not answer, and may.
            return if self.signs.one_way || self.signs.pong() { Ok(()) } else { refused(Disconnect::BadRequest) };
        }
        if message.is_empty() {
            return refused(Disconnect::BadRequest);
        }
        if self.signs.waiting_bytes.fetch_add(message.len(), Ordering::Relaxed) > MOST_BYTES {
            return refused(Disconnect::TooManyRequests);
        }
        match self.queue.try_send(Input::Frame(Bytes::copy_from_slice(message))) {
            Err(TrySendError::Full(_)) => refused(Disconnect::TooManyRequests),
            // The session has ended, and the connection is about to.
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
        }
    }

    fn ping(&mut self) -> Heartbeat {
        if self.signs.native {
            return Heartbeat::Native;
        }
        if !self.signs.connected.load(Ordering::Relaxed) {
            return Heartbeat::Later;
        }
        if self.signs.one_way {
            return Heartbeat::Told(self.encoding.ping());
        }
        self.signs.asked.store(true, Ordering::Relaxed);
        Heartbeat::Message(self.encoding.ping())
    }

    fn evicted(&mut self, subscription: u64) {
        self.signs.evict(subscription);
    }
}

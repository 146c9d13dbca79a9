//! A shard: one thread, its sockets, its turns. A turn takes everything that has queued up, and each socket gets its
//! share of it in one write: direct when there is little, batched by itself when there is much, with no timer.

mod life; // how a connection begins, stays alive and ends
mod read; // what clients send

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::{Events, Poll, Token};
use slab::Slab;

use super::HubOptions;
use super::cohorts::{Cohorts, Share};
use super::conn::{Conn, Sent};
use super::inbox::{Command, Inbox, WAKE};
use crate::stream::StreamMetrics;
use crate::wire::Close;

/// Commands taken in one turn, so that sockets are read in between however fast publishers are.
const TURN_COMMANDS: usize = 1024;
/// Reads from one socket before the others have theirs.
const READS_A_TURN: usize = 8;
const READ_BUFFER_BYTES: usize = 64 << 10;
const TICK: Duration = Duration::from_secs(1);

pub(super) struct Shard {
    index: usize,
    options: HubOptions,
    poll: Poll,
    inbox: Inbox,
    metrics: StreamMetrics,
    conns: Slab<Conn>,
    /// Reserved places, until their socket comes.
    awaiting: HashMap<u64, u32>,
    cohorts: Cohorts,
    /// The one read buffer of all sockets.
    scratch: Vec<u8>,
    /// Sockets that had more to read than their share of a turn.
    unread: Vec<u32>,
    /// Closing connections, by when they are given up.
    closing: Vec<(Instant, u32, u64)>,
    next_tick: Instant,
    tick: u64,
    /// Once the server ends: until when, and what connections are told.
    drain: Option<(Instant, Close)>,
}

impl Shard {
    pub fn new(index: usize, options: HubOptions, poll: Poll, inbox: Inbox, metrics: StreamMetrics) -> Self {
        Self {
            index,
            options,
            poll,
            inbox,
            metrics,
            conns: Slab::new(),
            awaiting: HashMap::new(),
            cohorts: Cohorts::default(),
            scratch: vec![0; READ_BUFFER_BYTES],
            unread: Vec::new(),
            closing: Vec::new(),
            next_tick: Instant::now() + TICK,
            tick: 0,
            drain: None,
        }
    }

    pub fn run(mut self) {
        // A shard that is gone would swallow publications: better no process than a silent one.
        let _guard = ExitOnPanic;
        tracing::debug!(shard = self.index, "shard started");
        let mut events = Events::with_capacity(1024);
        while self.step(&mut events) {}
    }

    /// Waits for something to do and does it; `false` when the shard has been drained.
    pub fn step(&mut self, events: &mut Events) -> bool {
        self.wait(events);
        for event in &*events {
            match event.token() {
                WAKE => {}
                Token(key) => {
                    if event.is_writable() {
                        self.writable(key as u32);
                    }
                    let ended = event.is_read_closed() || event.is_error();
                    if event.is_readable() || ended {
                        self.readable(key as u32, ended);
                    }
                }
            }
        }
        for key in std::mem::take(&mut self.unread) {
            self.readable(key, true);
        }
        self.turn();
        if Instant::now() >= self.next_tick {
            self.on_tick();
        }
        self.drain.is_none_or(|(deadline, _)| !self.conns.is_empty() && Instant::now() < deadline)
    }

    fn wait(&mut self, events: &mut Events) {
        let idle = self.unread.is_empty() && self.inbox.may_sleep();
        let until = self.drain.map_or(self.next_tick, |(deadline, _)| deadline.min(self.next_tick));
        let timeout = if idle { until.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
        if let Err(error) = self.poll.poll(events, Some(timeout))
            && error.kind() != ErrorKind::Interrupted
        {
            tracing::error!(%error, shard = self.index, "polling failed");
        }
        self.inbox.awake();
    }

    /// Takes what has queued up and delivers it.
    fn turn(&mut self) {
        for _ in 0..TURN_COMMANDS {
            match self.inbox.next() {
                Some(Command::Publish { channel, publication }) => {
                    self.cohorts.stage(channel, &publication, &self.metrics);
                }
                Some(Command::Reserve(reservation)) => self.reserve(*reservation),
                Some(Command::Adopt { ticket, socket, first }) => self.adopt(ticket, socket, first),
                Some(Command::Cancel { ticket }) => {
                    if let Some(key) = self.awaiting.get(&ticket).copied() {
                        self.remove(key, "handshake not completed");
                    }
                }
                Some(Command::Drain { close, within }) => self.begin_drain(close, within),
                None => break,
            }
        }
        let shares = self.cohorts.take_turn();
        if shares.is_empty() {
            return;
        }
        for share in shares {
            self.deliver(share);
        }
        self.metrics.turns.inc();
        self.cohorts.turn_written(&self.metrics);
    }

    fn deliver(&mut self, share: Share) {
        let budget = self.options.outbox_bytes;
        let (mut whole, mut writes, mut written, mut closing) = (0, 0, 0, 0);
        let mut failed = Vec::new();
        for key in self.cohorts.members(share.cohort) {
            let Some(conn) = self.conns.get_mut(*key as usize) else { continue };
            let (bytes, messages) = match share.late.get(key) {
                None => (&share.bytes, share.messages),
                Some((_, 0)) => continue,
                Some((bytes, messages)) => (bytes, *messages),
            };
            let before = conn.waiting_bytes();
            match conn.send(bytes, messages, budget) {
                Sent::Whole => (whole, writes, written) = (whole + messages, writes + 1, written + bytes.len() as u64),
                Sent::Queued => {
                    let after = conn.waiting_bytes();
                    self.metrics.pending(before, after);
                    written += (bytes.len() - (after - before)) as u64;
                }
                Sent::Closing => closing += messages,
                other => failed.push((*key, other, messages)),
            }
        }
        self.metrics.delivered.inc_by(whole);
        self.metrics.writes.inc_by(writes);
        self.metrics.frames_per_write.observe(share.messages as f64, writes);
        self.metrics.bytes_out.inc_by(written);
        self.metrics.drop_messages("closing", closing);
        for (key, sent, messages) in failed {
            if sent == Sent::Overflow {
                self.metrics.drop_messages(Close::Slow.reason(), messages);
                self.begin_close(key, Close::Slow, false);
            } else {
                self.metrics.drop_messages("connection lost", messages);
                self.remove(key, "connection lost");
            }
        }
    }

    fn writable(&mut self, key: u32) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        if conn.outbox.is_none() {
            return;
        }
        let before = conn.waiting_bytes();
        match conn.flush() {
            Ok(messages) => {
                let after = conn.waiting_bytes();
                self.metrics.delivered.inc_by(messages);
                self.metrics.bytes_out.inc_by((before - after) as u64);
                self.metrics.pending(before, after);
                if conn.deaf && conn.outbox.is_none() {
                    // The close frame was the last word; the peer's end of the connection ends ours.
                    let _ = conn.socket.as_ref().map(|socket| socket.shutdown(Shutdown::Write));
                }
            }
            Err(()) => self.remove(key, "connection lost"),
        }
    }

    /// Sends bytes that carry no publication.
    fn send(&mut self, key: u32, bytes: &Bytes) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        let before = conn.waiting_bytes();
        match conn.send(bytes, 0, self.options.outbox_bytes) {
            Sent::Whole | Sent::Closing => {}
            Sent::Queued => self.metrics.pending(before, conn.waiting_bytes()),
            Sent::Overflow => self.begin_close(key, Close::Slow, false),
            Sent::Broken => self.remove(key, "connection lost"),
        }
    }
}

struct ExitOnPanic;

impl Drop for ExitOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a shard failed; the process ends so that its clients reconnect elsewhere");
            std::process::exit(70);
        }
    }
}

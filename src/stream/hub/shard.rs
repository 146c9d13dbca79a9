//! A shard: one thread, its sockets, its turns. A turn takes everything that has queued up, and each socket gets its
//! share of it in one write: direct when there is little, batched by itself when there is much, with no timer.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::HubOptions;
use super::cohorts::{Cohorts, Share};
use super::conn::{Conn, Sent, State};
use super::inbox::{Command, Inbox, Reservation, WAKE};
use crate::stream::StreamMetrics;
use crate::stream::metrics::ReasonLabel;
use crate::wire::{Close, Incoming, Opcode, frame};

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
    drain_until: Option<Instant>,
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
            drain_until: None,
        }
    }

    pub fn run(mut self) {
        // A shard that is gone would swallow publications: better no process than a silent one.
        let _guard = ExitOnPanic;
        tracing::debug!(shard = self.index, "shard started");
        let mut events = Events::with_capacity(1024);
        loop {
            self.wait(&mut events);
            for event in &events {
                match event.token() {
                    WAKE => {}
                    Token(key) => {
                        if event.is_writable() {
                            self.writable(key as u32);
                        }
                        if event.is_readable() || event.is_read_closed() || event.is_error() {
                            self.readable(key as u32);
                        }
                    }
                }
            }
            for key in std::mem::take(&mut self.unread) {
                self.readable(key);
            }
            self.turn();
            if Instant::now() >= self.next_tick {
                self.on_tick();
            }
            if self.drain_until.is_some_and(|deadline| self.conns.is_empty() || Instant::now() >= deadline) {
                return;
            }
        }
    }

    fn wait(&mut self, events: &mut Events) {
        let idle = self.unread.is_empty() && self.inbox.may_sleep();
        let until = self.drain_until.map_or(self.next_tick, |deadline| deadline.min(self.next_tick));
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
                Some(Command::Drain { close, within }) => self.drain(close, within),
                None => break,
            }
        }
        let shares = self.cohorts.take_turn();
        if !shares.is_empty() {
            self.metrics.turns.inc();
        }
        for share in shares {
            self.deliver(share);
        }
    }

    fn deliver(&mut self, share: Share) {
        let budget = self.options.outbox_bytes;
        let (mut whole, mut writes, mut written, mut closing, mut queued) = (0, 0, 0, 0, 0);
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
                    let waiting = conn.waiting_bytes() - before;
                    queued += waiting as i64;
                    written += (bytes.len() - waiting) as u64;
                }
                Sent::Closing => closing += messages,
                other => failed.push((*key, other, messages)),
            }
        }
        self.metrics.delivered.inc_by(whole);
        self.metrics.writes.inc_by(writes);
        self.metrics.bytes_out.inc_by(written);
        self.metrics.outbox_bytes.inc_by(queued);
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

    fn reserve(&mut self, reservation: Reservation) {
        let Reservation { ticket, place, peer } = reservation;
        let entry = self.conns.vacant_entry();
        let key = entry.key() as u32;
        let (cohort, member) = self.cohorts.join(&place.audience, key);
        entry.insert(Conn {
            socket: None,
            state: State::Awaiting,
            awaiting_pong: false,
            cohort,
            member,
            decoder: Default::default(),
            outbox: None,
            peer,
            ticket,
            place,
        });
        self.awaiting.insert(ticket, key);
    }

    fn adopt(&mut self, ticket: u64, socket: std::net::TcpStream, mut first: Vec<u8>) {
        // Not there any more when what it missed went over its budget, or when the server drains.
        let Some(key) = self.awaiting.remove(&ticket) else { return };
        let mut socket = TcpStream::from_std(socket);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut socket, Token(key as usize), interest) {
            tracing::error!(%error, "a socket could not be registered");
            self.remove(key, "connection lost");
            return;
        }
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        conn.socket = Some(socket);
        if conn.state == State::Awaiting {
            conn.state = State::Open;
        }
        if !first.is_empty() {
            self.received(key, &mut first);
        }
        self.writable(key);
    }

    fn writable(&mut self, key: u32) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        if conn.outbox.is_none() {
            return;
        }
        let before = conn.waiting_bytes();
        match conn.flush() {
            Ok(messages) => {
                let written = before - conn.waiting_bytes();
                self.metrics.delivered.inc_by(messages);
                self.metrics.bytes_out.inc_by(written as u64);
                self.metrics.outbox_bytes.dec_by(written as i64);
            }
            Err(()) => self.remove(key, "connection lost"),
        }
    }

    fn readable(&mut self, key: u32) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut reads = 0;
        while let Some(socket) = self.conns.get_mut(key as usize).and_then(|conn| conn.socket.as_mut()) {
            match socket.read(&mut scratch) {
                Ok(0) => {
                    self.remove(key, "closed without a close frame");
                    break;
                }
                Ok(length) => {
                    self.received(key, &mut scratch[..length]);
                    if length < scratch.len() {
                        break;
                    }
                    reads += 1;
                    if reads == READS_A_TURN {
                        self.unread.push(key);
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.remove(key, "connection lost");
                    break;
                }
            }
        }
        self.scratch = scratch;
    }

    fn received(&mut self, key: u32, input: &mut [u8]) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        conn.awaiting_pong = false;
        let open = conn.state == State::Open;
        let (mut replies, mut ended, mut refused, mut count) = (Vec::new(), None, None, 0);
        let peer = &mut conn.peer;
        let read = conn.decoder.read(input, self.options.max_message_bytes, &mut |message| match message {
            Incoming::Ping(payload) => replies.push(frame(Opcode::Pong, payload)),
            Incoming::Pong => {}
            Incoming::Close(code) => ended = Some(code),
            message => {
                count += 1;
                if open
                    && refused.is_none()
                    && let Err(close) = peer.message(message, &mut replies)
                {
                    refused = Some(close);
                }
            }
        });
        self.metrics.messages_in.inc_by(count);
        for reply in replies {
            self.send(key, &reply);
        }
        match (read.err().or(refused), ended) {
            (Some(close), _) => self.begin_close(key, close, true),
            (None, Some(_)) => self.closed_by_peer(key),
            (None, None) => {}
        }
    }

    /// Sends bytes that carry no publication.
    fn send(&mut self, key: u32, bytes: &Bytes) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        let before = conn.waiting_bytes();
        match conn.send(bytes, 0, self.options.outbox_bytes) {
            Sent::Whole | Sent::Closing => {}
            Sent::Queued => _ = self.metrics.outbox_bytes.inc_by((conn.waiting_bytes() - before) as i64),
            Sent::Overflow => self.begin_close(key, Close::Slow, false),
            Sent::Broken => self.remove(key, "connection lost"),
        }
    }

    /// The peer's close frame answers ours, or is answered by the same; then the socket has served.
    fn closed_by_peer(&mut self, key: u32) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        if conn.state != State::Closing {
            self.begin_close(key, Close::Normal, true);
        }
        if self.conns.contains(key as usize) {
            self.remove(key, "closed");
        }
    }

    fn begin_close(&mut self, key: u32, close: Close, flush_first: bool) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        if conn.state == State::Closing {
            return;
        }
        let before = conn.waiting_bytes() as i64;
        let dropped = conn.begin_close(close, flush_first);
        let (after, ticket) = (conn.waiting_bytes() as i64, conn.ticket);
        self.metrics.outbox_bytes.inc_by(after - before);
        self.metrics.drop_messages(close.reason(), dropped);
        self.metrics.closed.get_or_create(&ReasonLabel { reason: close.reason() }).inc();
        if close != Close::Normal {
            tracing::debug!(shard = self.index, code = close.code(), reason = close.reason(), "closing a connection");
        }
        let deadline = Instant::now() + Duration::from_millis(self.options.close_timeout_ms);
        self.closing.push((deadline, key, ticket));
        self.writable(key);
    }

    /// The connection is over: its socket, its place and what waited for it are given up.
    fn remove(&mut self, key: u32, reason: &'static str) {
        let Some(mut conn) = self.conns.try_remove(key as usize) else { return };
        self.awaiting.remove(&conn.ticket);
        if let Some(moved) = self.cohorts.leave(conn.cohort, conn.member)
            && let Some(moved) = self.conns.get_mut(moved as usize)
        {
            moved.member = conn.member;
        }
        self.metrics.outbox_bytes.dec_by(conn.waiting_bytes() as i64);
        self.metrics.drop_messages(reason, conn.waiting_messages());
        if conn.state != State::Closing {
            self.metrics.closed.get_or_create(&ReasonLabel { reason }).inc();
        }
        if let Some(socket) = &mut conn.socket {
            let _ = self.poll.registry().deregister(socket);
        }
        drop(conn.place);
    }

    /// Once a second: pings whose turn it is, pongs that are overdue, closings that took too long.
    fn on_tick(&mut self) {
        self.tick += 1;
        self.next_tick += TICK;
        let (interval, overdue) = (self.options.ping_interval_s.max(2), self.options.pong_timeout_s);
        let ping = frame(Opcode::Ping, b"");
        // The slot number spreads the pings over the interval, and costs no timer per connection.
        for key in (self.tick % interval..self.conns.capacity() as u64).step_by(interval as usize) {
            if let Some(conn) = self.conns.get_mut(key as usize)
                && conn.state == State::Open
            {
                conn.awaiting_pong = true;
                self.send(key as u32, &ping);
            }
        }
        let silent = self.tick.saturating_sub(overdue) % interval;
        for key in (silent..self.conns.capacity() as u64).step_by(interval as usize) {
            if self.tick > overdue
                && self.conns.get(key as usize).is_some_and(|conn| conn.awaiting_pong && conn.state == State::Open)
            {
                self.begin_close(key as u32, Close::NoPong, false);
            }
        }
        let now = Instant::now();
        let closing = std::mem::take(&mut self.closing).into_iter();
        let (over, later): (Vec<_>, Vec<_>) = closing.partition(|(deadline, ..)| *deadline <= now);
        self.closing = later;
        for (_, key, ticket) in over {
            if self.conns.get(key as usize).is_some_and(|conn| conn.ticket == ticket) {
                self.remove(key, "close not answered");
            }
        }
    }

    fn drain(&mut self, close: Close, within: Duration) {
        self.drain_until = Some(Instant::now() + within);
        let keys: Vec<u32> = self.conns.iter().map(|(key, _)| key as u32).collect();
        for key in keys {
            self.begin_close(key, close, true);
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

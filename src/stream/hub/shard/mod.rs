//! A shard: one thread, its sockets, its turns. A turn takes everything that has queued up, and each socket gets its
//! share of it in one write: direct when there is little, batched by itself when there is much, with no timer.

mod deliver; // a turn's messages, to the sockets
mod life; // how a connection begins, stays alive and ends
mod read; // what clients send
mod rights; // who may stay, and until when
mod tell; // what operators ask

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::ErrorKind;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::{Events, Poll, Token};
use slab::Slab;
use tokio::sync::oneshot;

use self::life::{Draining, Farewell};
use self::rights::Ends;
use self::tell::Departed;
use super::HubOptions;
use super::cohorts::Cohorts;
use super::conn::{Conn, Parcel, Sent, State};
use super::inbox::{Command, Found, Inbox, Question, WAKE};
use crate::stream::ledger::Tally;
use crate::stream::{Account, Pace, StreamMetrics, WhenFull};
use crate::wire::Close;

/// Commands taken in one turn, so that sockets are read in between however fast publishers are.
const TURN_COMMANDS: usize = 1024;
/// Reads from one socket before the others have theirs.
const READS_A_TURN: usize = 8;
const READ_BUFFER_BYTES: usize = 64 << 10;
const TICK: Duration = Duration::from_secs(1);

pub(super) struct Shard {
    index: usize,
    /// How many there are.
    shards: usize,
    options: HubOptions,
    poll: Poll,
    inbox: Inbox,
    pub(super) metrics: StreamMetrics,
    pub(super) conns: Slab<Conn>,
    /// Connections whose sessions speak to them, by number.
    pub(super) sessions: HashMap<u64, u32>,
    /// Reserved places, until their socket comes.
    awaiting: HashMap<u64, u32>,
    pub(super) cohorts: Cohorts,
    /// The one read buffer of all sockets.
    scratch: Vec<u8>,
    /// Sockets that had more to read than their share of a turn.
    unread: Vec<u32>,
    /// Who has the first publication of a subscription with patches, by cohort.
    pub(super) first_sent: Vec<(u32, Vec<u32>)>,
    /// Closing connections, by when they are given up.
    closing: Vec<(Instant, u32, u64)>,
    /// When rights end.
    ends: Ends,
    next_tick: Instant,
    tick: u64,
    /// Once the server ends.
    drain: Option<Draining>,
    /// Connections that are no more, for whoever asks what became of a message.
    departed: VecDeque<Departed>,
    /// Who waits for the books, and who asks for a client: answered between two turns.
    reports: Vec<oneshot::Sender<BTreeMap<String, Account>>>,
    questions: Vec<(Question, oneshot::Sender<Option<Found>>)>,
}

impl Shard {
    pub fn new(
        (index, shards): (usize, usize),
        options: HubOptions,
        poll: Poll,
        inbox: Inbox,
        metrics: StreamMetrics,
    ) -> Self {
        Self {
            index,
            shards,
            options,
            poll,
            inbox,
            metrics,
            conns: Slab::new(),
            sessions: HashMap::new(),
            awaiting: HashMap::new(),
            cohorts: Cohorts::default(),
            scratch: vec![0; READ_BUFFER_BYTES],
            unread: Vec::new(),
            first_sent: Vec::new(),
            closing: Vec::new(),
            ends: Ends::default(),
            next_tick: Instant::now() + TICK,
            tick: 0,
            drain: None,
            departed: VecDeque::new(),
            reports: Vec::new(),
            questions: Vec::new(),
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
        self.tell();
        if Instant::now() >= self.next_tick {
            self.on_tick();
        }
        self.drain.as_ref().is_none_or(|drain| !self.conns.is_empty() && Instant::now() < drain.until)
    }

    fn wait(&mut self, events: &mut Events) {
        let idle = self.unread.is_empty() && self.inbox.may_sleep();
        let mut until = self.drain.as_ref().map_or(self.next_tick, |drain| drain.until.min(self.next_tick));
        until = self.cohorts.next_due().map_or(until, |due| due.min(until));
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
                    self.cohorts.stage(channel, publication, &self.metrics);
                }
                Some(Command::Reserve(reservation)) => self.reserve(*reservation),
                Some(Command::Adopt { ticket, socket, first }) => self.adopt(ticket, socket, first),
                Some(Command::Cancel { ticket }) => {
                    if let Some(key) = self.awaiting.get(&ticket).copied() {
                        self.remove(key, "handshake not completed");
                    }
                }
                Some(Command::Send { ticket, frames }) => self.send_to(ticket, &frames),
                Some(Command::Cork { ticket }) => self.cork(ticket),
                Some(Command::Uncork { ticket, first }) => self.uncork(ticket, first),
                Some(Command::Subscribe { ticket, seating }) => self.subscribe(ticket, *seating),
                Some(Command::Unsubscribe { ticket, id, frames }) => self.unsubscribe(ticket, id, &frames),
                Some(Command::Close { ticket, close, frame }) => {
                    if let Some(key) = self.sessions.get(&ticket).copied() {
                        self.begin_close(key, Farewell { frame, ..Farewell::after_what_waits(close) });
                    }
                }
                Some(Command::Examine) => self.examine_all(),
                Some(Command::Drain { close, within, slots }) => self.begin_drain(close, within, slots),
                Some(Command::Report(reply)) => self.reports.push(reply),
                Some(Command::Ask { question, reply }) => self.questions.push((question, reply)),
                None => break,
            }
        }
        let emitted = self.cohorts.next_due().is_some_and(|due| due <= Instant::now())
            && self.cohorts.emit(Instant::now(), &self.metrics);
        let shares = self.cohorts.take_turn();
        let delivered = !shares.is_empty();
        for share in shares {
            self.deliver(share);
        }
        self.cohorts.turn_written(&self.metrics);
        for cohort in std::mem::take(&mut self.cohorts.broken) {
            self.evict(cohort);
        }
        for (cohort, members) in std::mem::take(&mut self.first_sent) {
            self.promote(cohort, members);
        }
        if delivered {
            self.metrics.turns.inc();
        }
        if emitted {
            for (conn, cohort, member) in self.cohorts.unite() {
                if let Some(conn) = self.conns.get_mut(conn as usize) {
                    (conn.cohort, conn.member) = (cohort, member);
                }
            }
        }
    }

    pub(super) fn writable(&mut self, key: u32) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        if conn.outbox.is_none() {
            return;
        }
        let before = conn.waiting_bytes();
        match conn.flush(&self.metrics) {
            Ok(gone) => {
                let after = conn.waiting_bytes();
                self.metrics.bytes_out.inc_by(before.saturating_sub(after) as u64);
                self.metrics.pending(before, after);
                if conn.deaf && conn.outbox.is_none() && conn.state == State::Closing {
                    // The close frame was the last word; the peer's end of the connection ends ours.
                    let _ = conn.socket.as_ref().map(|socket| socket.shutdown(Shutdown::Write));
                }
                self.metrics.delivered.inc_by(gone.total());
                self.cohorts.ledger.each(&gone, 1, |account, count| {
                    account.pending -= count;
                    account.delivered += count;
                });
            }
            Err(()) => self.remove(key, "connection lost"),
        }
    }

    /// Sends bytes that carry no publication.
    pub(super) fn send(&mut self, key: u32, bytes: &Bytes) {
        let Some(conn) = self.conns.get_mut(key as usize).filter(|_| !bytes.is_empty()) else { return };
        let before = conn.waiting_bytes();
        let spec = &conn.place.audience.spec;
        let (pace, form) = (Pace { when_full: WhenFull::Close, ..spec.pace }, spec.form);
        let parcel = Parcel { bytes, tally: &Tally::default(), staged: &[], pace, form };
        match conn.send(&parcel, self.options.outbox_bytes, || None) {
            Sent::Whole | Sent::Closing => {}
            Sent::Queued(_) => self.metrics.pending(before, conn.waiting_bytes()),
            Sent::Overflow(_) => {
                self.metrics.pending(before, conn.waiting_bytes());
                self.begin_close(key, Farewell::at_once(Close::Slow));
            }
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

//! One connection of a shard: its socket, what it sent in part, and what it has not taken yet.

use std::io::{ErrorKind, Write};

use bytes::Bytes;
use mio::net::TcpStream;

use super::cohorts::{Staged, tally};
use super::seats::Seat;
use super::{Peer, Place};
use crate::stream::ledger::Tally;
use crate::stream::outbox::{Abandoned, Chunk, Marks, Outbox, frame_end};
use crate::stream::{Pace, StreamMetrics, WhenFull};
use crate::wire::{Decoder, Form};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Reserved: the handshake's answer is on its way, the socket comes after it.
    Awaiting,
    Open,
    /// A close frame is queued or written; publications no longer go out.
    Closing,
}

pub(super) struct Conn {
    pub socket: Option<TcpStream>,
    pub state: State,
    pub awaiting_pong: bool,
    /// Its cohort, and its index among the members there.
    pub cohort: u32,
    pub member: u32,
    pub decoder: Decoder,
    /// What it sends cannot be understood any more: it is read and dropped until it ends, since closing a socket with
    /// unread input would reset the connection and take our close frame with it.
    pub deaf: bool,
    /// Only while something waits: an idle connection holds no buffer.
    pub outbox: Option<Box<Outbox>>,
    pub peer: Box<dyn Peer>,
    /// Told apart from a later connection in the same slot.
    pub ticket: u64,
    /// The soonest end of its right that its shard has noted.
    pub ends_noted_ms: i64,
    /// From where on it is to get everything.
    pub began: Marks,
    pub place: Place,
    /// Its channels, where its session takes them one by one.
    #[allow(clippy::box_collection, reason = "one word a connection that has none, as most have")]
    pub seats: Option<Box<Vec<Seat>>>,
    /// Everything waits in the outbox, since something is to go before it.
    pub corked: bool,
}

/// Messages for a connection, in one run of bytes.
pub(super) struct Parcel<'a> {
    pub bytes: &'a Bytes,
    pub tally: &'a Tally,
    pub staged: &'a [Staged],
    pub pace: Pace,
    pub form: Form,
}

/// What became of a parcel.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The kernel has it.
    Whole,
    /// What the kernel did not take waits.
    Queued(Kept),
    /// More would wait than may; some of it does.
    Overflow(Kept),
    /// The connection is closing; it goes nowhere.
    Closing,
    /// The socket is dead.
    Broken,
}

/// What of a parcel waits, and what a later message now stands for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub queued: Tally,
    pub conflated: Tally,
}

impl Conn {
    /// Writes at once what the socket takes; the rest waits, up to `budget_bytes`. `before` is where the client resumes
    /// that gets none of it.
    pub fn send(&mut self, parcel: &Parcel<'_>, budget_bytes: usize, before: impl Fn() -> Option<Marks>) -> Sent {
        if self.state == State::Closing {
            return Sent::Closing;
        }
        let bytes = parcel.bytes;
        let written = match (&self.outbox, &mut self.socket) {
            (None, Some(socket)) => match write(socket, bytes) {
                Ok(written) if written == bytes.len() => return Sent::Whole,
                Ok(written) => written,
                Err(_) => return Sent::Broken,
            },
            _ => 0,
        };
        let outbox = self.outbox.get_or_insert_default();
        let fits = outbox.budgeted_bytes() + bytes.len() - written <= budget_bytes;
        if fits && !outbox.keeps_latest() {
            let chunk = Chunk { bytes: bytes.slice(written..), tally: parcel.tally.clone(), before: before() };
            if written > 0 {
                outbox.push_rest(chunk);
            } else {
                outbox.push(chunk);
            }
            return Sent::Queued(Kept { queued: parcel.tally.clone(), conflated: Tally::default() });
        }
        // The frame that is half written goes out whole; what follows it is over the budget.
        let (end, frames) = frame_end(bytes, written);
        let (begun, over) = parcel.staged.split_at(frames.min(parcel.staged.len()));
        let mut kept = Kept { queued: tally(begun), conflated: Tally::default() };
        if written > 0 {
            outbox.push_rest(Chunk { bytes: bytes.slice(written..end), tally: tally(begun), before: before() });
        }
        if parcel.pace.when_full == WhenFull::Close {
            return Sent::Overflow(kept);
        }
        for staged in over {
            let Some(publication) = &staged.publication else { return Sent::Overflow(kept) };
            if outbox.keep_latest(staged.channel, publication, parcel.pace.folds, parcel.form, &before) {
                kept.conflated.join(&Tally::one(staged.channel));
            } else {
                kept.queued.join(&Tally::one(staged.channel));
            }
        }
        // The latest of each key may take as much again: then even that is too much.
        if outbox.budgeted_bytes() > budget_bytes.saturating_mul(2) { Sent::Overflow(kept) } else { Sent::Queued(kept) }
    }

    /// Writes what waits. Answers the publications that have now gone out, or that the socket is dead.
    pub fn flush(&mut self, metrics: &StreamMetrics) -> Result<Tally, ()> {
        let mut gone = Tally::default();
        let (Some(outbox), Some(socket), false) = (&mut self.outbox, &mut self.socket, self.corked) else {
            return Ok(gone);
        };
        loop {
            while let Some(front) = outbox.front() {
                let (length, written) = (front.len(), write(socket, front).map_err(|_| ())?);
                if let Some(tally) = outbox.advance(written) {
                    gone.join(&tally);
                }
                if written < length {
                    return Ok(gone);
                }
            }
            outbox.promote_latest(metrics);
            if outbox.front().is_none() {
                self.outbox = None;
                return Ok(gone);
            }
        }
    }

    /// Queues the close frame behind what is half written and gives the rest up; answers what that was.
    pub fn begin_close(&mut self, frame: impl FnOnce(&Abandoned) -> Bytes, flush_first: bool) -> Tally {
        self.state = State::Closing;
        self.corked = false;
        let outbox = self.outbox.get_or_insert_default();
        let abandoned = if flush_first { Abandoned::default() } else { outbox.abandon() };
        outbox.push(Chunk { bytes: frame(&abandoned), tally: Tally::default(), before: None });
        abandoned.tally
    }

    pub fn waiting_bytes(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.size_bytes())
    }

    pub fn waiting(&self) -> Tally {
        self.outbox.as_ref().map_or_else(Tally::default, |outbox| outbox.tally())
    }
}

/// One write; 0 when the socket takes nothing now.
fn write(socket: &mut TcpStream, bytes: &[u8]) -> std::io::Result<usize> {
    loop {
        match socket.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => return Ok(written),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

//! One connection of a shard: its socket, what it sent in part, and what it has not taken yet.

use std::io::{ErrorKind, Write};

use bytes::Bytes;
use mio::net::TcpStream;

use super::{Peer, Place};
use crate::stream::outbox::Outbox;
use crate::wire::{Close, Decoder};

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
    pub place: Place,
}

/// What became of bytes given to a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The kernel has them.
    Whole,
    /// They wait in the outbox.
    Queued,
    /// They would not fit: the client is too slow.
    Overflow,
    /// The connection is closing; they go nowhere.
    Closing,
    /// The socket is dead.
    Broken,
}

impl Conn {
    /// Writes at once what the socket takes; the rest waits, up to `budget_bytes`.
    pub fn send(&mut self, bytes: &Bytes, messages: u64, budget_bytes: usize) -> Sent {
        if self.state == State::Closing {
            return Sent::Closing;
        }
        let written = match (&self.outbox, &mut self.socket) {
            (None, Some(socket)) => match write(socket, bytes) {
                Ok(written) if written == bytes.len() => return Sent::Whole,
                Ok(written) => written,
                Err(_) => return Sent::Broken,
            },
            _ => 0,
        };
        let waiting = self.outbox.as_ref().map_or(0, |outbox| outbox.size_bytes());
        if waiting + bytes.len() - written > budget_bytes && written == 0 {
            return Sent::Overflow;
        }
        let outbox = self.outbox.get_or_insert_default();
        if written > 0 {
            outbox.push_rest(bytes.slice(written..), messages);
        } else {
            outbox.push(bytes.clone(), messages);
        }
        Sent::Queued
    }

    /// Writes what waits. Answers the publications that have now gone out, or that the socket is dead.
    pub fn flush(&mut self) -> Result<u64, ()> {
        let (Some(outbox), Some(socket)) = (&mut self.outbox, &mut self.socket) else { return Ok(0) };
        let mut messages = 0;
        while let Some(front) = outbox.front() {
            let (length, written) = (front.len(), write(socket, front).map_err(|_| ())?);
            messages += outbox.advance(written);
            if written < length {
                return Ok(messages);
            }
        }
        self.outbox = None;
        Ok(messages)
    }

    /// Queues the close frame behind what is half written and gives the rest up; answers how many publications.
    pub fn begin_close(&mut self, close: Close, flush_first: bool) -> u64 {
        self.state = State::Closing;
        let outbox = self.outbox.get_or_insert_default();
        let dropped = if flush_first { 0 } else { outbox.abandon() };
        outbox.push(crate::wire::close_frame(close), 0);
        dropped
    }

    pub fn waiting_bytes(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.size_bytes())
    }

    pub fn waiting_messages(&self) -> u64 {
        self.outbox.as_ref().map_or(0, |outbox| outbox.messages())
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

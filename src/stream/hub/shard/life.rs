//! How a connection begins, stays alive and ends.

use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Token};

use super::{Shard, TICK};
use crate::stream::hub::conn::{Conn, State};
use crate::stream::hub::inbox::Reservation;
use crate::stream::metrics::ReasonLabel;
use crate::wire::{Close, Opcode, frame};

impl Shard {
    pub(super) fn reserve(&mut self, reservation: Reservation) {
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
            deaf: false,
            outbox: None,
            peer,
            ticket,
            place,
        });
        self.awaiting.insert(ticket, key);
        if let Some((_, close)) = self.drain {
            // Its handshake was under way when the drain began.
            self.begin_close(key, close, true);
        }
    }

    pub(super) fn adopt(&mut self, ticket: u64, socket: std::net::TcpStream, mut first: Vec<u8>) {
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

    pub(super) fn begin_close(&mut self, key: u32, close: Close, flush_first: bool) {
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
    pub(super) fn remove(&mut self, key: u32, reason: &'static str) {
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
    pub(super) fn on_tick(&mut self) {
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

    pub(super) fn begin_drain(&mut self, close: Close, within: Duration) {
        self.drain = Some((Instant::now() + within, close));
        let keys: Vec<u32> = self.conns.iter().map(|(key, _)| key as u32).collect();
        for key in keys {
            self.begin_close(key, close, true);
        }
    }
}

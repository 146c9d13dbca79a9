//! How a connection begins, stays alive and ends.

use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::net::TcpStream;
use mio::{Interest, Token};
use serde_json::json;

use super::{Shard, TICK};
use crate::stream::hub::Beginning;
use crate::stream::hub::Heartbeat;
use crate::stream::hub::conn::{Conn, State};
use crate::stream::hub::drain::Slots;
use crate::stream::hub::inbox::Reservation;
use crate::stream::metrics::ReasonLabel;
use crate::stream::outbox::{Abandoned, Marks, Outbox};
use crate::stream::resume_token;
use crate::wire::centrifuge::Disconnect;
use crate::wire::{Close, Dialect, sse};

/// How a connection is ended by this side.
pub(super) struct Farewell {
    pub close: Close,
    /// What waits goes out first; else it is given up, and the client told where to resume.
    pub flush_first: bool,
    /// Where the client resumes when nothing of what waits has been given up.
    pub resume: Option<Marks>,
    /// When it is to come back.
    pub slot: Option<Duration>,
    /// The close frame where it is not that of `close`.
    pub frame: Option<Bytes>,
}

impl Farewell {
    pub fn at_once(close: Close) -> Self {
        Self { close, flush_first: false, resume: None, slot: None, frame: None }
    }

    pub fn after_what_waits(close: Close) -> Self {
        Self { flush_first: true, ..Self::at_once(close) }
    }
}

/// A shard that is coming to its end.
pub(super) struct Draining {
    pub until: Instant,
    close: Close,
    slots: Slots,
    /// Connections that have their slot.
    told: usize,
}

impl Shard {
    pub(super) fn reserve(&mut self, reservation: Reservation) {
        let Reservation { place, peer, beginning } = reservation;
        let Beginning { ticket, marks, from, backlog, books, .. } = beginning;
        let talks = place.audience.spec.form.shape().is_some();
        let entry = self.conns.vacant_entry();
        let key = entry.key() as u32;
        let (cohort, member) = self.cohorts.join(&place.audience, key, &marks);
        let mut outbox = (!backlog.is_empty()).then(Box::<Outbox>::default);
        if let Some(outbox) = &mut outbox {
            backlog.into_iter().for_each(|chunk| outbox.push_backlog(chunk));
            self.metrics.pending(0, outbox.size_bytes());
        }
        for (channel, account) in books {
            self.metrics.recovered.inc_by(account.recovered);
            self.metrics.filtered.inc_by(account.filtered);
            self.metrics.conflated.inc_by(account.conflated);
            self.cohorts.ledger.of(channel).join(&account);
        }
        entry.insert(Conn {
            socket: None,
            state: State::Awaiting,
            awaiting_pong: false,
            cohort,
            member,
            decoder: Default::default(),
            deaf: false,
            outbox,
            peer,
            ticket,
            ends_noted_ms: i64::MAX,
            began: from,
            seats: None,
            corked: false,
            place,
        });
        self.awaiting.insert(ticket, key);
        if talks {
            self.sessions.insert(ticket, key);
        }
        self.note_end(key);
        // Its handshake was under way when the drain began.
        self.drain_one(key);
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
        // What let it in may have been taken back while it was on its way here.
        self.examine(key);
        if !first.is_empty() {
            self.received(key, &mut first);
        }
        self.writable(key);
    }

    pub(super) fn begin_close(&mut self, key: u32, farewell: Farewell) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        if conn.state == State::Closing {
            return;
        }
        let Farewell { close, flush_first, resume, slot, frame: own } = farewell;
        let (audience, cohort) = (conn.place.audience.clone(), conn.cohort);
        let dialect = audience.spec.form.dialect;
        let talks = audience.spec.form.shape().is_some();
        let stands = || self.cohorts.marks(&audience, cohort);
        let before = conn.waiting_bytes();
        let frame = |abandoned: &Abandoned| {
            let marks = abandoned.before.clone().or(resume);
            let detail = match (close, slot) {
                // Its clients compare the reason, and know where they are.
                _ if talks => return own.unwrap_or_else(|| dialect.close(close, "")),
                (Close::Slow, _) => format!("since={}", resume_token(marks.unwrap_or_else(stands).iter())),
                (_, Some(slot)) => format!("after_ms={}", slot.as_millis()),
                _ => String::new(),
            };
            dialect.close(close, &detail)
        };
        // Whoever cannot answer is not waited for: its end is ours.
        conn.deaf |= !dialect.answers();
        let dropped = conn.begin_close(frame, flush_first);
        let ticket = conn.ticket;
        self.metrics.pending(before, conn.waiting_bytes());
        self.abandoned(close.reason(), &dropped);
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
        self.remember(&conn, reason);
        if let Some(moved) = self.cohorts.leave(conn.cohort, conn.member, reason)
            && let Some(moved) = self.conns.get_mut(moved as usize)
        {
            moved.moved(conn.cohort, conn.member);
        }
        if conn.place.audience.spec.form.shape().is_some() {
            self.sessions.remove(&conn.ticket);
            for seat in conn.seats.take().into_iter().flat_map(|seats| *seats) {
                self.give_up(&seat, reason);
            }
        }
        self.metrics.pending(conn.waiting_bytes(), 0);
        self.abandoned(reason, &conn.waiting());
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
        // The slot number spreads the pings over the interval, and costs no timer per connection.
        for key in (self.tick % interval..self.conns.capacity() as u64).step_by(interval as usize) {
            if let Some(conn) = self.conns.get_mut(key as usize)
                && conn.state == State::Open
            {
                let own = match conn.peer.ping() {
                    Heartbeat::Native => None,
                    Heartbeat::Message(frame) => Some(frame),
                    Heartbeat::Told(frame) => {
                        self.send(key as u32, &frame);
                        continue;
                    }
                    Heartbeat::Later => continue,
                };
                let dialect = conn.place.audience.spec.form.dialect;
                conn.awaiting_pong = dialect.answers();
                let (cohort, waits) = (conn.cohort, conn.outbox.is_some());
                let ping = own.unwrap_or_else(|| match self.cohorts.id(cohort).filter(|_| !waits) {
                    Some(id) => sse::heartbeat_at(&id),
                    None => dialect.ping(),
                });
                self.send(key as u32, &ping);
            }
        }
        let silent = self.tick.saturating_sub(overdue) % interval;
        for key in (silent..self.conns.capacity() as u64).step_by(interval as usize) {
            if self.tick > overdue
                && self.conns.get(key as usize).is_some_and(|conn| conn.awaiting_pong && conn.state == State::Open)
            {
                self.begin_close(key as u32, Farewell::at_once(Close::NoPong));
            }
        }
        self.end_rights();
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

    pub(super) fn begin_drain(&mut self, close: Close, within: Duration, slots: Slots) {
        self.drain = Some(Draining { until: Instant::now() + within, close, slots, told: 0 });
        let keys: Vec<u32> = self.conns.iter().map(|(key, _)| key as u32).collect();
        for key in keys {
            self.drain_one(key);
        }
    }

    /// Tells one client when to come back and where to resume, and closes behind what waits for it.
    fn drain_one(&mut self, key: u32) {
        let (Some(drain), Some(conn)) = (&mut self.drain, self.conns.get(key as usize)) else { return };
        // The shards deal the slots out in turn.
        let slot = drain.slots.delay(drain.told * self.shards + self.index);
        let close = drain.close;
        drain.told += 1;
        let audience = &conn.place.audience;
        if audience.spec.form.shape().is_some() {
            let close = Close::Channels(Disconnect::Shutdown);
            return self.begin_close(key, Farewell::after_what_waits(close));
        }
        let since = resume_token(self.cohorts.marks(audience, conn.cohort).iter());
        let notice = json!({ "message_type": "reconnect", "after_ms": slot.as_millis() as u64, "since": since });
        let dialect = audience.spec.form.dialect;
        let frame = dialect.encode(notice.to_string().as_bytes());
        if dialect == Dialect::Sse {
            // A browser comes back by itself: then, and from there.
            self.send(key, &sse::retry(slot.as_millis() as u64));
            self.send(key, &sse::event_with_id(&since, &frame));
        } else {
            self.send(key, &frame);
        }
        self.begin_close(key, Farewell { slot: Some(slot), ..Farewell::after_what_waits(close) });
    }
}

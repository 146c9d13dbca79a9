//! The channels that one connection is on beside its own place: how they begin and end on its shard.

use bytes::Bytes;

use super::client::Seating;
use super::conn::{Conn, State};
use super::place::Place;
use super::shard::Shard;
use crate::stream::ledger::Tally;
use crate::stream::outbox::Chunk;

/// One of several memberships of a connection.
pub(super) struct Seat {
    pub id: u64,
    pub cohort: u32,
    pub member: u32,
    pub place: Place,
    /// Where it goes on after its first publication.
    then: Option<Place>,
}

impl Conn {
    /// Told when another member has left its index in a cohort to this one.
    pub fn moved(&mut self, cohort: u32, member: u32) {
        if self.cohort == cohort {
            self.member = member;
        } else if let Some(seat) = self.seats.iter_mut().flat_map(|seats| seats.iter_mut()).find(|s| s.cohort == cohort)
        {
            seat.member = member;
        }
    }

    fn take_seat(&mut self, which: impl Fn(&Seat) -> bool) -> Option<Seat> {
        let seats = self.seats.as_mut()?;
        let index = seats.iter().position(which)?;
        Some(seats.swap_remove(index))
    }
}

impl Shard {
    /// The connection with this number, if its session may speak for it.
    fn spoken_for(&mut self, ticket: u64) -> Option<(u32, &mut Conn)> {
        let key = *self.sessions.get(&ticket)?;
        let conn = self.conns.get_mut(key as usize)?;
        (conn.state != State::Closing).then_some((key, conn))
    }

    pub(super) fn send_to(&mut self, ticket: u64, frames: &Bytes) {
        if let Some((key, _)) = self.spoken_for(ticket) {
            self.send(key, frames);
        }
    }

    pub(super) fn cork(&mut self, ticket: u64) {
        if let Some((_, conn)) = self.spoken_for(ticket)
            && conn.outbox.is_none()
        {
            conn.corked = true;
            conn.outbox = Some(Box::default());
        }
    }

    pub(super) fn uncork(&mut self, ticket: u64, first: Bytes) {
        let Some((key, conn)) = self.spoken_for(ticket) else { return };
        if !conn.corked {
            return self.send(key, &first);
        }
        conn.corked = false;
        let before = conn.waiting_bytes();
        if !first.is_empty() {
            conn.outbox.get_or_insert_default().push_front(first);
        }
        let after = conn.waiting_bytes();
        self.metrics.pending(before, after);
        self.writable(key);
    }

    pub(super) fn subscribe(&mut self, ticket: u64, seating: Seating) {
        let Some((key, _)) = self.spoken_for(ticket) else { return };
        let Seating { id, place, then, marks, reply, book } = seating;
        let (cohort, member) = self.cohorts.join(&place.audience, key, &marks);
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        conn.seats.get_or_insert_default().push(Seat { id, cohort, member, place, then });
        if reply.is_empty() {
            return;
        }
        let Some((channel, account)) = book else { return self.send(key, &reply) };
        // What was missed is not held against the client's budget.
        let tally = Tally::from(&[(channel, account.pending as u32)][..]);
        let before = conn.waiting_bytes();
        conn.outbox.get_or_insert_default().push_backlog(Chunk { bytes: reply, tally, before: None });
        self.metrics.pending(before, conn.waiting_bytes());
        self.metrics.recovered.inc_by(account.recovered);
        self.metrics.filtered.inc_by(account.filtered);
        self.cohorts.ledger.of(channel).join(&account);
        self.writable(key);
    }

    pub(super) fn unsubscribe(&mut self, ticket: u64, id: u64, frames: &Bytes) {
        let Some((key, conn)) = self.spoken_for(ticket) else { return };
        if let Some(seat) = conn.take_seat(|seat| seat.id == id) {
            self.give_up(&seat, "unsubscribed");
        }
        self.send(key, frames);
    }

    pub(super) fn give_up(&mut self, seat: &Seat, reason: &'static str) {
        if let Some(moved) = self.cohorts.leave(seat.cohort, seat.member, reason)
            && let Some(moved) = self.conns.get_mut(moved as usize)
        {
            moved.moved(seat.cohort, seat.member);
        }
    }

    /// After a gap: its subscribers have been told to come again, each from where it was.
    pub(super) fn evict(&mut self, cohort: u32) {
        for key in self.cohorts.members(cohort).to_vec() {
            let seat = self.conns.get_mut(key as usize).and_then(|conn| {
                let seat = conn.take_seat(|seat| seat.cohort == cohort)?;
                conn.peer.evicted(seat.id);
                Some(seat)
            });
            if let Some(seat) = seat {
                self.give_up(&seat, "insufficient state");
            }
        }
    }

    /// Those who have their first publication go on where patches are sent.
    pub(super) fn promote(&mut self, cohort: u32, members: Vec<u32>) {
        for key in members {
            let seat = self.conns.get_mut(key as usize).and_then(|conn| conn.take_seat(|seat| seat.cohort == cohort));
            let Some(mut seat) = seat else { continue };
            self.give_up(&seat, "");
            let Some(then) = seat.then.take() else { continue };
            let (cohort, member) = self.cohorts.join(&then.audience, key, &[]);
            if let Some(conn) = self.conns.get_mut(key as usize) {
                // The first place stays: who is present hangs on it.
                let seat = Seat { id: seat.id, cohort, member, place: seat.place, then: Some(then) };
                conn.seats.get_or_insert_default().push(seat);
            }
        }
    }
}

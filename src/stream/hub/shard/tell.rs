//! What operators ask: the books, and what became of one client. Answered between two turns, when the books balance.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Shard;
use crate::clock::Clock;
use crate::stream::hub::conn::Conn;
use crate::stream::hub::inbox::{Found, Question};
use crate::stream::outbox::Marks;
use crate::stream::{AudienceSpec, Channel, Mark};

/// Connections that are remembered after their end.
const DEPARTED: usize = 4_096;

/// A connection that is no more. It does not hold its audience: that would keep channels subscribed.
pub(super) struct Departed {
    ticket: u64,
    audience: u64,
    spec: Arc<AudienceSpec>,
    began: Marks,
    /// Where its client resumes: everything before has been handed to the kernel.
    reached: Marks,
    reason: &'static str,
    at: DateTime<Utc>,
}

impl Shard {
    pub(super) fn tell(&mut self) {
        for reply in self.reports.drain(..) {
            // Whoever asked may be gone.
            let _ = reply.send(self.cohorts.ledger.report());
        }
        for (question, reply) in std::mem::take(&mut self.questions) {
            let _ = reply.send(self.find(&question));
        }
    }

    /// Keeps what `explain` needs of a connection that ends.
    pub(super) fn remember(&mut self, conn: &Conn, reason: &'static str) {
        let audience = &conn.place.audience;
        let waiting = conn.outbox.as_ref().and_then(|outbox| outbox.resume().cloned());
        let reached = waiting.unwrap_or_else(|| self.cohorts.marks(audience, conn.cohort));
        if self.departed.len() >= DEPARTED {
            self.departed.pop_front();
        }
        self.departed.push_back(Departed {
            ticket: conn.ticket,
            audience: audience.id,
            spec: audience.spec.clone(),
            began: conn.began.clone(),
            reached,
            reason,
            at: Clock::system().now(),
        });
    }

    fn find(&self, question: &Question) -> Option<Found> {
        let folded = |audience: u64, spec: &AudienceSpec| {
            self.cohorts.recent.find(audience, question.publication.as_ref()?, spec.pace)
        };
        if let Some((_, conn)) = self.conns.iter().find(|(_, conn)| conn.ticket == question.ticket) {
            let audience = &conn.place.audience;
            let stands = self.cohorts.marks(audience, conn.cohort);
            let waiting = conn.outbox.as_ref().and_then(|outbox| outbox.resume());
            let mark = |marks: &[Mark]| mark_of(&audience.spec, marks, &question.channel);
            return Some(Found {
                audience: audience.spec.clone(),
                began: mark(&conn.began),
                reached: mark(waiting.unwrap_or(&stands)),
                waits: waiting.is_some(),
                ended: None,
                folded_into: folded(audience.id, &audience.spec),
            });
        }
        let gone = self.departed.iter().rev().find(|gone| gone.ticket == question.ticket)?;
        Some(Found {
            audience: gone.spec.clone(),
            began: mark_of(&gone.spec, &gone.began, &question.channel),
            reached: mark_of(&gone.spec, &gone.reached, &question.channel),
            waits: false,
            ended: Some((gone.reason, gone.at)),
            folded_into: folded(gone.audience, &gone.spec),
        })
    }
}

fn mark_of(spec: &AudienceSpec, marks: &[Mark], channel: &Channel) -> Option<Mark> {
    let index = spec.channels.iter().position(|own| own == channel)?;
    marks.get(index).cloned()
}

//! A turn's messages, to the sockets.

use crate::stream::Audience;
use crate::stream::hub::cohorts::{Share, Staged, tally};
use crate::stream::hub::conn::{Parcel, Sent};
use crate::stream::ledger::Tally;
use crate::stream::outbox::Marks;
use crate::wire::Close;
use crate::wire::centrifuge::Delta;

use super::Shard;
use super::life::Farewell;

/// Members of the share's cohort that it brought a publication of the channel itself.
fn first_sent(share: &Share, members: &[u32], audience: &Audience) -> Option<(u32, Vec<u32>)> {
    let channel = audience.watches.first()?.active.id;
    let own = |staged: &[Staged]| staged.iter().any(|staged| staged.channel == Some(channel));
    let got = |key: &&u32| share.late.get(*key).map_or(own(&share.staged), |(_, from)| own(&share.staged[*from..]));
    let members: Vec<u32> = members.iter().filter(got).copied().collect();
    (!members.is_empty()).then_some((share.cohort, members))
}

impl Shard {
    pub(super) fn deliver(&mut self, share: Share) {
        let budget = self.options.outbox_bytes;
        let (mut whole, mut written) = (0, 0);
        // What is not the common case: a connection, what became of its part, and what its part was.
        let mut others: Vec<(u32, Sent, Tally)> = Vec::new();
        let cohorts = &self.cohorts;
        let Some(audience) = cohorts.cohorts.get(share.cohort as usize).map(|cohort| cohort.audience.clone()) else {
            return;
        };
        let (pace, form) = (audience.spec.pace, audience.spec.form);
        let before = || Some(share.before.get_or_init(|| cohorts.marks(&audience, share.cohort)).clone());
        let common = Parcel { bytes: &share.bytes, tally: &share.tally, staged: &share.staged, pace, form };
        for key in cohorts.members(share.cohort) {
            let Some(conn) = self.conns.get_mut(*key as usize) else { continue };
            if !share.late.is_empty()
                && let Some((bytes, from)) = share.late.get(key)
            {
                if !bytes.is_empty() {
                    let messages = tally(&share.staged[*from..]);
                    let had = conn.waiting_bytes();
                    let staged = &share.staged[*from..];
                    let sent = conn.send(&Parcel { bytes, tally: &messages, staged, pace, form }, budget, before);
                    self.metrics.pending(had, conn.waiting_bytes());
                    others.push((*key, sent, messages));
                }
                continue;
            }
            let had = conn.waiting_bytes();
            match conn.send(&common, budget, before) {
                Sent::Whole => whole += 1,
                sent => {
                    let has = conn.waiting_bytes();
                    if matches!(sent, Sent::Queued(_) | Sent::Overflow(_)) {
                        self.metrics.pending(had, has);
                        // Of what was to be sent, what neither waits nor was given up has been written.
                        written += (had + share.bytes.len()).saturating_sub(has) as u64;
                    }
                    others.push((*key, sent, share.tally.clone()));
                }
            }
        }
        if form.shape().is_some_and(|shape| shape.delta == Delta::Fresh) {
            self.first_sent.extend(first_sent(&share, cohorts.members(share.cohort), &audience));
        }
        written += whole * share.bytes.len() as u64;
        let resume = if others.is_empty() { None } else { before() };
        self.metrics.delivered.inc_by(whole * share.tally.total());
        self.metrics.writes.inc_by(whole);
        self.metrics.frames_per_write.observe(share.staged.len() as f64, whole);
        self.metrics.bytes_out.inc_by(written);
        let ledger = &mut self.cohorts.ledger;
        ledger.each(&share.tally, whole, |account, count| account.delivered += count);
        for (key, sent, messages) in others {
            self.settle(key, sent, messages, resume.clone());
        }
    }

    /// Keeps the books of a part that was not simply written, and does what it asks for.
    fn settle(&mut self, key: u32, sent: Sent, messages: Tally, resume: Option<Marks>) {
        match sent {
            Sent::Whole => {
                self.metrics.delivered.inc_by(messages.total());
                self.cohorts.ledger.each(&messages, 1, |account, count| account.delivered += count);
            }
            Sent::Queued(kept) => self.keep(&kept.queued, &kept.conflated),
            Sent::Overflow(kept) => {
                self.keep(&kept.queued, &kept.conflated);
                let lost = messages.without(&kept.queued).without(&kept.conflated);
                self.dropped(Close::Slow.reason(), &lost);
                self.begin_close(key, Farewell { resume, ..Farewell::at_once(Close::Slow) });
            }
            Sent::Closing => self.dropped("closing", &messages),
            Sent::Broken => {
                self.dropped("connection lost", &messages);
                self.remove(key, "connection lost");
            }
        }
    }

    fn keep(&mut self, queued: &Tally, conflated: &Tally) {
        self.metrics.conflated.inc_by(conflated.total());
        let ledger = &mut self.cohorts.ledger;
        ledger.each(queued, 1, |account, count| account.pending += count);
        ledger.each(conflated, 1, |account, count| account.conflated += count);
    }

    /// Publications that a connection will not get, and had not been told to wait.
    pub(super) fn dropped(&mut self, reason: &'static str, messages: &Tally) {
        self.metrics.drop_messages(reason, messages.total());
        self.cohorts.ledger.each(messages, 1, |account, count| *account.dropped.entry(reason).or_default() += count);
    }

    /// The same of what waited.
    pub(super) fn abandoned(&mut self, reason: &'static str, messages: &Tally) {
        self.cohorts.ledger.each(messages, 1, |account, count| account.pending -= count);
        self.dropped(reason, messages);
    }
}

//! Paced cohorts: messages of one key within an interval become one. All cohorts of one interval emit at the same
//! moments, so that those of one audience can be joined again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cohorts::{Cohorts, Staged};
use crate::stream::fold::{Fold, Folds, may_fold};
use crate::stream::ledger::Tally;
use crate::stream::{Channel, Kind, Mark, Pace, Position, Publication, StreamMetrics};

/// What one cohort holds; more is sent before its time.
const MOST_BYTES: usize = 1 << 20;
/// Folds that are remembered, for whoever asks what became of a message.
const REMEMBERED: usize = 4_096;

/// What one paced cohort holds for later.
#[derive(Default)]
pub(super) struct Paced {
    folds: Folds,
    due: Option<Instant>,
    /// While folds are being written: where their channels stand for whoever gets none of them.
    emitting: Vec<(u64, Position)>,
}

impl Paced {
    /// Takes the message in if it may be folded, or if it must not overtake what is folded; answers whether it has.
    pub fn hold(&mut self, channel: u64, publication: &Arc<Publication>, pace: Pace) -> bool {
        let overtakes = || self.folds.iter().any(|fold| fold.last.channel == publication.channel);
        if !may_fold(publication, pace.folds) && !overtakes() {
            return false;
        }
        let data = publication.kind == Kind::Data;
        self.folds.add(data.then_some(channel), publication, pace.folds);
        let now = Instant::now();
        let due = self.due.get_or_insert_with(|| next_moment(now, pace.interval_ms));
        // The server's own word does not wait, nor does more than may be held.
        if !data || self.folds.size_bytes() > MOST_BYTES {
            *due = now;
        }
        true
    }

    /// A channel's mark for a member of the cohort: before everything that is held or being written.
    pub fn hold_back(&self, channel: u64, mark: &mut Mark) {
        let own = self.emitting.iter().filter(|(of, _)| *of == channel).map(|(_, before)| before);
        own.for_each(|before| mark.hold_back(before));
        for fold in self.folds.iter().filter(|fold| fold.channel == Some(channel)) {
            fold.before().inspect(|before| mark.hold_back(before));
        }
    }

    /// The folds that were emitted have been written.
    pub fn written(&mut self) {
        self.emitting.clear();
    }

    pub fn holds(&self) -> bool {
        !self.folds.is_empty()
    }

    /// Publications that it holds for each of its members.
    pub fn held(&self) -> Tally {
        let mut tally = Tally::default();
        for fold in self.folds.iter() {
            if let Some(channel) = fold.channel {
                tally.add(channel, u32::try_from(fold.count).unwrap_or(u32::MAX));
            }
        }
        tally
    }
}

/// The next multiple of the interval, counted from one moment of the process.
fn next_moment(now: Instant, interval_ms: u32) -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let start = *START.get_or_init(|| now);
    let interval = Duration::from_millis(u64::from(interval_ms.max(1)));
    let since = now.saturating_duration_since(start);
    let passed = since.as_nanos() / interval.as_nanos();
    start + interval * u32::try_from(passed + 1).unwrap_or(u32::MAX)
}

/// The last folds that were sent.
#[derive(Default)]
pub(super) struct Recent(VecDeque<Sent>);

struct Sent {
    audience: u64,
    channel: Channel,
    epoch: Arc<str>,
    /// Every offset of one key between the two was folded; the ring does not say which, but the key does.
    key_of: Arc<Publication>,
    count: u64,
    first: u64,
}

impl Recent {
    /// The fold that was sent to an audience and carries this publication: its last offset and how many it stands for.
    pub fn find(&self, audience: u64, publication: &Publication, pace: Pace) -> Option<(u64, u64)> {
        let position = publication.position.as_ref()?;
        let rule = pace.folds.iter().find(|rule| rule.channel == publication.channel.as_str())?;
        let same_key = |sent: &Sent| {
            rule.key.iter().all(|field| sent.key_of.values_of(field).next() == publication.values_of(field).next())
        };
        let found = self.0.iter().rev().find(|sent| {
            sent.audience == audience
                && sent.channel == publication.channel
                && sent.epoch == position.epoch
                && (sent.first..=sent.key_of.offset()).contains(&position.offset)
                && same_key(sent)
        });
        found.map(|sent| (sent.key_of.offset(), sent.count))
    }

    fn add(&mut self, sent: Sent) {
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(sent);
    }
}

impl Cohorts {
    /// When the next folds are to be sent.
    pub fn next_due(&self) -> Option<Instant> {
        let due = |key: &u32| self.cohorts.get(*key as usize)?.paced.as_ref()?.due;
        self.holding.iter().filter_map(due).min()
    }

    /// Puts the folds whose time has come into the turn; each stands for what its members had pending. Answers whether
    /// there were any.
    pub fn emit(&mut self, now: Instant, metrics: &StreamMetrics) -> bool {
        let mut emitted = false;
        for key in std::mem::take(&mut self.holding) {
            let Some(cohort) = self.cohorts.get_mut(key as usize) else { continue };
            let Some(paced) = &mut cohort.paced else { continue };
            if paced.due.is_none_or(|due| due > now) {
                self.holding.push(key);
                continue;
            }
            paced.due = None;
            let before = |fold: &Fold| Some((fold.channel?, fold.before()?));
            paced.emitting.extend(paced.folds.iter().filter_map(before));
            self.emitted.push(key);
            let (folds, members, form) = (paced.folds.take(), cohort.members.len() as u64, cohort.audience.spec.form);
            let audience = cohort.audience.id;
            for fold in folds {
                if let Some(channel) = fold.channel {
                    let account = self.ledger.of(channel);
                    account.pending -= fold.count * members;
                    account.conflated += (fold.count - 1) * members;
                }
                metrics.conflated.inc_by((fold.count - 1) * members);
                let frame = fold.frame(form, fold.folds(), metrics);
                let frame = match self.cohorts.get_mut(key as usize) {
                    Some(cohort) => cohort.numbered(frame, &fold.last),
                    None => frame,
                };
                if let (Some(position), 2..) = (&fold.last.position, fold.count) {
                    let channel = fold.last.channel.clone();
                    let (epoch, count, first) = (position.epoch.clone(), fold.count, fold.first_offset());
                    self.recent.add(Sent { audience, channel, epoch, key_of: fold.last.clone(), count, first });
                }
                self.put(key, Staged { frame, channel: fold.channel, publication: None });
            }
            emitted = true;
        }
        emitted
    }

    /// Joins cohorts of one audience that hold nothing any more. Answers which connections have moved, and where to.
    pub fn unite(&mut self) -> Vec<(u32, u32, u32)> {
        let mut moved = Vec::new();
        let several: Vec<Vec<u32>> = self.by_audience.values().filter(|keys| keys.len() > 1).cloned().collect();
        for keys in several {
            let holds = |key: &u32| self.cohorts[*key as usize].paced.as_ref().is_some_and(|paced| paced.holds());
            let mut empty = keys.into_iter().filter(|key| !holds(key)).collect::<Vec<_>>().into_iter();
            let Some(first) = empty.next() else { continue };
            for key in empty {
                let members = std::mem::take(&mut self.cohorts[key as usize].members);
                for conn in members {
                    let into = &mut self.cohorts[first as usize].members;
                    into.push(conn);
                    moved.push((conn, first, into.len() as u32 - 1));
                }
                self.dissolve(key);
            }
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_the_same_for_everybody() {
        let now = Instant::now();
        let first = next_moment(now, 500);
        assert!(first > now && first - now <= Duration::from_millis(500));
        assert_eq!(next_moment(first - Duration::from_millis(1), 500), first);
        assert_eq!(next_moment(first, 500), first + Duration::from_millis(500));
    }
}

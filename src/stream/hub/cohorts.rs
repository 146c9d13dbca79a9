//! Cohorts: the members of one audience on one shard, and what the turn has for them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use slab::Slab;

use super::listeners::Listeners;
use crate::stream::audience::Audience;
use crate::stream::{Publication, StreamMetrics};

pub(super) struct Cohort {
    audience: Arc<Audience>,
    /// Keys of connections, contiguous: a turn walks them once.
    members: Vec<u32>,
    /// Frames of this turn, in the broker's order.
    turn: Vec<Bytes>,
    /// Members that came when the turn had so many frames already: those are not for them.
    late: Vec<(u32, usize)>,
    /// The last publication that was staged; one that is found by two of its values is staged once.
    last_staged: u64,
}

#[derive(Default)]
pub(super) struct Cohorts {
    cohorts: Slab<Cohort>,
    by_audience: HashMap<u64, u32>,
    by_channel: HashMap<u64, Listeners>,
    /// Cohorts that have something this turn.
    touched: Vec<u32>,
    /// Publications staged so far.
    staged: u64,
    /// This turn's publications: when they were accepted, and how many connections they are for.
    accepted: Vec<(Instant, u64)>,
}

/// One cohort's share of a turn, ready to be written to each member.
pub(super) struct Share {
    pub cohort: u32,
    pub bytes: Bytes,
    pub messages: u64,
    /// The same for members that came during the turn: what was published after each of them.
    pub late: HashMap<u32, (Bytes, u64)>,
}

impl Cohorts {
    /// Adds a connection; answers its cohort and its index among the members.
    pub fn join(&mut self, audience: &Arc<Audience>, conn: u32) -> (u32, u32) {
        let key = match self.by_audience.get(&audience.id) {
            Some(key) => *key,
            None => self.found(audience),
        };
        for watch in &audience.watches {
            if let Some(listeners) = self.by_channel.get_mut(&watch.active.id) {
                listeners.members += 1;
            }
        }
        let cohort = &mut self.cohorts[key as usize];
        if !cohort.turn.is_empty() {
            cohort.late.push((conn, cohort.turn.len()));
        }
        cohort.members.push(conn);
        (key, cohort.members.len() as u32 - 1)
    }

    fn found(&mut self, audience: &Arc<Audience>) -> u32 {
        let cohort = Cohort {
            audience: audience.clone(),
            members: Vec::new(),
            turn: Vec::new(),
            late: Vec::new(),
            last_staged: 0,
        };
        let key = self.cohorts.insert(cohort) as u32;
        self.by_audience.insert(audience.id, key);
        for watch in &audience.watches {
            self.by_channel.entry(watch.active.id).or_default().add(key, &audience.spec.filter);
        }
        key
    }

    /// Removes the member at `member`; answers which connection has moved into its index, if one has.
    pub fn leave(&mut self, key: u32, member: u32) -> Option<u32> {
        let cohort = &mut self.cohorts[key as usize];
        let conn = cohort.members.swap_remove(member as usize);
        cohort.late.retain(|(late, _)| *late != conn);
        for watch in &cohort.audience.watches {
            if let Some(listeners) = self.by_channel.get_mut(&watch.active.id) {
                listeners.members -= 1;
            }
        }
        let moved = cohort.members.get(member as usize).copied();
        if cohort.members.is_empty() && cohort.turn.is_empty() {
            self.dissolve(key);
        }
        moved
    }

    fn dissolve(&mut self, key: u32) {
        let cohort = self.cohorts.remove(key as usize);
        self.by_audience.remove(&cohort.audience.id);
        for watch in &cohort.audience.watches {
            if let Some(listeners) = self.by_channel.get_mut(&watch.active.id) {
                listeners.remove(key, &cohort.audience.spec.filter);
                if listeners.is_empty() {
                    self.by_channel.remove(&watch.active.id);
                }
            }
        }
    }

    /// Puts the publication into the turn of every cohort that wants it. The frame is shared, not copied.
    pub fn stage(&mut self, channel: u64, publication: &Publication, metrics: &StreamMetrics) {
        let Some(listeners) = self.by_channel.get(&channel) else { return };
        self.staged += 1;
        let mut wanted = 0;
        listeners.each_that_may_want(publication, |key| {
            let cohort = &mut self.cohorts[key as usize];
            let spec = &cohort.audience.spec;
            if cohort.last_staged == self.staged || !spec.filter.passes(publication) {
                return;
            }
            cohort.last_staged = self.staged;
            wanted += cohort.members.len() as u64;
            if cohort.turn.is_empty() {
                self.touched.push(key);
            }
            cohort.turn.push(publication.frame(spec.dialect, metrics).clone());
        });
        metrics.filtered.inc_by(listeners.members - wanted);
        self.accepted.push((publication.accepted_at, wanted));
    }

    /// Told when the turn's writes are done.
    pub fn turn_written(&mut self, metrics: &StreamMetrics) {
        let now = Instant::now();
        for (accepted_at, connections) in self.accepted.drain(..) {
            metrics.latency.observe((now - accepted_at).as_secs_f64(), connections);
        }
    }

    /// Ends the turn: each touched cohort's frames as one run of bytes.
    pub fn take_turn(&mut self) -> Vec<Share> {
        let mut shares = Vec::with_capacity(self.touched.len());
        for key in std::mem::take(&mut self.touched) {
            let cohort = &mut self.cohorts[key as usize];
            let late = late_shares(&cohort.turn, std::mem::take(&mut cohort.late));
            let share = Share { cohort: key, bytes: join(&cohort.turn), messages: cohort.turn.len() as u64, late };
            cohort.turn.clear();
            if cohort.members.is_empty() {
                self.dissolve(key);
            } else {
                shares.push(share);
            }
        }
        shares
    }

    pub fn members(&self, key: u32) -> &[u32] {
        self.cohorts.get(key as usize).map_or(&[], |cohort| &cohort.members)
    }
}

/// What each late member gets; those that came between the same two frames share the bytes.
fn late_shares(frames: &[Bytes], late: Vec<(u32, usize)>) -> HashMap<u32, (Bytes, u64)> {
    let mut shares = HashMap::with_capacity(late.len());
    let mut last = None;
    for (conn, from) in late {
        let bytes = match last.take() {
            Some((same, bytes)) if same == from => bytes,
            _ => join(&frames[from..]),
        };
        shares.insert(conn, (bytes.clone(), (frames.len() - from) as u64));
        last = Some((from, bytes));
    }
    shares
}

/// One frame is shared as it is; several become one contiguous run.
fn join(frames: &[Bytes]) -> Bytes {
    match frames {
        [] => Bytes::new(),
        [only] => only.clone(),
        several => {
            let mut run = BytesMut::with_capacity(several.iter().map(Bytes::len).sum());
            several.iter().for_each(|frame| run.extend_from_slice(frame));
            run.freeze()
        }
    }
}

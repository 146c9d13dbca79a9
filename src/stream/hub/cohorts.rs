//! Cohorts: the members of one audience on one shard, and what the turn has for them.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use slab::Slab;

use super::ids::Ids;
use super::listeners::Listeners;
use super::pace::{Paced, Recent};
use crate::stream::audience::Audience;
use crate::stream::ledger::{Account, Ledger, Tally};
use crate::stream::outbox::{Chunk, Marks};
use crate::stream::{Kind, Mark, Publication, StreamMetrics, WhenFull, resume_token};
use crate::telemetry::trace;
use crate::wire::Dialect;

/// What a connection begins with.
pub(in crate::stream) struct Beginning {
    pub ticket: u64,
    /// Where each channel of its audience stood when its place was taken.
    pub marks: Marks,
    /// From where on it is to get everything: earlier than that when it resumes.
    pub from: Marks,
    /// What it is sent before anything live, and what that is on each channel's books.
    pub backlog: Vec<Chunk>,
    pub books: Vec<(u64, Account)>,
    /// Who it is, for presence.
    pub user: Option<Arc<str>>,
}

pub(super) struct Cohort {
    pub audience: Arc<Audience>,
    /// Keys of connections, contiguous: a turn walks them once.
    pub members: Vec<u32>,
    /// What this turn has, in the broker's order.
    turn: Vec<Staged>,
    /// Members that came when the turn had so much already: that is not for them.
    late: Vec<(u32, usize)>,
    /// The last publication that was staged; one that is found by two of its values is staged once.
    last_staged: u64,
    /// When messages become fewer by time.
    pub paced: Option<Box<Paced>>,
    /// When each message says where the client stands then.
    pub ids: Option<Box<Ids>>,
}

impl Cohort {
    /// The frame as this cohort's members get it.
    pub fn numbered(&mut self, frame: Bytes, publication: &Publication) -> Bytes {
        let Some(ids) = &mut self.ids else { return frame };
        let index = self.audience.watches.iter().position(|watch| watch.active.channel == publication.channel);
        ids.event(index, &frame, publication)
    }
}

/// One message of a turn. The frame is shared, not copied.
pub(super) struct Staged {
    pub frame: Bytes,
    /// `None` for the server's own words: no books are kept about them.
    pub channel: Option<u64>,
    /// Kept where a slow member may have only the latest of its key.
    pub publication: Option<Arc<Publication>>,
}

#[derive(Default)]
pub(super) struct Cohorts {
    pub(super) cohorts: Slab<Cohort>,
    /// Several while a paced one has something that is not for those who come now.
    pub(super) by_audience: HashMap<u64, Vec<u32>>,
    by_channel: HashMap<u64, Listeners>,
    /// Cohorts that have something this turn.
    touched: Vec<u32>,
    /// Paced cohorts that hold something for later.
    pub(super) holding: Vec<u32>,
    /// Cohorts that have been told of a gap, and whose members come again.
    pub(super) broken: Vec<u32>,
    /// Those whose folds are part of this turn.
    pub(super) emitted: Vec<u32>,
    /// Publications staged so far.
    staged: u64,
    /// This turn's publications, and how many connections each is for.
    turn: Vec<(u64, Arc<Publication>, u64)>,
    pub ledger: Ledger,
    pub recent: Recent,
}

/// One cohort's share of a turn, ready to be written to each member.
pub(super) struct Share {
    pub cohort: u32,
    pub bytes: Bytes,
    pub tally: Tally,
    pub staged: Vec<Staged>,
    /// The same for members that came during the turn: what was published after each of them.
    pub late: HashMap<u32, (Bytes, usize)>,
    /// Where a member resumes that gets none of it; made when one needs it.
    pub before: OnceCell<Marks>,
}

impl Cohorts {
    /// Adds a connection; answers its cohort and its index among the members.
    pub fn join(&mut self, audience: &Arc<Audience>, conn: u32, marks: &[Mark]) -> (u32, u32) {
        let known = self.by_audience.get(&audience.id).map_or(&[][..], |keys| keys);
        let holds = |key: &&u32| self.cohorts[**key as usize].paced.as_ref().is_some_and(|paced| paced.holds());
        let key = match known.iter().find(|key| !holds(key)).copied() {
            Some(key) => key,
            None => self.found(audience),
        };
        for (index, watch) in audience.watches.iter().enumerate() {
            if let Some(listeners) = self.by_channel.get_mut(&watch.active.id) {
                listeners.members += 1;
                listeners.mark = listeners.mark.take().or_else(|| marks.get(index).cloned());
            }
        }
        let cohort = &mut self.cohorts[key as usize];
        if let Some(ids) = &mut cohort.ids {
            marks.iter().enumerate().for_each(|(index, mark)| ids.at_least(index, mark));
        }
        if !cohort.turn.is_empty() {
            cohort.late.push((conn, cohort.turn.len()));
        }
        cohort.members.push(conn);
        (key, cohort.members.len() as u32 - 1)
    }

    fn found(&mut self, audience: &Arc<Audience>) -> u32 {
        let paced = (audience.spec.pace.interval_ms > 0).then(Box::default);
        let cohort = Cohort {
            audience: audience.clone(),
            members: Vec::new(),
            turn: Vec::new(),
            late: Vec::new(),
            last_staged: 0,
            paced,
            ids: (audience.spec.form.dialect == Dialect::Sse).then(|| Box::new(Ids::new(audience.watches.len()))),
        };
        let key = self.cohorts.insert(cohort) as u32;
        self.by_audience.entry(audience.id).or_default().push(key);
        for watch in &audience.watches {
            self.ledger.open(watch.active.id, &watch.active.channel);
            let listeners = self.by_channel.entry(watch.active.id).or_default();
            listeners.add(key, &watch.active.channel, &audience.spec.filter);
        }
        key
    }

    /// Removes the member at `member`; answers which connection has moved into its index, if one has.
    pub fn leave(&mut self, key: u32, member: u32, reason: &'static str) -> Option<u32> {
        let cohort = &mut self.cohorts[key as usize];
        let conn = cohort.members.swap_remove(member as usize);
        let late = cohort.late.iter().find(|(late, _)| *late == conn).map_or(0, |(_, from)| *from);
        cohort.late.retain(|(late, _)| *late != conn);
        // What this turn, or a fold, had for it.
        let unsent = tally(cohort.turn.iter().skip(late));
        let held = cohort.paced.as_ref().map(|paced| paced.held()).unwrap_or_default();
        self.ledger.each(&unsent, 1, |account, count| *account.dropped.entry(reason).or_default() += count);
        self.ledger.each(&held, 1, |account, count| {
            account.pending -= count;
            *account.dropped.entry(reason).or_default() += count;
        });
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

    pub(super) fn dissolve(&mut self, key: u32) {
        let cohort = self.cohorts.remove(key as usize);
        self.holding.retain(|holding| *holding != key);
        if let Some(keys) = self.by_audience.get_mut(&cohort.audience.id) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.by_audience.remove(&cohort.audience.id);
            }
        }
        for watch in &cohort.audience.watches {
            if let Some(listeners) = self.by_channel.get_mut(&watch.active.id) {
                listeners.remove(key, &watch.active.channel, &cohort.audience.spec.filter);
                if listeners.is_empty() {
                    self.by_channel.remove(&watch.active.id);
                    self.ledger.close(watch.active.id);
                }
            }
        }
    }

    /// Puts the publication into the turn of every cohort that wants it.
    pub fn stage(&mut self, channel: u64, publication: Arc<Publication>, metrics: &StreamMetrics) {
        let Some(listeners) = self.by_channel.get(&channel) else { return };
        self.staged += 1;
        let data = publication.kind == Kind::Data;
        let (mut wanted, mut held) = (0, 0);
        listeners.each_that_may_want(&publication, |key| {
            let cohort = &mut self.cohorts[key as usize];
            let spec = &cohort.audience.spec;
            if cohort.last_staged == self.staged || !spec.filter.passes(&publication) {
                return;
            }
            cohort.last_staged = self.staged;
            if spec.by_server && publication.restart.is_some() && spec.form.shape().is_some() {
                return self.broken.push(key);
            }
            // Of what the channel protocol has no word for, its cohorts get nothing.
            let push = spec.form.shape().map(|_| publication.frame_for(spec, metrics));
            if push.as_ref().is_some_and(Bytes::is_empty) {
                return;
            }
            if publication.restart.is_some() && spec.form.shape().is_some() {
                self.broken.push(key);
            }
            let members = cohort.members.len() as u64;
            if let Some(paced) = &mut cohort.paced
                && paced.hold(channel, &publication, spec.pace)
            {
                held += members;
                if !self.holding.contains(&key) {
                    self.holding.push(key);
                }
                return;
            }
            wanted += members;
            let keep = spec.pace.when_full == WhenFull::KeepLatest;
            let frame = push.unwrap_or_else(|| publication.frame(spec.form, metrics).clone());
            if cohort.turn.is_empty() {
                self.touched.push(key);
                // Nothing is held back: what the channels have said so far is behind the members.
                if let (Some(ids), false) = (&mut cohort.ids, cohort.paced.as_ref().is_some_and(|paced| paced.holds()))
                {
                    for (index, watch) in cohort.audience.watches.iter().enumerate() {
                        let mark = self.by_channel.get(&watch.active.id).and_then(|listeners| listeners.mark.as_ref());
                        mark.into_iter().for_each(|mark| ids.at_least(index, mark));
                    }
                }
            }
            let frame = cohort.numbered(frame, &publication);
            cohort.turn.push(Staged {
                frame,
                channel: data.then_some(channel),
                publication: keep.then(|| publication.clone()),
            });
        });
        if data {
            let filtered = listeners.members - wanted - held;
            metrics.filtered.inc_by(filtered);
            let account = self.ledger.of(channel);
            account.accepted += 1;
            account.offered += listeners.members;
            account.filtered += filtered;
            account.pending += held;
        }
        self.turn.push((channel, publication, wanted));
    }

    /// Told when the turn's writes are done: now the channels stand behind what the turn had.
    pub fn turn_written(&mut self, metrics: &StreamMetrics) {
        for key in self.emitted.drain(..) {
            if let Some(paced) = self.cohorts.get_mut(key as usize).and_then(|cohort| cohort.paced.as_mut()) {
                paced.written();
            }
        }
        let now = Instant::now();
        for (channel, publication, connections) in self.turn.drain(..) {
            metrics.latency.observe((now - publication.accepted_at).as_secs_f64(), connections);
            if let Some(above) = trace::of_tags(&publication.tags) {
                let attributes: [(&str, &dyn std::fmt::Display); 2] =
                    [("messaging.destination.name", &publication.channel), ("connections", &connections)];
                trace::span(above, "shard.write", trace::Kind::Consumer, publication.accepted_at, &attributes);
            }
            let Some(listeners) = self.by_channel.get_mut(&channel) else { continue };
            match (&publication.restart, &publication.position, &mut listeners.mark) {
                (Some(restart), _, mark) => *mark = Some(restart.clone()),
                (None, Some(position), Some(mark)) => mark.reach(position),
                _ => {}
            }
        }
    }

    /// Ends the turn: each touched cohort's frames as one run of bytes.
    pub fn take_turn(&mut self) -> Vec<Share> {
        let mut shares = Vec::with_capacity(self.touched.len());
        for key in std::mem::take(&mut self.touched) {
            let cohort = &mut self.cohorts[key as usize];
            let staged = std::mem::take(&mut cohort.turn);
            let late = late_shares(&staged, std::mem::take(&mut cohort.late));
            if cohort.members.is_empty() {
                self.dissolve(key);
                continue;
            }
            let (bytes, tally) = (join(&staged), tally(&staged));
            shares.push(Share { cohort: key, bytes, tally, staged, late, before: OnceCell::new() });
        }
        shares
    }

    /// Adds to the turn what is not a publication of this turn: the folds whose time has come.
    pub(super) fn put(&mut self, key: u32, staged: Staged) {
        let cohort = &mut self.cohorts[key as usize];
        if cohort.turn.is_empty() {
            self.touched.push(key);
        }
        cohort.turn.push(staged);
    }

    pub fn members(&self, key: u32) -> &[u32] {
        self.cohorts.get(key as usize).map_or(&[], |cohort| &cohort.members)
    }

    /// Where each member of a cohort stands, between two turns, when its messages say so and none is held back.
    pub fn id(&self, key: u32) -> Option<String> {
        let cohort = self.cohorts.get(key as usize)?;
        let holds = cohort.paced.as_ref().is_some_and(|paced| paced.holds());
        (cohort.ids.is_some() && !holds).then(|| resume_token(self.marks(&cohort.audience, key).iter()))
    }

    /// Where the channels stand for a member of the cohort, as of the last turn that was written: before what is held.
    pub fn marks(&self, audience: &Audience, key: u32) -> Marks {
        let paced = self.cohorts.get(key as usize).and_then(|cohort| cohort.paced.as_ref());
        let marks = audience.watches.iter().map(|watch| {
            let known = self.by_channel.get(&watch.active.id).and_then(|listeners| listeners.mark.clone());
            let mut mark = known.unwrap_or_else(Mark::unknown);
            if let Some(paced) = paced {
                paced.hold_back(watch.active.id, &mut mark);
            }
            mark
        });
        audience.share_marks(marks.collect())
    }
}

pub(super) fn tally<'a>(staged: impl IntoIterator<Item = &'a Staged>) -> Tally {
    let mut tally = Tally::default();
    staged.into_iter().filter_map(|staged| staged.channel).for_each(|channel| tally.add(channel, 1));
    tally
}

/// What each late member gets, and from which message on; those that came between the same two share the bytes.
fn late_shares(staged: &[Staged], late: Vec<(u32, usize)>) -> HashMap<u32, (Bytes, usize)> {
    let mut shares = HashMap::with_capacity(late.len());
    let mut last = None;
    for (conn, from) in late {
        let bytes = match last.take() {
            Some((same, bytes)) if same == from => bytes,
            _ => join(&staged[from..]),
        };
        shares.insert(conn, (bytes.clone(), from));
        last = Some((from, bytes));
    }
    shares
}

/// One frame is shared as it is; several become one contiguous run.
fn join(staged: &[Staged]) -> Bytes {
    match staged {
        [] => Bytes::new(),
        [only] => only.frame.clone(),
        several => {
            let mut run = BytesMut::with_capacity(several.iter().map(|staged| staged.frame.len()).sum());
            several.iter().for_each(|staged| run.extend_from_slice(&staged.frame));
            run.freeze()
        }
    }
}

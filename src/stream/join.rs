//! A client's place: exactly between two publications of each of its channels, behind what it missed.
//!
//! While the place is taken, the channels' lines are held: what was delivered before is in their history, what comes
//! after reaches the connection by itself. So nothing is missed and nothing comes twice, at any load.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use serde_json::json;
use tokio::sync::MutexGuard;

use super::fold::Folds;
use super::hub::{Beginning, event_behind};
use super::ledger::{Account, Tally};
use super::line::{Coverage, Line};
use super::outbox::Chunk;
use super::position::resume_token;
use super::{Audience, Channel, Mark, Node, Peer, Position, Publication, Ticket};
use crate::wire::{Dialect, sse};

/// How long a client's place may take to be found: for this long what it has seen may still be on its way to this node.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);
/// Frames of the backlog that are written together.
const CHUNK_BYTES: usize = 64 << 10;

/// What a client begins with.
#[derive(Default)]
pub struct Joining {
    /// What it has seen, when it resumes.
    pub since: Vec<Position>,
    /// What this node must have delivered before the client's place is right.
    pub not_before: Vec<(Channel, Position)>,
    pub on_gap: OnGap,
    /// Why it is told that it missed something, when an earlier attempt has shown that.
    pub missed: Option<&'static str>,
    /// Messages that it is sent before everything else.
    pub snapshot: Vec<Bytes>,
    /// Who it is; presence tells the others.
    pub user: Option<Arc<str>>,
    /// Keys of publications that the snapshot contains already.
    pub contained: HashSet<Arc<str>>,
}

/// What to do when something of what it missed is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnGap {
    /// Tell the client, and go on from now.
    #[default]
    Announce,
    /// Take no place: the caller comes again with a snapshot.
    Refuse,
}

/// Something is gone; the peer is given back.
pub struct Missed {
    pub peer: Box<dyn Peer>,
    pub reason: &'static str,
}

/// What is to be done about one channel.
enum Step {
    Send(Vec<Arc<Publication>>),
    /// Not resumed: from now on.
    Live,
    Gap(&'static str),
}

impl Node {
    /// Takes a place in the hub for a connection whose handshake is about to be answered.
    pub async fn connect(
        &self,
        audience: Arc<Audience>,
        peer: Box<dyn Peer>,
        joining: Joining,
    ) -> Result<Ticket, Missed> {
        let deadline = Instant::now() + PATIENCE;
        let mut read = HashMap::new();
        loop {
            let late = Instant::now() >= deadline;
            let mut lines = HashMap::new();
            let mut order: Vec<_> = audience.watches.iter().map(|watch| &watch.active).collect();
            order.sort_by_key(|active| active.id);
            for active in order {
                lines.insert(active.id, active.line.lock().await);
            }
            let (mut steps, mut to_read, mut wait) = (Vec::new(), Vec::new(), false);
            for watch in &audience.watches {
                let line = &lines[&watch.active.id];
                let behind = joining.not_before.iter().any(|(channel, position)| {
                    *channel == watch.active.channel && line.mark().is_none_or(|mark| is_behind(mark, position))
                });
                let coverage = coverage(line, &joining, &lines, read.get(&watch.active.id).map(Vec::as_slice));
                let step = match coverage {
                    _ if behind && !late => {
                        wait = true;
                        Step::Live
                    }
                    None => Step::Live,
                    Some(Coverage::Whole(missed)) => Step::Send(missed),
                    Some(Coverage::Read(after)) => {
                        to_read.push((watch.active.id, watch.active.channel.clone(), after));
                        Step::Live
                    }
                    Some(Coverage::Ahead) if !late => {
                        wait = true;
                        Step::Live
                    }
                    Some(Coverage::Ahead) => Step::Gap("unknown position"),
                    Some(Coverage::Missing) => Step::Gap("history too short"),
                };
                steps.push(step);
            }
            if wait || !to_read.is_empty() {
                drop(lines);
                for (id, channel, after) in to_read {
                    let past = self.broker().history(&channel, after).await;
                    read.insert(id, past.map(|past| past.publications).unwrap_or_default());
                }
                if wait {
                    tokio::time::sleep(PAUSE).await;
                }
                continue;
            }
            let gap = steps.iter().find_map(|step| if let Step::Gap(reason) = step { Some(*reason) } else { None });
            if let (OnGap::Refuse, Some(reason)) = (joining.on_gap, gap) {
                return Err(Missed { peer, reason });
            }
            let beginning = self.beginning(&audience, &lines, steps, &joining);
            // With the lines held: see above.
            return Ok(self.hub().connect(audience.clone(), peer, beginning).await);
        }
    }

    fn beginning(
        &self,
        audience: &Audience,
        lines: &HashMap<u64, MutexGuard<'_, Line>>,
        steps: Vec<Step>,
        joining: &Joining,
    ) -> Beginning {
        let stand = |line: &Line| line.mark().cloned().unwrap_or_else(Mark::unknown);
        let stands: Vec<Mark> = audience.watches.iter().map(|watch| stand(&lines[&watch.active.id])).collect();
        let ticket = self.hub().next_ticket();
        let mut backlog = Backlog::new(audience, self, stands.clone());
        let mut channels = serde_json::Map::new();
        for (index, (watch, step)) in audience.watches.iter().zip(&steps).enumerate() {
            let Some(mark) = backlog.at.get_mut(index) else { continue };
            if let Step::Send(_) = step {
                // From what it has seen; what it does not name begins where the channel stands.
                let own = |line: &Position| joining.since.iter().find(|seen| seen.epoch == line.epoch).cloned();
                *mark = Mark {
                    shared: own(&mark.shared).unwrap_or_else(|| mark.shared.clone()),
                    local: own(&mark.local).unwrap_or_else(|| mark.local.clone()),
                };
            }
            let missed = if let Step::Send(missed) = step { missed.len() } else { 0 };
            let stand = &stands[index].shared;
            channels.insert(
                watch.active.channel.to_string(),
                json!({
                    "epoch": &*stand.epoch, "offset": stand.offset, "recovered": missed,
                    "gap": matches!(step, Step::Gap(_)) || joining.missed.is_some(),
                }),
            );
        }
        let from = audience.share_marks(backlog.at.clone());
        let spec = audience.spec();
        if spec.form.positioned {
            backlog.message(&json!({
                "message_type": "subscribed", "feed": spec.feed, "client": self.hub().client_name(ticket),
                "since": resume_token(&backlog.at), "channels": channels,
            }));
        }
        for (watch, step) in audience.watches.iter().zip(&steps) {
            let (channel, line) = (&watch.active.channel, &lines[&watch.active.id]);
            let gap = if let Step::Gap(reason) = step { Some(*reason) } else { joining.missed };
            if let (Some(reason), Some(mark)) = (gap, line.mark()) {
                let notice = Publication::gap(channel.clone(), reason, mark);
                backlog.bytes(notice.frame(spec.form, self.hub().metrics()));
            }
            if let Some(since) = line.stale_since {
                let silent_ms = since.elapsed().as_millis() as u64;
                let stale = json!({ "message_type": "stale", "channel": channel.as_str(), "silent_ms": silent_ms });
                backlog.message(&stale);
            }
        }
        for message in &joining.snapshot {
            backlog.bytes(&spec.form.dialect.encode(message));
        }
        if spec.form.dialect == Dialect::Sse {
            // Not before: a browser that is cut off within the snapshot is to get it again.
            backlog.bytes(&sse::id(&resume_token(&backlog.at)));
        }
        for (index, (watch, step)) in audience.watches.iter().zip(steps).enumerate() {
            if let Step::Send(missed) = step {
                backlog.replay(watch.active.id, index, missed, &joining.contained);
            }
        }
        let (backlog, books) = backlog.end();
        Beginning { ticket, marks: audience.share_marks(stands), from, backlog, books, user: joining.user.clone() }
    }
}

/// What a client missed of one channel; `None` when it does not resume there.
fn coverage(
    line: &Line,
    joining: &Joining,
    lines: &HashMap<u64, MutexGuard<'_, Line>>,
    read: Option<&[Arc<Publication>]>,
) -> Option<Coverage> {
    let mark = line.mark()?;
    let of = |position: &&Position| mark.in_epoch(&position.epoch).is_some();
    let own: Vec<Position> = joining.since.iter().filter(of).cloned().collect();
    let known = |position: &Position| {
        lines.values().any(|line| line.mark().is_some_and(|mark| mark.in_epoch(&position.epoch).is_some()))
    };
    // Of a numbering that has ended, or of another node's own: it may have been this channel's.
    let strange =
        joining.since.iter().filter(|position| !known(position) && (!position.is_local() || position.offset > 0));
    for position in strange {
        if !own.iter().any(|own| own.is_local() == position.is_local()) {
            return Some(Coverage::Missing);
        }
    }
    (!own.is_empty()).then(|| line.missed(&own, read))
}

fn is_behind(mark: &Mark, position: &Position) -> bool {
    mark.in_epoch(&position.epoch).is_some_and(|own| own.offset < position.offset)
}

/// What a connection is sent before anything live, chunk by chunk.
struct Backlog<'a> {
    audience: &'a Audience,
    node: &'a Node,
    /// Where a client resumes that has everything so far.
    at: Vec<Mark>,
    chunks: Vec<Chunk>,
    bytes: BytesMut,
    tally: Tally,
    before: Vec<Mark>,
    books: Vec<(u64, Account)>,
}

impl<'a> Backlog<'a> {
    fn new(audience: &'a Audience, node: &'a Node, at: Vec<Mark>) -> Self {
        let (bytes, tally, before) = (BytesMut::new(), Tally::default(), at.clone());
        Self { audience, node, at, chunks: Vec::new(), bytes, tally, before, books: Vec::new() }
    }

    fn message(&mut self, message: &serde_json::Value) {
        self.bytes(&self.audience.spec().form.dialect.encode(message.to_string().as_bytes()));
    }

    fn bytes(&mut self, frame: &Bytes) {
        if self.bytes.is_empty() {
            self.before.clone_from(&self.at);
        }
        self.bytes.extend_from_slice(frame);
        if self.bytes.len() >= CHUNK_BYTES {
            self.close_chunk();
        }
    }

    fn close_chunk(&mut self) {
        if !self.bytes.is_empty() {
            let before = Some(self.audience.share_marks(self.before.clone()));
            let tally = std::mem::take(&mut self.tally);
            self.chunks.push(Chunk { bytes: self.bytes.split().freeze(), tally, before });
        }
    }

    /// What was missed of one channel, as this audience sees it.
    fn replay(&mut self, id: u64, index: usize, missed: Vec<Arc<Publication>>, contained: &HashSet<Arc<str>>) {
        let (spec, metrics) = (self.audience.spec(), self.node.hub().metrics());
        let mut account = Account::default();
        let (mut folds, paced) = (Folds::default(), spec.pace.interval_ms > 0);
        let end = missed.last().and_then(|publication| publication.position.clone());
        for publication in missed {
            let passes = spec.filter.passes(&publication);
            let contained = publication.key.as_ref().is_some_and(|key| contained.contains(key));
            let item = if contained {
                // Its change is in the rows; who counts is told its number.
                (passes && spec.form.positioned).then(|| (None, Arc::new(publication.included())))
            } else {
                account.recovered += 1;
                account.filtered += u64::from(!passes);
                passes.then(|| (Some(id), publication.clone()))
            };
            match item {
                Some((of, publication)) if paced => _ = folds.add(of, &publication, spec.pace.folds),
                Some((of, publication)) => {
                    let frame = publication.frame(spec.form, metrics).clone();
                    self.publication(of, &self.numbered(index, publication.position.as_ref(), frame));
                }
                None => {}
            }
            if !paced {
                self.reach(index, publication.position.as_ref());
            }
            account.pending += u64::from(!paced && !contained && passes);
        }
        let folds = folds.take();
        let last = folds.len().saturating_sub(1);
        for (n, fold) in folds.into_iter().enumerate() {
            account.pending += u64::from(fold.channel.is_some());
            account.conflated += fold.count - 1;
            // Behind the last of them it stands where the channel does.
            let stands = if n == last { end.as_ref() } else { fold.last.position.as_ref() };
            let frame = self.numbered(index, stands, fold.frame(spec.form, fold.folds(), metrics));
            self.publication(fold.channel, &frame);
            self.reach(index, stands);
        }
        self.reach(index, end.as_ref());
        self.books.push((id, account));
    }

    /// What comes next is sent to somebody who has everything up to here.
    fn reach(&mut self, index: usize, position: Option<&Position>) {
        if let (Some(position), Some(mark)) = (position, self.at.get_mut(index)) {
            mark.reach(position);
        }
    }

    /// The frame as this client gets it, which then has everything up to `position`.
    fn numbered(&self, index: usize, position: Option<&Position>, frame: Bytes) -> Bytes {
        match self.audience.spec().form.dialect {
            Dialect::Sse => event_behind(&self.at, index, position, &frame),
            Dialect::Json | Dialect::MessagePack | Dialect::Centrifuge(_) => frame,
        }
    }

    fn publication(&mut self, id: Option<u64>, frame: &Bytes) {
        if self.bytes.is_empty() {
            self.before.clone_from(&self.at);
        }
        if let Some(id) = id {
            self.tally.add(id, 1);
        }
        self.bytes(frame);
    }

    fn end(mut self) -> (Vec<Chunk>, Vec<(u64, Account)>) {
        self.close_chunk();
        (self.chunks, self.books)
    }
}

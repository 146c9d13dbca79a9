//! A further channel for a connection that speaks with its session: the reply, what was missed in it, and everything
//! that is published from then on, with nothing in between and nothing twice. See `join.rs` for how and why.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{MutexGuard, mpsc};

use super::audience::Watch;
use super::hub::Subscription;
use super::ledger::Account;
use super::line::{Coverage, Line};
use super::presence::Attending;
use super::{Audience, BrokerError, Channel, Client, Mark, Node, Position, Publication};

/// How long what the client has seen may still be on its way to this node.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);

/// How a subscription begins.
pub struct Subscribing {
    /// The session's own number for it.
    pub id: u64,
    pub audience: Arc<Audience>,
    /// Where it goes on after its first publication, when that is to be the base of patches.
    pub then: Option<Arc<Audience>>,
    pub recover: Recover,
    /// More than so many missed publications are not sent.
    pub most: usize,
    /// What is older is not told: then nothing is recovered.
    pub longest: Duration,
    /// Who is to be known on the channel.
    pub attending: Option<Attending>,
}

/// What the client wants of what it missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recover {
    Nothing,
    /// Everything after this offset; without an epoch, of whatever the numbering is.
    After {
        epoch: String,
        offset: u64,
    },
    /// The newest, if it is not what the client has.
    Newest {
        epoch: String,
        offset: u64,
    },
}

/// Where the channel stands for the client that is about to get its reply.
pub struct Stand {
    pub epoch: Arc<str>,
    pub offset: u64,
    /// What it missed, filtered; `None`: it could not be recovered, or nothing was asked for.
    pub recovered: Option<Vec<Arc<Publication>>>,
}

impl Audience {
    /// Waits until this node has delivered what the first channel said up to there; `false`: that takes too long.
    pub async fn reaches(&self, position: &Position) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let Some(watch) = self.watches.first() else { return false };
        loop {
            let mark = watch.active.line.lock().await.mark().cloned();
            let there = |mark: Mark| mark.shared.epoch == position.epoch && mark.shared.offset >= position.offset;
            if mark.is_some_and(there) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Node {
    /// Puts a client on the channels of an audience. `reply` makes the frame that goes before everything else of them, or
    /// `None` where the client is not to be subscribed after all; that is answered as `false`.
    pub async fn subscribe(
        &self,
        client: &Client,
        subscribing: Subscribing,
        reply: impl FnOnce(&Stand) -> Option<Bytes> + Send,
    ) -> bool {
        let Subscribing { id, audience, then, recover, most, longest, attending } = subscribing;
        let deadline = Instant::now() + PATIENCE;
        let mut read: Option<Vec<Arc<Publication>>> = None;
        loop {
            let mut lines = HashMap::new();
            let mut order: Vec<_> = audience.watches.iter().map(|watch| &watch.active).collect();
            order.sort_by_key(|active| active.id);
            for active in order {
                lines.insert(active.id, active.line.lock().await);
            }
            let Some(watch) = audience.watches.first() else { return false };
            let line = &lines[&watch.active.id];
            let missed = match coverage(line, &recover, read.as_deref()) {
                Some(Coverage::Whole(missed)) => Some(missed),
                Some(Coverage::Read(after)) => {
                    drop(lines);
                    let past = self.broker().history(&watch.active.channel, after).await;
                    read = Some(past.map(|past| past.publications).unwrap_or_default());
                    continue;
                }
                Some(Coverage::Ahead) if Instant::now() < deadline => {
                    drop(lines);
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Some(Coverage::Ahead | Coverage::Missing) | None => None,
            };
            let filter = &audience.spec().filter;
            let missed = missed.filter(|missed| missed.len() <= most);
            let missed = missed.filter(|missed| missed.iter().all(|one| one.published_at.elapsed() <= longest));
            let mut book = None;
            let recovered = missed.map(|missed| {
                let recovered = missed.len() as u64;
                let passing: Vec<_> = missed.into_iter().filter(|one| filter.passes(one)).collect();
                let pending = passing.len() as u64;
                let account = Account { recovered, filtered: recovered - pending, pending, ..Account::default() };
                book = (recovered > 0).then_some((watch.active.id, account));
                passing
            });
            let mark = line.mark().cloned().unwrap_or_else(Mark::unknown);
            let stand = Stand { epoch: mark.shared.epoch.clone(), offset: mark.shared.offset, recovered };
            let Some(reply) = reply(&stand) else { return false };
            // What is recovered is the base of the patches that follow.
            let (audience, then) = match then {
                Some(then) if stand.recovered.as_ref().is_some_and(|recovered| !recovered.is_empty()) => (then, None),
                then => (audience.clone(), then),
            };
            let marks = audience.share_marks(marks(&audience, &lines));
            let subscription = Subscription { id, audience, then, marks, reply, book, attending };
            // With the lines held: see above.
            client.subscribe(subscription).await;
            return true;
        }
    }

    /// Hears a channel within the process, from now on, while the answer is kept. What the listener is behind by more
    /// than `room` is lost.
    pub async fn listen(&self, channel: &Channel, room: usize) -> Result<Listening, BrokerError> {
        let (ear, heard) = mpsc::channel(room);
        let watch = self.watch(channel).await?;
        let _ = watch.active.ear.set(ear);
        Ok(Listening { heard, _watch: watch })
    }
}

/// What is published on a channel, within the process.
pub struct Listening {
    heard: mpsc::Receiver<Arc<Publication>>,
    _watch: Watch,
}

impl Listening {
    pub async fn next(&mut self) -> Option<Arc<Publication>> {
        self.heard.recv().await
    }
}

fn marks(audience: &Audience, lines: &HashMap<u64, MutexGuard<'_, Line>>) -> Vec<Mark> {
    let stand = |line: &MutexGuard<'_, Line>| line.mark().cloned();
    let marks = audience.watches.iter().map(|watch| lines.get(&watch.active.id).and_then(stand));
    marks.map(|mark| mark.unwrap_or_else(Mark::unknown)).collect()
}

fn coverage(line: &Line, recover: &Recover, read: Option<&[Arc<Publication>]>) -> Option<Coverage> {
    let mark = line.mark()?;
    let (epoch, offset, newest) = match recover {
        Recover::Nothing => return None,
        Recover::After { epoch, offset } => (epoch, *offset, false),
        Recover::Newest { epoch, offset } => (epoch, *offset, true),
    };
    let same = epoch.is_empty() || **epoch == *mark.shared.epoch;
    if newest {
        let seen = if same { offset.min(mark.shared.offset) } else { 0 };
        let offset = seen.max(mark.shared.offset.saturating_sub(1));
        return Some(line.missed(&[Position { epoch: mark.shared.epoch.clone(), offset }], read));
    }
    if !same {
        return Some(Coverage::Missing);
    }
    Some(line.missed(&[Position { epoch: mark.shared.epoch.clone(), offset }], read))
}

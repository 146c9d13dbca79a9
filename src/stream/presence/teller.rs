//! Brings what changes on this node to the broker, a few times a second at most, and keeps its lease.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::roster::Change;
use super::{Entry, Note, PresenceMetrics, PresenceStore, Roster};
use crate::stream::{BrokerError, Channel};
use crate::tasks::Tasks;

/// Changes that come within this time are told together.
const TOGETHER: Duration = Duration::from_millis(100);
/// After a failure.
const PAUSE: Duration = Duration::from_millis(500);
/// Of joins or leaves that one call to the broker may carry.
const MOST_A_NOTE: usize = 500;
/// The node's farewell must not keep it from ending.
const FAREWELL: Duration = Duration::from_secs(2);

/// One channel as the broker has been told of it.
#[derive(Clone, Debug, Default)]
struct Told {
    /// The last note's number; 0: the broker has no lease of this node's.
    number: u64,
    /// Why the broker may know something else than was told.
    doubt: Option<&'static str>,
}

struct Teller {
    roster: Arc<Roster>,
    store: Arc<dyn PresenceStore>,
    metrics: PresenceMetrics,
    told: HashMap<Channel, Told>,
    /// So that an outage is one line, not thousands.
    failing: bool,
}

/// What one channel is to be told in a round.
#[derive(Default)]
struct Work {
    joined: Vec<Entry>,
    left: Vec<Entry>,
}

pub(super) fn start(roster: Arc<Roster>, store: Arc<dyn PresenceStore>, metrics: PresenceMetrics, tasks: &Tasks) {
    let mut teller = Teller { roster, store, metrics, told: HashMap::new(), failing: false };
    let stop = tasks.stop();
    tasks.spawn("presence", async move {
        let every = teller.roster.options().lease() / 3;
        let mut refresh_at = Instant::now() + every;
        loop {
            let next = if teller.failing { refresh_at.min(Instant::now() + PAUSE) } else { refresh_at };
            tokio::select! {
                () = stop.cancelled() => break,
                () = async {
                    teller.roster.changed().await;
                    tokio::time::sleep(if teller.failing { PAUSE } else { TOGETHER }).await;
                } => {}
                () = tokio::time::sleep_until(next) => {}
            }
            let refresh = Instant::now() >= refresh_at;
            if refresh {
                refresh_at = Instant::now() + every;
            }
            teller.round(refresh).await;
        }
        // In order: everybody who is still there leaves at once, not with the lease.
        if tokio::time::timeout(FAREWELL, teller.farewell()).await.is_err() {
            tracing::warn!("the broker was not told that this node goes; its clients count until its lease ends");
        }
    });
}

impl Teller {
    /// Tells what has changed; with `refresh` every channel with clients here, so that the leases go on.
    async fn round(&mut self, refresh: bool) {
        let mut work = HashMap::<Channel, Work>::new();
        for group in self.roster.groups() {
            let (changes, overflowed) = group.take_changes();
            for channel in group.channels.iter() {
                let told = self.told.entry(channel.clone()).or_default();
                if overflowed {
                    told.doubt = Some("too many changes");
                }
                if told.doubt.is_some() || refresh || !changes.is_empty() {
                    let work = work.entry(channel.clone()).or_default();
                    for change in &changes {
                        match change {
                            Change::Joined(ticket, client) => work.joined.push(self.roster.entry(*ticket, client)),
                            Change::Left(ticket, client) => work.left.push(self.roster.entry(*ticket, client)),
                        }
                    }
                }
            }
        }
        if refresh {
            self.roster.forget_idle();
        }
        let results = join_all(work.into_iter().map(|(channel, work)| {
            let told = self.told.get(&channel).cloned().unwrap_or_default();
            let this = &*self;
            async move {
                let (told, result) = this.channel(&channel, told, work, refresh).await;
                (channel, told, result)
            }
        }));
        let mut failure = None;
        for (channel, mut told, result) in results.await {
            if let Err(error) = result {
                self.metrics.failures.inc();
                told.doubt = Some("broker failed");
                failure = Some((channel.clone(), error));
            }
            if told.number == 0 && told.doubt.is_none() {
                self.told.remove(&channel);
            } else {
                self.told.insert(channel, told);
            }
        }
        if let (Some((channel, error)), false) = (&failure, self.failing) {
            tracing::warn!(%channel, %error, "who is present could not be told; it is tried until it can be");
        }
        self.failing = failure.is_some();
    }

    async fn channel(
        &self,
        channel: &Channel,
        mut told: Told,
        work: Work,
        refresh: bool,
    ) -> (Told, Result<(), BrokerError>) {
        let result = async {
            // Nobody here any more, for a while: the lease is given up, and is taken again with the next client.
            let idle = refresh && work.joined.is_empty() && self.roster.count(channel) == 0;
            if idle && told.number == 0 && told.doubt.is_none() {
                return Ok(());
            }
            let work = match told.doubt {
                Some(reason) => self.compare(channel, reason).await?,
                None => work,
            };
            told.doubt = None;
            self.tell(channel, &mut told, &work, !idle).await?;
            if told.doubt.take().is_some() {
                let work = self.compare(channel, "broker lost it").await?;
                self.tell(channel, &mut told, &work, !idle).await?;
                told.doubt = None;
            }
            if idle {
                told = Told::default();
            }
            Ok(())
        };
        let result = result.await;
        (told, result)
    }

    /// What is to be told so that the broker knows this node's clients as they are.
    async fn compare(&self, channel: &Channel, reason: &'static str) -> Result<Work, BrokerError> {
        self.metrics.resync(reason);
        tracing::info!(%channel, reason, "this node's clients are compared with what the broker knows");
        let difference = self.store.difference(channel, self.roster.entries(channel)).await?;
        Ok(Work { joined: difference.missing, left: difference.gone })
    }

    /// Note by note; each client's leave comes behind its join.
    async fn tell(&self, channel: &Channel, told: &mut Told, work: &Work, stays: bool) -> Result<(), BrokerError> {
        let joined = work.joined.chunks(MOST_A_NOTE).map(|joined| (joined, &[][..]));
        let left = work.left.chunks(MOST_A_NOTE).map(|left| (&[][..], left));
        let mut notes: Vec<(&[Entry], &[Entry])> = joined.chain(left).collect();
        if notes.is_empty() || !stays {
            notes.push((&[], &[]));
        }
        let last = notes.len() - 1;
        for (index, (joined, left)) in notes.into_iter().enumerate() {
            let (previous, number) = (told.number, told.number + 1);
            let stays = stays || index < last;
            let note = Note { joined, left, previous, number, stays, at: self.roster.now() };
            let whole = self.store.tell(channel, note).await?;
            told.number = number;
            if !whole {
                told.doubt = Some("broker lost it");
            }
            self.metrics.changes.inc_by((joined.len() + left.len()) as u64);
        }
        Ok(())
    }

    async fn farewell(&mut self) {
        self.round(false).await;
        let channels: HashSet<Channel> = self.told.keys().cloned().collect();
        let this = &*self;
        join_all(channels.iter().map(|channel| async move {
            let mut told = this.told.get(channel).cloned().unwrap_or_default();
            if let Err(error) = this.tell(channel, &mut told, &Work::default(), false).await {
                tracing::warn!(%channel, %error, "the broker was not told that this node goes");
            }
        }))
        .await;
    }
}

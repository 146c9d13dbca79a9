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
                if !changes.is_empty() {
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
        // Those that nobody here is on any more, too: the broker may still know somebody.
        for (channel, told) in &self.told {
            if refresh || told.doubt.is_some() {
                work.entry(channel.clone()).or_default();
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use proptest::prelude::*;

    use super::super::roster::Attendance;
    use super::super::{Difference, PresenceOptions, Present};
    use super::*;
    use crate::clock::Clock;
    use crate::stream::{Audience, AudienceSpec};
    use crate::wire::Dialect;

    /// A broker that fails as brokers do: before it has done what it was asked, or after.
    #[derive(Default)]
    struct Moody(Mutex<Kept>);

    #[derive(Default)]
    struct Kept {
        clients: BTreeSet<String>,
        last: u64,
        fails_before: bool,
        fails_after: bool,
        /// Joins and leaves as watchers were told them.
        events: Vec<(bool, String)>,
    }

    fn away(is: bool) -> Result<(), BrokerError> {
        if is { Err(BrokerError::Unavailable("away".into())) } else { Ok(()) }
    }

    #[async_trait]
    impl PresenceStore for Moody {
        async fn tell(&self, _: &Channel, note: Note<'_>) -> Result<bool, BrokerError> {
            let mut kept = self.0.lock().unwrap();
            away(kept.fails_before)?;
            let whole = kept.last == note.previous;
            kept.last = if note.stays { note.number } else { 0 };
            for entry in note.joined {
                if kept.clients.insert(entry.client.clone()) {
                    kept.events.push((true, entry.client.clone()));
                }
            }
            for entry in note.left {
                if kept.clients.remove(&entry.client) {
                    kept.events.push((false, entry.client.clone()));
                }
            }
            if !note.stays {
                for client in std::mem::take(&mut kept.clients) {
                    kept.events.push((false, client));
                }
            }
            away(kept.fails_after).map(|()| whole)
        }

        async fn difference(&self, _: &Channel, own: Vec<Entry>) -> Result<Difference, BrokerError> {
            let kept = self.0.lock().unwrap();
            away(kept.fails_before)?;
            let mut gone = kept.clients.clone();
            let missing = own.into_iter().filter(|entry| !gone.remove(&entry.client)).collect();
            let entry = |client| Entry {
                client,
                user: None,
                node: "node".into(),
                connected_at: String::new(),
                conn_info: None,
                chan_info: None,
            };
            Ok(Difference { missing, gone: gone.into_iter().map(entry).collect() })
        }

        async fn list(&self, _: &Channel, _: String) -> Result<Present, BrokerError> {
            Err(BrokerError::Unavailable("not asked here".into()))
        }
    }

    #[derive(Clone, Debug)]
    enum Act {
        Join,
        Leave(usize),
        Round(bool),
        FailBefore(bool),
        FailAfter(bool),
        /// The broker goes back to an earlier state, or to none.
        Lose(usize),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => Just(Act::Join),
            3 => (0usize..8).prop_map(Act::Leave),
            4 => any::<bool>().prop_map(Act::Round),
            1 => any::<bool>().prop_map(Act::FailBefore),
            1 => any::<bool>().prop_map(Act::FailAfter),
            1 => (0usize..3).prop_map(Act::Lose),
        ]
    }

    proptest! {
        /// Whatever fails and whatever is lost: once the broker works, it knows exactly who is here, and what was told
        /// of each client is join and leave by turns.
        #[test]
        fn the_broker_comes_to_know_who_is_here(acts in proptest::collection::vec(act(), 0..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let roster = Arc::new(Roster::new("node".into(), PresenceOptions::default(), Clock::default()));
            let store = Arc::new(Moody::default());
            let metrics = PresenceMetrics::default();
            let mut teller =
                Teller { roster: roster.clone(), store: store.clone(), metrics, told: HashMap::new(), failing: false };
            let channels = vec![Channel::new("c").unwrap()];
            let (filter, pace) = Default::default();
            let spec = AudienceSpec { feed: "feed", form: Dialect::Json.into(), channels, filter, pace, alias: None, by_server: false };
            let audience = Audience::new(spec, Vec::new());
            let (mut here, mut next, mut lost) = (Vec::<Option<Attendance>>::new(), 0, false);
            for act in acts {
                match act {
                    Act::Join => {
                        next += 1;
                        here.push(roster.attend(&audience, next, None));
                    }
                    Act::Leave(index) if !here.is_empty() => drop(here.swap_remove(index % here.len())),
                    Act::Leave(_) => {}
                    Act::Round(refresh) => runtime.block_on(teller.round(refresh)),
                    Act::FailBefore(fails) => store.0.lock().unwrap().fails_before = fails,
                    Act::FailAfter(fails) => store.0.lock().unwrap().fails_after = fails,
                    Act::Lose(kept) => {
                        let mut all = store.0.lock().unwrap();
                        if all.last > 0 {
                            lost = true;
                            all.clients = all.clients.iter().take(kept).cloned().collect();
                            all.last -= 1;
                        }
                    }
                }
            }
            {
                let mut kept = store.0.lock().unwrap();
                (kept.fails_before, kept.fails_after) = (false, false);
            }
            runtime.block_on(teller.round(true));
            let own: BTreeSet<String> =
                roster.entries(&Channel::new("c").unwrap()).into_iter().map(|entry| entry.client).collect();
            prop_assert_eq!(own.len(), here.len());
            prop_assert_eq!(&store.0.lock().unwrap().clients, &own);
            if !lost {
                let mut known = BTreeSet::new();
                for (joined, client) in &store.0.lock().unwrap().events {
                    let changed = if *joined { known.insert(client) } else { known.remove(client) };
                    prop_assert!(changed, "{} was told twice", client);
                }
            }
            drop(here);
            runtime.block_on(teller.farewell());
            prop_assert!(store.0.lock().unwrap().clients.is_empty());
        }
    }
}

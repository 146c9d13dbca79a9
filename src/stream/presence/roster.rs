//! This node's own clients by channel: the truth that everything else is made equal to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::{Entry, PresenceOptions, iso};
use crate::clock::Clock;
use crate::stream::{Audience, Channel};

/// Parts of a group, so that places that are taken and given up at one time seldom meet.
const PARTS: usize = 16;
/// Changes that may wait in a part; beyond that they are found by comparing.
const MOST_CHANGES: usize = 4_096;

/// Clients by the set of channels that they are on: one record each, however many channels those are.
pub(in crate::stream) struct Roster {
    node: Arc<str>,
    options: PresenceOptions,
    clock: Clock,
    groups: RwLock<HashMap<Arc<[Channel]>, Arc<Group>>>,
    changed: Arc<Notify>,
}

/// Clients on the same channels.
pub(super) struct Group {
    pub channels: Arc<[Channel]>,
    parts: [Mutex<Part>; PARTS],
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Part {
    clients: HashMap<u64, Client>,
    changes: Vec<Change>,
    /// There were more changes than are kept.
    overflowed: bool,
    /// Clients of one user tend to come together; they share the name.
    last_user: Option<Arc<str>>,
}

#[derive(Clone)]
pub(super) struct Client {
    user: Option<Arc<str>>,
    info: Option<Arc<ShownInfo>>,
    since_ms: i64,
}

#[derive(Clone)]
pub(super) enum Change {
    Joined(u64, Client),
    Left(u64, Client),
}

/// Who comes, and what others are shown of it.
#[derive(Clone, Default)]
pub struct Attending {
    pub user: Option<Arc<str>>,
    pub info: Option<Arc<ShownInfo>>,
}

/// JSON each; of the connection, and of the client on the channel.
#[derive(Debug, Default)]
pub struct ShownInfo {
    pub connection: Option<Box<RawValue>>,
    pub channel: Option<Box<RawValue>>,
}

/// A client's being there; given up, it has left.
pub(in crate::stream) struct Attendance {
    group: Arc<Group>,
    ticket: u64,
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.group.leave(self.ticket);
    }
}

impl Group {
    fn new(channels: Arc<[Channel]>, changed: Arc<Notify>) -> Self {
        Self { channels, parts: Default::default(), changed }
    }

    fn part(&self, ticket: u64) -> MutexGuard<'_, Part> {
        lock(&self.parts[ticket as usize % PARTS])
    }

    fn join(&self, ticket: u64, who: Attending, since_ms: i64) {
        let Attending { user, info } = who;
        let mut part = self.part(ticket);
        if part.last_user != user {
            part.last_user = user;
        }
        let client = Client { user: part.last_user.clone(), info, since_ms };
        part.clients.insert(ticket, client.clone());
        part.note(Change::Joined(ticket, client));
        drop(part);
        self.changed.notify_one();
    }

    fn leave(&self, ticket: u64) {
        let mut part = self.part(ticket);
        if let Some(client) = part.clients.remove(&ticket) {
            part.note(Change::Left(ticket, client));
            if part.clients.capacity() > 64 && part.clients.len() * 8 < part.clients.capacity() {
                part.clients.shrink_to_fit();
            }
            drop(part);
            self.changed.notify_one();
        }
    }

    /// What has changed since the last call, each client's in its order, and whether more has than is known.
    pub fn take_changes(&self) -> (Vec<Change>, bool) {
        let (mut changes, mut overflowed) = (Vec::new(), false);
        for part in &self.parts {
            let mut part = lock(part);
            overflowed |= std::mem::take(&mut part.overflowed);
            changes.append(&mut part.changes);
            part.changes.shrink_to(0);
        }
        (changes, overflowed)
    }

    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| lock(part).clients.len()).sum()
    }

    fn is_idle(&self) -> bool {
        self.parts.iter().map(lock).all(|part| part.clients.is_empty() && part.changes.is_empty() && !part.overflowed)
    }
}

impl Part {
    fn note(&mut self, change: Change) {
        if self.changes.len() < MOST_CHANGES {
            self.changes.push(change);
        } else {
            self.overflowed = true;
        }
    }
}

impl Roster {
    pub fn new(node: Arc<str>, options: PresenceOptions, clock: Clock) -> Self {
        Self { node, options, clock, groups: RwLock::default(), changed: Arc::default() }
    }

    pub fn options(&self) -> &PresenceOptions {
        &self.options
    }

    /// The client with this number is there from now on; `None` when nobody is to know.
    pub fn attend(&self, audience: &Audience, ticket: u64, user: Option<Arc<str>>) -> Option<Attendance> {
        if audience.spec().channels.is_empty() || !self.options.covers(audience.spec().feed) {
            return None;
        }
        Some(self.attend_on(audience, ticket, Attending { user, info: None }))
    }

    /// The same whatever the feed.
    pub fn attend_on(&self, audience: &Audience, ticket: u64, who: Attending) -> Attendance {
        let watched = audience.spec().channels.iter().filter(|channel| !channel.is_presence());
        let group = self.group(watched.cloned().collect());
        group.join(ticket, who, self.clock.now_ms());
        Attendance { group, ticket }
    }

    fn group(&self, channels: Vec<Channel>) -> Arc<Group> {
        let groups = self.groups.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(group) = groups.get(&channels[..]) {
            return group.clone();
        }
        drop(groups);
        let mut groups = self.groups.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let channels: Arc<[Channel]> = channels.into();
        let fresh = || Arc::new(Group::new(channels.clone(), self.changed.clone()));
        groups.entry(channels.clone()).or_insert_with(fresh).clone()
    }

    pub(super) fn groups(&self) -> Vec<Arc<Group>> {
        self.groups.read().unwrap_or_else(|poisoned| poisoned.into_inner()).values().cloned().collect()
    }

    /// Forgets groups that nobody is in, and that have nothing left to tell.
    pub(super) fn forget_idle(&self) {
        let mut groups = self.groups.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        groups.retain(|_, group| Arc::strong_count(group) > 1 || !group.is_idle());
    }

    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// This node's clients on a channel, and how many there are.
    pub fn count(&self, channel: &Channel) -> usize {
        self.groups().iter().filter(|group| group.channels.contains(channel)).map(|group| group.len()).sum()
    }

    pub(super) fn entries(&self, channel: &Channel) -> Vec<Entry> {
        let mut entries = Vec::new();
        for group in self.groups().iter().filter(|group| group.channels.contains(channel)) {
            for part in &group.parts {
                // Copied first: making text of it is not for under the lock.
                let clients: Vec<_> = lock(part).clients.iter().map(|(ticket, it)| (*ticket, it.clone())).collect();
                entries.extend(clients.iter().map(|(ticket, client)| self.entry(*ticket, client)));
            }
        }
        entries
    }

    pub(super) fn entry(&self, ticket: u64, client: &Client) -> Entry {
        Entry {
            client: self.name(ticket),
            user: client.user.clone(),
            node: self.node.clone(),
            connected_at: iso(client.since_ms),
            conn_info: client.info.as_ref().and_then(|info| info.connection.clone()),
            chan_info: client.info.as_ref().and_then(|info| info.channel.clone()),
        }
    }

    pub(super) fn name(&self, ticket: u64) -> String {
        format!("{}-{ticket}", self.node)
    }

    pub(super) fn now(&self) -> String {
        iso(self.clock.now_ms())
    }
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::AudienceSpec;
    use crate::wire::Dialect;

    fn roster(feeds: &str) -> Roster {
        let options = PresenceOptions { feeds: feeds.into(), ..PresenceOptions::default() };
        Roster::new("node".into(), options, Clock::default())
    }

    fn audience(channels: &[&str]) -> Audience {
        let channels = channels.iter().map(|name| Channel::new(name).unwrap()).collect();
        let (filter, pace) = Default::default();
        Audience::new(
            AudienceSpec {
                feed: "feed",
                form: Dialect::Json.into(),
                channels,
                filter,
                pace,
                alias: None,
                by_server: false,
            },
            Vec::new(),
        )
    }

    #[test]
    fn a_client_is_there_until_its_attendance_ends() {
        let (roster, both, one) = (roster("*"), audience(&["a", "b"]), audience(&["a", "presence:a"]));
        let first = roster.attend(&both, 1, Some("u".into()));
        let second = roster.attend(&one, 2, None);
        let (a, b) = (Channel::new("a").unwrap(), Channel::new("b").unwrap());
        assert_eq!((roster.count(&a), roster.count(&b)), (2, 1));
        assert_eq!(roster.count(&Channel::new("presence:a").unwrap()), 0, "watching watchers is not watched");
        drop(first);
        let entries = roster.entries(&a);
        assert_eq!((entries.len(), &*entries[0].client, roster.count(&b)), (1, "node-2", 0));
        let told: Vec<_> = roster.groups().iter().map(|group| group.take_changes()).collect();
        assert_eq!(told.iter().map(|(changes, _)| changes.len()).sum::<usize>(), 3);
        drop(second);
        roster.forget_idle();
        assert_eq!(roster.groups().len(), 1, "what is still to be told is kept");
        roster.groups().iter().for_each(|group| drop(group.take_changes()));
        roster.forget_idle();
        assert!(roster.groups().is_empty());
    }

    #[test]
    fn only_the_feeds_that_are_named_are_known() {
        assert!(roster("").attend(&audience(&["a"]), 1, None).is_none());
        assert!(roster("other").attend(&audience(&["a"]), 1, None).is_none());
        assert!(roster("other, feed").attend(&audience(&["a"]), 1, None).is_some());
    }

    #[test]
    fn changes_are_bounded_and_a_client_costs_little() {
        let (roster, audience) = (roster("*"), audience(&["a", "b"]));
        let many = (MOST_CHANGES * PARTS * 2) as u64;
        let there: Vec<_> = (0..many).map(|ticket| roster.attend(&audience, ticket, Some("u".into()))).collect();
        assert_eq!(roster.count(&Channel::new("a").unwrap()), there.len());
        let group = &roster.groups()[0];
        let (changes, overflowed) = group.take_changes();
        assert_eq!((changes.len(), overflowed), (MOST_CHANGES * PARTS, true));
        let slots: usize = group.parts.iter().map(|part| lock(part).clients.capacity()).sum();
        let bytes = slots * (size_of::<(u64, Client)>() + 1) * 8 / 7 + there.len() * size_of::<Option<Attendance>>();
        assert!(bytes / there.len() <= 100, "{} bytes a client", bytes / there.len());
        drop(there);
        assert_eq!(group.len(), 0);
        assert!(group.parts.iter().all(|part| lock(part).clients.capacity() <= 64), "memory is given back");
    }
}

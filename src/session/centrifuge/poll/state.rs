//! What one channel knows: who tracks which keys, and what of each key everybody has.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::PollMode;
use crate::wire::centrifuge::{Delta, Encoding, Fault, Publication, Shape, Told, publication_frame};

/// What is told about a key, by a back end.
#[derive(Clone, Debug, Default)]
pub struct PollItem {
    pub key: String,
    /// JSON. `None`: what it was.
    pub data: Option<Bytes>,
    /// 0: none.
    pub version: u64,
    pub removed: bool,
}

/// What became of items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub changed: u64,
    pub unchanged: u64,
    pub removed: u64,
    /// Not understood, too old, or of keys that nobody tracks any more.
    pub ignored: u64,
    /// Items × clients that are told.
    pub told: u64,
}

/// `L`: how a client is reached.
pub(super) struct State<L> {
    mode: PollMode,
    keeps: bool,
    /// Within one, versions can be compared.
    pub epoch: String,
    /// The last version that this node has given, where it gives them.
    last: u64,
    keys: HashMap<Arc<str>, Key>,
    members: HashMap<u64, Member<L>>,
    /// Keys that are to be asked for at once.
    cold: BTreeSet<Arc<str>>,
}

#[derive(Default)]
struct Key {
    version: u64,
    hash: Option<[u8; 32]>,
    /// Where it is kept.
    data: Option<Bytes>,
    /// Published since the last round, which need not ask for it.
    fresh: bool,
    trackers: HashSet<u64>,
}

struct Member<L> {
    line: L,
    encoding: Encoding,
    keys: HashMap<Arc<str>, Tracked>,
    /// Keys of its connection, on all channels.
    count: Arc<AtomicUsize>,
}

struct Tracked {
    /// What the client has. 0: nothing.
    version: u64,
    ends_at_ms: Option<i64>,
}

/// Keys that a client is to track from now on.
pub(super) struct Wanted {
    pub key: String,
    pub version: u64,
    pub ends_at_ms: Option<i64>,
}

/// Bounds of a client's keys.
#[derive(Clone, Copy)]
pub(super) struct Most {
    pub of_connection: usize,
    pub of_channel: usize,
}

/// Frames, and to whom.
pub(super) type Outgoing<L> = Vec<(L, Vec<Bytes>)>;

impl<L: Clone> State<L> {
    pub fn new(mode: PollMode, keeps: bool) -> Self {
        let epoch = match mode {
            PollMode::Versioned => String::new(),
            PollMode::Versionless => std::iter::repeat_with(fastrand::alphabetic).take(8).collect(),
        };
        let (keys, members, cold) = (HashMap::new(), HashMap::new(), BTreeSet::new());
        Self { mode, keeps, epoch, last: 0, keys, members, cold }
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn enter(&mut self, id: u64, line: L, encoding: Encoding, count: Arc<AtomicUsize>) {
        self.members.insert(id, Member { line, encoding, keys: HashMap::new(), count });
    }

    pub fn leave(&mut self, id: u64) {
        let Some(member) = self.members.remove(&id) else { return };
        member.count.fetch_sub(member.keys.len(), Ordering::Relaxed);
        for key in member.keys.keys() {
            forget(&mut self.keys, &mut self.cold, key, id);
        }
    }

    /// All of them, or none. Answers what is known already that the client has not.
    pub fn track(&mut self, id: u64, wanted: Vec<Wanted>, most: Most) -> Result<Vec<Publication>, Fault> {
        let Some(member) = self.members.get_mut(&id) else { return Err(Fault::PermissionDenied) };
        let new: HashSet<&str> =
            wanted.iter().map(|one| &*one.key).filter(|key| !member.keys.contains_key(*key)).collect();
        let of_channel = new.iter().filter(|key| !self.keys.contains_key(**key)).count() + self.keys.len();
        if member.count.load(Ordering::Relaxed) + new.len() > most.of_connection || of_channel > most.of_channel {
            return Err(Fault::LimitExceeded);
        }
        member.count.fetch_add(new.len(), Ordering::Relaxed);
        let mut known = Vec::new();
        for Wanted { key, version, ends_at_ms } in wanted {
            let name: Arc<str> = match self.keys.get_key_value(&*key) {
                Some((name, _)) => name.clone(),
                None => key.into(),
            };
            let is_new = !self.keys.contains_key(&name);
            let key = self.keys.entry(name.clone()).or_default();
            key.trackers.insert(id);
            // A number that this node has not given is of another numbering.
            let given = self.mode == PollMode::Versioned || version <= self.last;
            let mut tracked = Tracked { version: if given { version } else { 0 }, ends_at_ms };
            match key.data.as_ref().filter(|_| key.version > tracked.version) {
                Some(data) => {
                    tracked.version = key.version;
                    let (data, key, version) = (data.clone(), name.to_string(), key.version);
                    known.push(Publication { data, key, version, ..Publication::default() });
                }
                None if is_new || tracked.version == 0 => _ = self.cold.insert(name.clone()),
                None => {}
            }
            member.keys.insert(name, tracked);
        }
        Ok(known)
    }

    pub fn untrack(&mut self, id: u64, keys: &[String]) {
        let Some(member) = self.members.get_mut(&id) else { return };
        for key in keys.iter().filter_map(|key| member.keys.remove_entry(&**key)).map(|(key, _)| key) {
            member.count.fetch_sub(1, Ordering::Relaxed);
            forget(&mut self.keys, &mut self.cold, &key, id);
        }
    }

    /// Stops tracking what was signed until before then.
    pub fn expire(&mut self, before_ms: i64) {
        for (id, member) in &mut self.members {
            let ended = |tracked: &Tracked| tracked.ends_at_ms.is_some_and(|at| at < before_ms);
            let gone = member.keys.extract_if(|_, tracked| ended(tracked));
            for (key, _) in gone {
                member.count.fetch_sub(1, Ordering::Relaxed);
                forget(&mut self.keys, &mut self.cold, &key, *id);
            }
        }
    }

    /// Some of the keys that are to be asked for at once.
    pub fn take_cold(&mut self, most: usize) -> Vec<Arc<str>> {
        std::iter::from_fn(|| self.cold.pop_first()).take(most).collect()
    }

    /// Every key, but what was published since the last round.
    pub fn round(&mut self) -> Vec<Arc<str>> {
        let due =
            self.keys.iter_mut().filter_map(|(name, key)| (!std::mem::take(&mut key.fresh)).then(|| name.clone()));
        due.collect()
    }

    /// Of these keys those that are tracked still, each with the version that everybody has.
    pub fn question(&self, keys: &[Arc<str>]) -> Vec<(Arc<str>, u64)> {
        let had = |name: &Arc<str>, key: &Key| {
            let of = |id| self.members.get(id).and_then(|member| member.keys.get(name)).map(|tracked| tracked.version);
            // What is kept can be told to whoever has less.
            if key.data.is_some() { Some(key.version) } else { key.trackers.iter().filter_map(of).min() }
        };
        let tracked = keys.iter().filter_map(|name| Some((name.clone(), had(name, self.keys.get(name)?)?)));
        tracked.collect()
    }

    /// Whether this ends what versions were compared within; then everybody begins anew.
    pub fn restarts(&mut self, epoch: &str) -> Option<Vec<L>> {
        if self.mode == PollMode::Versionless || epoch.is_empty() || epoch == self.epoch {
            return None;
        }
        self.epoch = epoch.to_owned();
        self.keys.clear();
        self.cold.clear();
        let all = std::mem::take(&mut self.members).into_values();
        let lines = all.map(|member| {
            member.count.fetch_sub(member.keys.len(), Ordering::Relaxed);
            member.line
        });
        Some(lines.collect())
    }

    /// Takes in what a back end says; answers what is to be told.
    pub fn settle(&mut self, channel: &str, items: Vec<PollItem>, published: bool) -> (Outgoing<L>, Counts) {
        let (mut counts, mut out) = (Counts::default(), HashMap::<u64, Vec<Bytes>>::new());
        for item in items {
            let Some((name, key)) =
                self.keys.get_key_value(&*item.key).map(|(name, _)| name.clone()).and_then(|name| {
                    let key = self.keys.get_mut(&name)?;
                    Some((name, key))
                })
            else {
                counts.ignored += 1;
                continue;
            };
            if item.removed {
                counts.removed += 1;
                self.cold.remove(&name);
                let told = Told { channel, key: &name, removed: true, ..Told::default() };
                let mut frames = Frames { told, made: [None, None] };
                for id in self.keys.remove(&name).into_iter().flat_map(|key| key.trackers) {
                    let Some(member) = self.members.get_mut(&id) else { continue };
                    member.keys.remove(&name);
                    member.count.fetch_sub(1, Ordering::Relaxed);
                    out.entry(id).or_default().push(frames.of(member.encoding));
                    counts.told += 1;
                }
                continue;
            }
            let Some(data) = item.data else {
                counts.unchanged += 1;
                continue;
            };
            let changed = match self.mode {
                PollMode::Versioned if item.version == 0 || item.version < key.version => {
                    counts.ignored += 1;
                    continue;
                }
                PollMode::Versioned => std::mem::replace(&mut key.version, item.version) < item.version,
                PollMode::Versionless => {
                    let hash: [u8; 32] = Sha256::digest(&data).into();
                    let changed = key.hash.replace(hash) != Some(hash);
                    if changed {
                        self.last += 1;
                        key.version = self.last;
                    }
                    changed
                }
            };
            *if changed { &mut counts.changed } else { &mut counts.unchanged } += 1;
            key.fresh |= published && changed;
            let told = Told { channel, data: &data, key: &name, version: key.version, ..Told::default() };
            let mut frames = Frames { told, made: [None, None] };
            for id in &key.trackers {
                let Some(member) = self.members.get_mut(id) else { continue };
                let Some(tracked) = member.keys.get_mut(&name).filter(|one| one.version < key.version) else {
                    continue;
                };
                tracked.version = key.version;
                out.entry(*id).or_default().push(frames.of(member.encoding));
                counts.told += 1;
            }
            if self.keeps {
                key.data = Some(data);
            }
        }
        let line = |id: &u64| self.members.get(id).map(|member| member.line.clone());
        (out.into_iter().filter_map(|(id, frames)| Some((line(&id)?, frames))).collect(), counts)
    }
}

/// A key that nobody tracks is nothing to ask for.
fn forget(keys: &mut HashMap<Arc<str>, Key>, cold: &mut BTreeSet<Arc<str>>, name: &Arc<str>, id: u64) {
    let Some(key) = keys.get_mut(name) else { return };
    key.trackers.remove(&id);
    if key.trackers.is_empty() {
        keys.remove(name);
        cold.remove(name);
    }
}

/// One publication in each encoding, made when the first client wants it.
struct Frames<'a> {
    told: Told<'a>,
    made: [Option<Bytes>; 2],
}

impl Frames<'_> {
    fn of(&mut self, encoding: Encoding) -> Bytes {
        let made = &mut self.made[usize::from(encoding == Encoding::Protobuf)];
        made.get_or_insert_with(|| publication_frame(Shape { encoding, delta: Delta::Off }, self.told)).clone()
    }
}

#[cfg(test)]
mod tests;

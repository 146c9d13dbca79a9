//! What the nodes of one broker know of one another: who there is, from time to time, and who is on which channels, when
//! one of them asks.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::Channels;
use super::orders::Letter;

/// How often a node says that it is there.
pub(super) const EVERY: Duration = Duration::from_secs(3);
/// A node that has said nothing for so long is gone.
const LEASE: Duration = Duration::from_secs(10);
/// What is answered later is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Channels in one letter.
const MOST_A_LETTER: usize = 2_000;
/// Channels of one answer to a back end; what comes on top is left out.
const MOST_CHANNELS: usize = 100_000;

/// A node as `info` tells it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Other than any other's.
    pub uid: String,
    pub name: String,
    pub version: String,
    pub num_clients: usize,
    pub num_users: usize,
    pub num_subs: u64,
    pub num_channels: usize,
    /// Seconds.
    pub uptime: u64,
}

/// Channels with their clients: a part of what one node answers.
pub(super) struct Part {
    node: String,
    channels: Vec<(String, u64)>,
    last: bool,
}

pub(super) struct Nodes {
    /// What this one is called.
    name: OnceLock<String>,
    started: Instant,
    others: DashMap<String, (Instant, NodeInfo)>,
    /// Who waits for answers, by question.
    asked: DashMap<String, mpsc::Sender<Part>>,
}

impl Nodes {
    pub fn new() -> Self {
        Self { name: OnceLock::new(), started: Instant::now(), others: DashMap::new(), asked: DashMap::new() }
    }

    /// Answers whether it is news that this node is there.
    pub fn heard(&self, info: NodeInfo) -> bool {
        self.others.retain(|_, (at, _)| at.elapsed() < LEASE);
        self.others.insert(info.uid.clone(), (Instant::now(), info)).is_none()
    }

    pub fn gone(&self, uid: &str) {
        self.others.remove(uid);
    }

    /// Passes an answer on to whoever has asked.
    pub async fn answered(&self, question: &str, node: String, channels: Vec<(String, u64)>, last: bool) {
        let asker = self.asked.get(question).map(|asker| asker.clone());
        if let Some(asker) = asker {
            // Who does not wait any more does not hear.
            let _ = asker.send(Part { node, channels, last }).await;
        }
    }

    fn alive(&self) -> Vec<NodeInfo> {
        let alive = self.others.iter().filter(|other| other.0.elapsed() < LEASE);
        alive.map(|other| other.1.clone()).collect()
    }
}

impl Channels {
    /// What this node is called; once.
    pub fn named(&self, name: String) {
        let _ = self.0.nodes.name.set(name);
    }

    /// Every node of the broker, this one first; of the others what they said last.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        let mut others = self.0.nodes.alive();
        others.sort_by(|a, b| a.uid.cmp(&b.uid));
        [vec![self.node_info()], others].concat()
    }

    pub(super) fn node_info(&self) -> NodeInfo {
        let (num_clients, num_users) = self.connected();
        let listened = self.listened_here("");
        NodeInfo {
            uid: self.node().hub().node_id().to_owned(),
            name: self.0.nodes.name.get().cloned().unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            num_clients,
            num_users,
            num_subs: listened.iter().map(|(_, count)| count).sum(),
            num_channels: listened.len(),
            uptime: self.0.nodes.started.elapsed().as_secs(),
        }
    }

    /// Channels that somebody is on, on whatever node, with the number of clients; those that the pattern names.
    pub async fn listened(&self, pattern: &str) -> BTreeMap<String, u64> {
        let mut all: BTreeMap<String, u64> = self.listened_here(pattern).into_iter().collect();
        let mut waited: Vec<String> = self.0.nodes.alive().into_iter().map(|node| node.uid).collect();
        if waited.is_empty() {
            return all;
        }
        let question = uuid::Uuid::new_v4().simple().to_string();
        let (answer, mut answers) = mpsc::channel(64);
        self.0.nodes.asked.insert(question.clone(), answer);
        let ask = Letter::Which { question: question.clone(), node: self.uid(), pattern: pattern.to_owned() };
        let gathered = tokio::time::timeout(PATIENCE, async {
            if let Err(error) = self.send(&ask).await {
                return tracing::warn!(%error, "the other nodes cannot be asked for their channels");
            }
            while let Some(Part { node, channels, last }) = answers.recv().await {
                for (channel, count) in channels {
                    if all.len() < MOST_CHANNELS || all.contains_key(&channel) {
                        *all.entry(channel).or_default() += count;
                    }
                }
                waited.retain(|uid| !last || *uid != node);
                if waited.is_empty() {
                    return;
                }
            }
        });
        let in_time = gathered.await.is_ok();
        self.0.nodes.asked.remove(&question);
        if !in_time {
            tracing::warn!(?waited, "not every node has said in time which channels it has");
        }
        all
    }

    /// Answers another node's question.
    pub(super) async fn tell_listened(&self, question: String, to: String, pattern: &str) {
        let listened = self.listened_here(pattern);
        let mut parts: Vec<&[(String, u64)]> = listened.chunks(MOST_A_LETTER).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        for (index, part) in parts.iter().enumerate() {
            let letter = Letter::Those {
                question: question.clone(),
                node: self.uid(),
                to: to.clone(),
                channels: part.to_vec(),
                last: index + 1 == parts.len(),
            };
            if let Err(error) = self.send(&letter).await {
                return tracing::warn!(%error, "another node could not be told which channels there are");
            }
        }
    }

    pub(super) fn uid(&self) -> String {
        self.node().hub().node_id().to_owned()
    }

    fn listened_here(&self, pattern: &str) -> Vec<(String, u64)> {
        let listened = self.node().hub().listened().into_iter();
        let named = listened.filter(|(channel, _)| {
            !channel.is_presence() && (pattern.is_empty() || matches(pattern, channel.as_str()))
        });
        named.take(MOST_CHANNELS).map(|(channel, count)| (channel.to_string(), u64::from(count))).collect()
    }
}

/// `*` stands for anything, `?` for one character.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, n));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == name[n]) {
            (p, n) = (p + 1, n + 1);
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            (p, n) = (at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_shells_do() {
        for (pattern, name, expected) in [
            ("price:*", "price:updates", true),
            ("*", "", true),
            ("p*e:*s", "price:updates", true),
            ("price:?", "price:ab", false),
            ("price", "price:x", false),
            ("a*b*c", "a-b-b-c", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}

//! `?presence=true`: who is on the feed's channels, before everything that changes it.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::upgrade::Sessions;
use crate::http::Problem;
use crate::stream::{Channel, FeedSpec, Position};

/// The lists a client begins with, and where the channels of what follows stood when they were read.
#[derive(Default)]
pub(super) struct Watchers {
    pub lists: Vec<Bytes>,
    positions: Vec<Position>,
}

#[derive(Serialize)]
struct List<'a> {
    message_type: &'static str,
    action: &'static str,
    channel: &'a str,
    num_clients: u64,
    num_users: u64,
    clients: &'a [Box<RawValue>],
}

/// Of every channel of the feed.
pub(super) async fn watchers(feed: &FeedSpec, sessions: &Sessions) -> Result<Watchers, Problem> {
    let mut watchers = Watchers::default();
    let Some(presence) = sessions.node().presence() else { return Ok(watchers) };
    for channel in feed.channels.iter().filter_map(|name| Channel::new(name).ok()) {
        let present = presence.recent_list(&channel).await.map_err(|error| {
            tracing::warn!(%error, %channel, "who is present could not be read");
            Problem::unavailable("who is present cannot be read now; try again", 2)
        })?;
        let list = List {
            message_type: "presence",
            action: "list",
            channel: channel.as_str(),
            num_clients: present.num_clients,
            num_users: present.num_users,
            clients: &present.clients,
        };
        watchers.lists.push(serde_json::to_vec(&list).map_err(Problem::internal)?.into());
        watchers.positions.push(present.position.clone());
    }
    Ok(watchers)
}

impl Watchers {
    /// What the client has seen: the lists, and of the other channels what it says.
    pub fn seen(&self, since: &[Position]) -> Vec<Position> {
        let listed = |position: &&Position| self.positions.iter().any(|own| own.epoch == position.epoch);
        since.iter().filter(|position| !listed(position)).chain(&self.positions).cloned().collect()
    }
}

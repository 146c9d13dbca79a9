//! Who watches a channel, in Redis: a hash of clients for each node, and the nodes by the end of their lease.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use fred::interfaces::HashesInterface;
use fred::types::Value;
use fred::types::scripts::Script;
use serde_json::value::RawValue;

use super::super::super::position::new_epoch;
use super::super::super::presence::{Difference, Entry, Note, PresenceStore};
use super::super::super::{Channel, Position, PresenceOptions, Present, SharedPresence};
use super::super::BrokerError;
use super::super::envelope::{keys, nodes_channel, presence_keys};
use super::link::{Link, unavailable, within};

struct Store {
    link: Link,
    node: Arc<str>,
    options: PresenceOptions,
    tell: Script,
    list: Script,
}

pub(super) fn store(link: Link, node: Arc<str>, options: PresenceOptions) -> SharedPresence {
    // The script that publishes becomes a function of this one: what is written down and what is told are one step.
    let publish = include_str!("publish.lua");
    let tell = format!("local function publish(KEYS, ARGV)\n{publish}\nend\n{}", include_str!("presence.lua"));
    let (tell, list) = (Script::from_lua(tell), Script::from_lua(include_str!("present.lua")));
    SharedPresence(Arc::new(Store { link, node, options, tell, list }))
}

/// What a note means for the lease of the node that sends it.
#[derive(Clone, Copy)]
enum Mode {
    Stays,
    Goes,
    /// Nothing: only the leases of others are looked after.
    Looks,
}

impl Store {
    async fn note(&self, channel: &Channel, mode: Mode, note: Note<'_>) -> Result<bool, BrokerError> {
        let events = events_of(channel)?;
        let watched = serde_json::to_string(channel.as_str()).map_err(broken)?;
        let most_events = if self.options.events { self.options.max_events as i64 } else { -1 };
        let mut args: Vec<Value> = vec![watched.into(), events.as_str().into(), nodes_channel(&events).into()];
        args.push(new_epoch().into());
        args.extend(self.link.keeping());
        args.extend([
            (&*self.node).into(),
            Value::Integer(self.options.lease().as_millis() as i64),
            note.previous.to_string().into(),
            note.number.to_string().into(),
            Value::Integer(most_events),
            note.at.into(),
            match mode {
                Mode::Stays => "stays".into(),
                Mode::Goes => "goes".into(),
                Mode::Looks => "looks".into(),
            },
            Value::Integer(note.joined.len() as i64),
        ]);
        for entry in note.joined {
            args.push(entry.client.as_str().into());
            args.push(serde_json::to_string(entry).map_err(broken)?.into());
        }
        args.extend(note.left.iter().map(|entry| Value::from(entry.client.as_str())));
        let mut all = keys(&events);
        let [nodes, numbers] = presence_keys(&events);
        let own = format!("{nodes}:{}", self.node);
        let users = format!("{own}:users");
        all.extend([nodes, numbers, own, users]);
        let told = self.tell.evalsha_with_reload(&self.link.publisher, all, args);
        let known: i64 = within(self.link.command_timeout, told).await?;
        Ok(known == 1)
    }

    /// The list, and how many nodes are on it whose lease has run out.
    async fn read(&self, channel: &Channel) -> Result<(Present, u64), BrokerError> {
        let events = events_of(channel)?;
        let [nodes, _] = presence_keys(&events);
        let numbering = keys(&events).swap_remove(0);
        let most = Value::Integer(i64::try_from(self.options.max_listed).unwrap_or(i64::MAX));
        let args: Vec<Value> = vec![new_epoch().into(), self.link.idle_epoch(), most];
        let read = self.list.evalsha_with_reload(&self.link.publisher, vec![numbering, nodes], args);
        let read = within(self.link.command_timeout, read).await?;
        let (offset, epoch, num_clients, num_users, expired, entries): (u64, String, u64, u64, u64, Vec<String>) = read;
        // What is not JSON was not written by a node.
        let clients = entries.into_iter().filter_map(|entry| RawValue::from_string(entry).ok());
        let position = Position { offset, epoch: epoch.into() };
        Ok((Present { position, num_clients, num_users, clients: clients.collect() }, expired))
    }
}

#[async_trait]
impl PresenceStore for Store {
    async fn tell(&self, channel: &Channel, note: Note<'_>) -> Result<bool, BrokerError> {
        let mode = if note.stays { Mode::Stays } else { Mode::Goes };
        self.note(channel, mode, note).await
    }

    async fn difference(&self, channel: &Channel, own: Vec<Entry>) -> Result<Difference, BrokerError> {
        let [nodes, _] = presence_keys(&events_of(channel)?);
        let known = self.link.publisher.hkeys::<Vec<String>, _>(format!("{nodes}:{}", self.node));
        let known = within(self.link.command_timeout, known).await?;
        let mut gone: HashSet<String> = known.into_iter().collect();
        let missing: Vec<Entry> = own.into_iter().filter(|entry| !gone.remove(&entry.client)).collect();
        let nameless = |client| Entry {
            client,
            user: None,
            node: self.node.clone(),
            connected_at: String::new(),
            conn_info: None,
            chan_info: None,
        };
        Ok(Difference { missing, gone: gone.into_iter().map(nameless).collect() })
    }

    async fn list(&self, channel: &Channel, at: String) -> Result<Present, BrokerError> {
        let (present, expired) = self.read(channel).await?;
        if expired == 0 {
            return Ok(present);
        }
        // Perhaps nobody else looks after this channel any more.
        let note = Note { joined: &[], left: &[], previous: 0, number: 0, stays: true, at };
        self.note(channel, Mode::Looks, note).await?;
        Ok(self.read(channel).await?.0)
    }
}

fn events_of(channel: &Channel) -> Result<Channel, BrokerError> {
    let none = || BrokerError::Unavailable(format!("{channel} can have no presence channel"));
    channel.presence().ok_or_else(none)
}

fn broken(error: serde_json::Error) -> BrokerError {
    unavailable(fred::error::Error::new(fred::error::ErrorKind::InvalidArgument, error.to_string()))
}

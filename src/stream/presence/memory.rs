//! Presence where one process is all there is: its own clients are everybody.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;
use serde_json::value::to_raw_value;

use super::{Difference, Entry, Note, PresenceOptions, PresenceStore, Present, Roster};
use crate::stream::broker::Outgoing;
use crate::stream::{Broker, BrokerError, Channel};

pub(super) struct Local {
    roster: Arc<Roster>,
    broker: Arc<dyn Broker>,
    options: PresenceOptions,
}

impl Local {
    pub fn new(roster: Arc<Roster>, broker: Arc<dyn Broker>, options: PresenceOptions) -> Self {
        Self { roster, broker, options }
    }

    async fn publish(&self, channel: &Channel, message: &serde_json::Value) -> Result<(), BrokerError> {
        let Some(channel) = channel.presence() else { return Ok(()) };
        let message = Outgoing { data: Bytes::from(message.to_string()), ..Outgoing::default() };
        self.broker.publish(&channel, message).await.map(|_| ())
    }

    /// What stands for more events than are told one by one.
    async fn many(&self, channel: &Channel, note: &Note<'_>) -> Result<(), BrokerError> {
        let message = json!({
            "message_type": "presence", "action": "many", "channel": channel.as_str(),
            "joined": note.joined.len(), "left": note.left.len(), "num_clients": self.roster.count(channel),
            "timestamp": note.at,
        });
        self.publish(channel, &message).await
    }
}

#[async_trait]
impl PresenceStore for Local {
    async fn tell(&self, channel: &Channel, note: Note<'_>) -> Result<bool, BrokerError> {
        if !self.options.events {
            return Ok(true);
        }
        if note.joined.len() + note.left.len() > self.options.max_events {
            self.many(channel, &note).await?;
            return Ok(true);
        }
        let joined = note.joined.iter().map(|entry| ("join", entry));
        for (action, entry) in joined.chain(note.left.iter().map(|entry| ("leave", entry))) {
            let mut message = json!({
                "message_type": "presence", "action": action, "channel": channel.as_str(), "client": entry.client,
                "user": entry.user, "node": entry.node, "connected_at": entry.connected_at, "timestamp": note.at,
            });
            for (name, info) in [("conn_info", &entry.conn_info), ("chan_info", &entry.chan_info)] {
                if let Some(info) = info {
                    message[name] = json!(info);
                }
            }
            self.publish(channel, &message).await?;
        }
        Ok(true)
    }

    /// What was told is not kept: watchers are told to look.
    async fn difference(&self, channel: &Channel, _own: Vec<Entry>) -> Result<Difference, BrokerError> {
        if self.options.events {
            let message = json!({
                "message_type": "presence", "action": "many", "channel": channel.as_str(),
                "num_clients": self.roster.count(channel), "timestamp": self.roster.now(),
            });
            self.publish(channel, &message).await?;
        }
        Ok(Difference::default())
    }

    async fn list(&self, channel: &Channel, _at: String) -> Result<Present, BrokerError> {
        let events = channel.presence().unwrap_or_else(|| channel.clone());
        // Before the look: what changes in between is published after it, and said twice it changes nothing.
        let position = self.broker.position(&events).await?;
        let mut entries = self.roster.entries(channel);
        let users: HashSet<&Arc<str>> = entries.iter().filter_map(|entry| entry.user.as_ref()).collect();
        let (num_users, num_clients) = (users.len() as u64, entries.len() as u64);
        entries.truncate(self.options.max_listed);
        let clients = entries.iter().map(to_raw_value).collect::<Result<_, _>>();
        let clients = clients.map_err(|error| BrokerError::Unavailable(error.to_string()))?;
        Ok(Present { position, num_clients, num_users, clients })
    }
}

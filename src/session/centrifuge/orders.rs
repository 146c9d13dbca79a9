//! What back ends tell sessions, on whatever node they are: orders go through the broker, and each node carries out
//! those for its own.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Channels;
use super::nodes::{EVERY, NodeInfo};
use super::peer::Input;
use super::session::{Failed, Session};
use super::subscribe::Wish;
use crate::auth::{Info, ServerSub};
use crate::stream::{CONTROL, Channel, PublishError, Tags};
use crate::wire::centrifuge::{Disconnect, Push, Refresh, Subscribe, SubscribeRequest};
use crate::wire::{Close, close_frame_of};

/// Orders that wait on one node.
const ROOM: usize = 4_096;

/// A connection that has said who it is.
pub(super) struct Known {
    pub user: Arc<str>,
    pub queue: mpsc::WeakSender<Input>,
    /// What its connect reply calls the session, where it does.
    pub session: Option<String>,
}

/// Whose connections an order is for; both given, both must hold.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Target {
    pub user: String,
    /// One connection. Empty: all of the user's.
    pub client: String,
    /// One connection by its session. Empty: all of the user's.
    pub session: String,
    /// Connections that are spared.
    pub whitelist: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    Subscribe {
        channel: String,
        #[serde(default)]
        info: Option<Box<RawValue>>,
        #[serde(default)]
        data: Option<Box<RawValue>>,
        /// As tokens have it.
        #[serde(default)]
        overrides: Option<Box<RawValue>>,
        /// Epoch and offset to recover from.
        #[serde(default)]
        since: Option<(String, u64)>,
        #[serde(default)]
        expire_at_ms: Option<i64>,
    },
    Unsubscribe {
        channel: String,
        code: u32,
        reason: String,
    },
    Disconnect {
        code: u16,
        reason: String,
    },
    Refresh {
        expired: bool,
        expire_at_ms: Option<i64>,
        /// What others see of the client from now on.
        #[serde(default)]
        info: Option<Box<RawValue>>,
    },
}

/// What nodes tell one another.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Letter {
    Order {
        target: Target,
        order: Order,
    },
    /// Commands that came to another node than their connection.
    Commands {
        node: String,
        session: String,
        /// In base64.
        data: String,
    },
    /// A node is there, and how it is.
    Node(NodeInfo),
    /// It ends.
    Gone {
        node: String,
    },
    /// Which channels have somebody on them?
    Which {
        question: String,
        node: String,
        pattern: String,
    },
    Those {
        question: String,
        node: String,
        /// Who has asked.
        to: String,
        channels: Vec<(String, u64)>,
        last: bool,
    },
}

/// On which nodes hear of orders. Nobody but the server publishes there.
pub fn control_channel() -> Channel {
    // The name is printable.
    Channel::new(CONTROL).unwrap_or_else(|_| unreachable!())
}

impl Channels {
    /// Answers when the broker has the order; nodes carry it out within moments.
    pub async fn tell(&self, target: Target, order: Order) -> Result<(), PublishError> {
        self.send(&Letter::Order { target, order }).await
    }

    pub(super) async fn forward(&self, node: String, session: String, data: &[u8]) -> Result<(), PublishError> {
        self.send(&Letter::Commands { node, session, data: BASE64_STANDARD.encode(data) }).await
    }

    pub(super) async fn send(&self, letter: &Letter) -> Result<(), PublishError> {
        let letter = serde_json::to_vec(letter);
        let letter = letter.map_err(|error| PublishError::NotJson(error.to_string()))?;
        self.node().publish(&control_channel(), letter.into(), Tags::new()).await.map(|_| ())
    }

    /// Carries out what is ordered until `stop`.
    pub async fn carry_out(self, stop: CancellationToken) {
        let mut heard = loop {
            match self.node().listen(&control_channel(), ROOM).await {
                Ok(heard) => break heard,
                Err(error) => tracing::warn!(%error, "orders to sessions cannot be heard yet"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
            }
        };
        // Where one process is all there is, nobody needs to be told.
        let shared = self.node().broker().is_shared();
        let mut due = tokio::time::interval(EVERY);
        loop {
            let publication = tokio::select! {
                () = stop.cancelled() => break,
                next = heard.next() => next,
                _ = due.tick(), if shared => {
                    self.say_here().await;
                    continue;
                }
            };
            let Some(publication) = publication else { break };
            match serde_json::from_slice::<Letter>(&publication.data) {
                Ok(letter) => self.read(letter).await,
                Err(error) => tracing::warn!(%error, "an order is not understood"),
            }
        }
        if shared {
            let gone = Letter::Gone { node: self.uid() };
            let _ = tokio::time::timeout(std::time::Duration::from_secs(1), self.send(&gone)).await;
        }
    }

    async fn say_here(&self) {
        if let Err(error) = self.send(&Letter::Node(self.node_info())).await {
            tracing::debug!(%error, "the other nodes were not told that this one is there");
        }
    }

    async fn read(&self, letter: Letter) {
        let own = self.uid();
        match letter {
            Letter::Order { target, order } => self.pass_on(&target, &order),
            Letter::Commands { node, session, data } if node == own => match BASE64_STANDARD.decode(data) {
                Ok(data) => _ = self.commanded(&session, &data).await,
                Err(error) => tracing::warn!(%error, "forwarded commands are not understood"),
            },
            Letter::Commands { .. } => {}
            Letter::Node(info) if info.uid == own => {}
            // Who is new does not know this one yet.
            Letter::Node(info) => {
                if self.0.nodes.heard(info) {
                    self.say_here().await;
                }
            }
            Letter::Gone { node } => self.0.nodes.gone(&node),
            Letter::Which { node, .. } if node == own => {}
            Letter::Which { question, node, pattern } => self.tell_listened(question, node, &pattern).await,
            Letter::Those { question, node, to, channels, last } if to == own => {
                self.0.nodes.answered(&question, node, channels, last).await;
            }
            Letter::Those { .. } => {}
        }
    }

    fn pass_on(&self, target: &Target, order: &Order) {
        let one = |known: &Known| {
            // Full: the client has sent more than it may, and is about to be told so.
            if let Some(queue) = known.queue.upgrade() {
                let _ = queue.try_send(Input::Order(order.clone()));
            }
        };
        let meant = |name: &str, known: &Known| {
            (target.client.is_empty() || target.client == name)
                && (target.session.is_empty() || known.session.as_ref() == Some(&target.session))
                && *target.user == *known.user
                && !target.whitelist.iter().any(|spared| spared == name)
        };
        if target.client.is_empty() {
            self.0.known.iter().filter(|known| meant(known.key(), known)).for_each(|known| one(&known));
        } else if let Some(known) = self.0.known.get(&target.client)
            && meant(&target.client, &known)
        {
            one(&known);
        }
    }

    /// Connections of this node that have said who they are, and how many users they are.
    pub fn connected(&self) -> (usize, usize) {
        let users: std::collections::HashSet<Arc<str>> = self.0.known.iter().map(|known| known.user.clone()).collect();
        (self.0.known.len(), users.len())
    }
}

impl Session {
    pub(super) async fn order(&mut self, order: Order) -> Result<(), Disconnect> {
        match order {
            Order::Disconnect { code, reason } => {
                let frame = close_frame_of(code, &reason);
                self.client.close(Close::Channels(Disconnect::Force), Some(frame)).await;
                // Closed already; what follows changes nothing.
                Err(Disconnect::Force)
            }
            Order::Unsubscribe { channel, code, reason } => {
                if channel.is_empty() {
                    for channel in self.subs.keys().cloned().collect::<Vec<_>>() {
                        self.take_off(&channel, code, &reason).await;
                    }
                } else {
                    self.take_off(&channel, code, &reason).await;
                }
                Ok(())
            }
            Order::Refresh { expired: true, .. } => Err(Disconnect::Expired),
            Order::Refresh { expire_at_ms, info, .. } => {
                let now = self.channels.0.clock.now_ms();
                let Some(who) = &mut self.who else { return Ok(()) };
                who.info = info.or(who.info.take());
                who.ends_at_ms = expire_at_ms;
                let (expires, ttl) = super::connect::lifetime(expire_at_ms, now);
                let push = Push { refresh: Some(Refresh { expires, ttl }), ..Push::default() };
                self.client.send(self.push_frame(push)).await;
                Ok(())
            }
            Order::Subscribe { channel, info, data, overrides, since, expire_at_ms } => {
                if self.subs.contains_key(&channel) || self.who.is_none() {
                    return Ok(());
                }
                let (epoch, offset) = since.clone().unwrap_or_default();
                let recover = since.is_some();
                let request =
                    SubscribeRequest { channel: channel.clone(), recover, epoch, offset, ..Default::default() };
                let json = |raw: Option<Box<RawValue>>| {
                    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).map(Info::Json)
                };
                let overrides = overrides.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
                let sub = ServerSub { info: json(info), data: json(data), overrides };
                let (encoding, name) = (self.encoding, channel.clone());
                let taken = self.take(Wish::of_server(request, sub), move |result| {
                    let subscribe = Subscribe {
                        recoverable: result.recoverable,
                        epoch: result.epoch.clone(),
                        offset: result.offset,
                        positioned: result.positioned,
                        data: result.data.clone(),
                    };
                    let push = Push { channel: name, subscribe: Some(subscribe), ..Push::default() };
                    Some(encoding.reply(&crate::wire::centrifuge::Reply { push: Some(push), ..Default::default() }))
                });
                match taken.await {
                    Ok(_) => {
                        if let Some(sub) = self.subs.get_mut(&channel) {
                            sub.ends_at_ms = expire_at_ms;
                        }
                        Ok(())
                    }
                    Err(Failed::End(why)) => Err(why),
                    Err(Failed::Fault(fault)) => {
                        tracing::warn!(channel, fault = fault.message(), "a client could not be subscribed as ordered");
                        Ok(())
                    }
                }
            }
        }
    }
}

//! What a client asks of a channel beside being on it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Channels;
use super::map::SubscriptionType;
use super::options::{ChannelOptions, DataFormat};
use super::session::{Failed, Session};
use super::subscribe::tell;
use crate::stream::{CLIENT_INFO, Channel, Outgoing, Present, Publication, PublishError};
use crate::wire::centrifuge::{
    self as wire, ClientInfo, Disconnect, Fault, HistoryRequest, HistoryResult, PresenceResult, PresenceStatsResult,
    PublishRequest, Reply, StreamPosition,
};

/// What is read of a channel's past.
pub struct Past {
    pub publications: Vec<Arc<Publication>>,
    pub epoch: String,
    /// The newest there is.
    pub offset: u64,
}

/// Which part of a channel's past.
#[derive(Clone, Debug, Default)]
pub struct Span {
    /// 0: none, only where the channel stands; less: as much as may be.
    pub limit: i32,
    pub since: Option<StreamPosition>,
    pub reverse: bool,
}

/// A client as presence tells it.
#[derive(Deserialize)]
struct Listed {
    client: String,
    user: Option<String>,
    conn_info: Option<Box<RawValue>>,
    chan_info: Option<Box<RawValue>>,
}

impl Session {
    pub(super) async fn publish(&mut self, id: u32, request: PublishRequest) -> Result<(), Failed> {
        if request.channel.is_empty() {
            return Err(Disconnect::BadRequest.into());
        }
        let channels = self.channels.clone();
        let place = channels.place(&request.channel)?;
        let kind = place.options.subscription_type;
        if kind == SubscriptionType::SharedPoll {
            return Err(Fault::PermissionDenied.into());
        }
        if request.r#type == 1 && kind.is_map() {
            return self.publish_on_map(id, place, request).await;
        }
        let PublishRequest { channel: name, data, r#type, .. } = request;
        if data.is_empty() || r#type != 0 || kind.is_map() {
            return Err(Fault::BadRequest.into());
        }
        if !place.may_publish(self.asking(&name)) || place.channel == super::control_channel() {
            return Err(Fault::PermissionDenied.into());
        }
        let is_object = data.trim_ascii_start().first() == Some(&b'{');
        if place.options.publication_data_format == DataFormat::JsonObject && !is_object {
            return Err(Fault::BadRequest.into());
        }
        if !self.channels.fits(place.channel.as_str(), &data) {
            return Err(Fault::BadRequest.into());
        }
        let info = self.info_on(&name);
        let info = serde_json::to_string(&info).map_err(|_| Fault::Internal)?;
        let tags = vec![(CLIENT_INFO.to_owned(), info)];
        let message = Outgoing { data, tags, ..Outgoing::default() };
        let published = self.channels.node().publish_message(&place.channel, message).await;
        published.map_err(|error| match error {
            PublishError::NotJson(_) => Fault::BadRequest,
            PublishError::Unavailable(_) => Fault::Internal,
        })?;
        self.reply(Reply { id, publish: Some(wire::Empty {}), ..Reply::default() }).await;
        Ok(())
    }

    /// What the others are shown of this client.
    pub(super) fn info_on(&self, name: &str) -> ClientInfo {
        let bytes = |info: Option<&RawValue>| info.map(|info| Bytes::from(info.get().to_owned())).unwrap_or_default();
        let who = self.who.as_ref();
        let on_channel = self.subs.get(name).and_then(|sub| sub.info.as_ref());
        ClientInfo {
            user: who.map_or("", |who| &who.user).to_owned(),
            client: self.name.clone(),
            conn_info: bytes(who.and_then(|who| who.info.as_deref())),
            chan_info: bytes(on_channel.and_then(|info| info.channel.as_deref())),
        }
    }

    pub(super) async fn presence(&mut self, id: u32, name: &str) -> Result<(), Failed> {
        let present = self.present(name).await?;
        let presence = Some(PresenceResult { presence: clients(&present) });
        self.reply(Reply { id, presence, ..Reply::default() }).await;
        Ok(())
    }

    pub(super) async fn presence_stats(&mut self, id: u32, name: &str) -> Result<(), Failed> {
        let present = self.present(name).await?;
        let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let (num_clients, num_users) = (count(present.num_clients), count(present.num_users));
        let presence_stats = Some(PresenceStatsResult { num_clients, num_users });
        self.reply(Reply { id, presence_stats, ..Reply::default() }).await;
        Ok(())
    }

    async fn present(&self, name: &str) -> Result<Present, Failed> {
        if name.is_empty() {
            return Err(Disconnect::BadRequest.into());
        }
        let place = self.channels.place(name)?;
        place.may_see_presence(self.asking(name))?;
        Ok(self.channels.present(&place.channel).await?)
    }

    pub(super) async fn history(&mut self, id: u32, request: HistoryRequest) -> Result<(), Failed> {
        let HistoryRequest { channel: name, limit, since, reverse } = request;
        if name.is_empty() {
            return Err(Disconnect::BadRequest.into());
        }
        let place = self.channels.place(&name)?;
        place.may_see_history(self.asking(&name))?;
        let past = self.channels.past(&place.channel, place.options, Span { limit, since, reverse }).await?;
        let publications = past.publications.iter().map(|one| tell(one, &name)).collect();
        let history = Some(HistoryResult { publications, epoch: past.epoch, offset: past.offset });
        self.reply(Reply { id, history, ..Reply::default() }).await;
        Ok(())
    }
}

/// Clients by name.
pub fn clients(present: &Present) -> HashMap<String, ClientInfo> {
    let bytes = |info: Option<Box<RawValue>>| info.map(|info| Bytes::from(info.get().to_owned())).unwrap_or_default();
    let listed = present.clients.iter().filter_map(|raw| serde_json::from_str::<Listed>(raw.get()).ok());
    listed
        .map(|one| {
            let (conn_info, chan_info) = (bytes(one.conn_info), bytes(one.chan_info));
            let user = one.user.unwrap_or_default();
            (one.client.clone(), ClientInfo { user, client: one.client, conn_info, chan_info })
        })
        .collect()
}

impl Channels {
    /// The options of the channel with this name, and what is published on.
    pub fn options_of(&self, name: &str) -> Result<(Channel, &ChannelOptions), Fault> {
        let place = self.place(name)?;
        Ok((place.channel, place.options))
    }

    pub async fn present(&self, channel: &Channel) -> Result<Present, Fault> {
        let presence = self.node().presence().ok_or(Fault::NotAvailable)?;
        presence.list(channel).await.map_err(|error| {
            tracing::warn!(%error, %channel, "who is present cannot be read");
            Fault::Internal
        })
    }

    /// A part of what a channel said, oldest first, or newest first in reverse.
    pub async fn past(&self, channel: &Channel, options: &ChannelOptions, span: Span) -> Result<Past, Fault> {
        self.past_of(channel, (options.history_size, options.history_ttl()), span).await
    }

    /// The same of the newest `size`, none of them older than `longest`.
    pub async fn past_of(
        &self,
        channel: &Channel,
        (size, longest): (usize, Duration),
        span: Span,
    ) -> Result<Past, Fault> {
        let broker = self.node().broker();
        let failed = |error| {
            tracing::warn!(%error, %channel, "the history cannot be read");
            Fault::Internal
        };
        let Span { limit, since, reverse } = span;
        if reverse && since.as_ref().is_some_and(|since| since.offset == 0) {
            return Err(Fault::BadRequest);
        }
        let stands = broker.position(channel).await.map_err(failed)?;
        let top = |position: &crate::stream::Position| (position.epoch.to_string(), position.offset);
        if since.as_ref().is_some_and(|since| !since.epoch.is_empty() && *since.epoch != *stands.epoch) {
            return Err(Fault::Unrecoverable);
        }
        if limit == 0 {
            let (epoch, offset) = top(&stands);
            return Ok(Past { publications: Vec::new(), epoch, offset });
        }
        let most = self.0.options.max_publications;
        let most = usize::try_from(limit).map_or(most, |limit| limit.min(most));
        // What is older than the namespace keeps is not told, though the broker may have it.
        let oldest = stands.offset.saturating_sub(size as u64);
        let after = match &since {
            Some(since) if !reverse => since.offset.max(oldest),
            _ => oldest,
        };
        let past = broker.history(channel, after).await.map_err(failed)?;
        let (epoch, offset) = top(&past.position);
        let mut publications: Vec<_> = past.publications;
        publications.retain(|one| one.published_at.elapsed() <= longest);
        if reverse {
            publications.reverse();
            publications.retain(|one| since.as_ref().is_none_or(|since| one.offset() < since.offset));
        }
        publications.truncate(most);
        Ok(Past { publications, epoch, offset })
    }
}

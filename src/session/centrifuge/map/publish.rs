//! Clients that write to a map, or take a key away.

use std::time::Instant;

use bytes::Bytes;

use super::{ClientKey, SubscriptionType, check_key, failed};
use crate::session::centrifuge::control_channel;
use crate::session::centrifuge::rules::Place;
use crate::session::centrifuge::session::{Failed, RENEW, Session};
use crate::stream::{CLIENT_INFO, Channel, MapKind, MapWrite, Written};
use crate::wire::centrifuge::{Empty, Fault, PublishRequest, Reply};
use crate::wire::is_json;

impl Session {
    pub(in crate::session::centrifuge) async fn publish_on_map(
        &mut self,
        id: u32,
        place: Place<'_>,
        request: PublishRequest,
    ) -> Result<(), Failed> {
        let PublishRequest { channel: name, data, key, removed, .. } = request;
        let options = &place.options.map;
        let (client, subscriber, anonymous) = match removed {
            true => (
                options.allow_remove_for_client,
                options.allow_remove_for_subscriber,
                options.allow_remove_for_anonymous,
            ),
            false => (
                options.allow_publish_for_client,
                options.allow_publish_for_subscriber,
                options.allow_publish_for_anonymous,
            ),
        };
        let asking = self.asking(&name);
        let trusted = asking.identity.is_some_and(|identity| identity.may_publish(place.channel.as_str()));
        // What the server itself writes is nobody else's.
        let own = place.options.subscription_type != SubscriptionType::Map || place.channel == control_channel();
        if own || !(trusted || place.allows(asking, client, subscriber, anonymous)) {
            return Err(Fault::PermissionDenied.into());
        }
        let key = match options.client_key {
            ClientKey::Any => key,
            ClientKey::ClientId => self.name.clone(),
            ClientKey::UserId if self.user().is_empty() => return Err(Fault::PermissionDenied.into()),
            ClientKey::UserId => self.user().to_owned(),
        };
        check_key(&key)?;
        if !removed && (data.is_empty() || is_json(&data).is_err()) {
            return Err(Fault::BadRequest.into());
        }
        let info = serde_json::to_string(&self.info_on(&name)).map_err(|_| Fault::Internal)?;
        let write = MapWrite {
            key,
            data: (!removed).then_some(data),
            tags: vec![(CLIENT_INFO.to_owned(), info)],
            ..MapWrite::default()
        };
        let maps = self.channels.node().maps();
        let written = maps.write(&place.channel, options.kind(), write).await.map_err(failed(&place.channel))?;
        if written.suppressed == Some(Written::FULL) {
            return Err(Fault::LimitExceeded.into());
        }
        self.reply(Reply { id, publish: Some(Empty {}), ..Reply::default() }).await;
        Ok(())
    }

    fn user(&self) -> &str {
        self.who.as_ref().map_or("", |who| &who.user)
    }

    /// What the client leaves behind on maps when it leaves `name`.
    pub(in crate::session::centrifuge) async fn leave_maps(&self, name: &str) {
        let Ok(place) = self.channels.place(name) else { return };
        let mut gone = Vec::new();
        if place.options.subscription_type == SubscriptionType::Map && place.options.map.remove_client_on_unsubscribe {
            gone.push((place.channel.clone(), place.options.map.kind()));
        }
        gone.extend(self.clients_map(&place));
        for (channel, kind) in gone {
            let write = MapWrite { key: self.name.clone(), ..MapWrite::default() };
            if let Err(error) = self.channels.node().maps().write(&channel, kind, write).await {
                tracing::warn!(%error, %channel, "a client's key could not be removed; it ends by itself");
            }
        }
    }

    /// Writes down that the client is on `name` where a map tells that, now and as long as it is.
    pub(in crate::session::centrifuge) async fn attend_maps(&mut self, name: &str) {
        if self.attend(name).await && self.renews_at.is_none() {
            self.renews_at = Some(Instant::now() + RENEW);
        }
    }

    pub(in crate::session::centrifuge) async fn renew_on_maps(&mut self) {
        let mut any = false;
        for name in self.subs.keys() {
            any |= self.attend(name).await;
        }
        self.renews_at = any.then(|| Instant::now() + RENEW);
    }

    async fn attend(&self, name: &str) -> bool {
        let Ok(place) = self.channels.place(name) else { return false };
        let users = self.users_map(&place).map(|(channel, kind)| (channel, kind, self.user().to_owned()));
        let clients = self.clients_map(&place).map(|(channel, kind)| (channel, kind, self.name.clone()));
        let mut any = false;
        for (channel, kind, key) in clients.into_iter().chain(users) {
            any = true;
            let Ok(info) = serde_json::to_string(&self.info_on(name)) else { continue };
            let (data, tags) = (Some(Bytes::from_static(b"{}")), vec![(CLIENT_INFO.to_owned(), info)]);
            let write = MapWrite { key, data, tags, renew: true, ..MapWrite::default() };
            match self.channels.node().maps().write(&channel, kind, write).await {
                Ok(written) if written.suppressed == Some(Written::FULL) => {
                    tracing::warn!(%channel, "a map of who is on a channel is full");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, %channel, "who is on a channel could not be written down"),
            }
        }
        any
    }

    fn clients_map(&self, place: &Place<'_>) -> Option<(Channel, MapKind)> {
        self.presence_map(place, &place.options.map_clients_presence_channel_prefix)
    }

    fn users_map(&self, place: &Place<'_>) -> Option<(Channel, MapKind)> {
        self.presence_map(place, &place.options.map_users_presence_channel_prefix).filter(|_| !self.user().is_empty())
    }

    fn presence_map(&self, place: &Place<'_>, prefix: &str) -> Option<(Channel, MapKind)> {
        if prefix.is_empty() {
            return None;
        }
        let (channel, kind, _) = self.channels.map_of(&format!("{prefix}{}", place.channel)).ok()?;
        Some((channel, kind))
    }
}

//! Who the client is, and what the server subscribes it to.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::orders::Known;
use super::session::{Failed, Session};
use super::subscribe::Wish;
use crate::auth::{AuthError, Claims, Credentials, Identity, Info, ServerSub};
use crate::wire::centrifuge::{
    ConnectPush, ConnectRequest, ConnectResult, Disconnect, Encoding, Fault, Push, RefreshResult, Reply,
    SubscribeRequest, SubscribeResult,
};

/// A client that has connected.
pub(super) struct Who {
    /// `None`: nobody in particular.
    pub identity: Option<Identity>,
    /// Empty of whom nothing is known.
    pub user: Arc<str>,
    /// What others are shown, as JSON.
    pub info: Option<Box<RawValue>>,
    /// When the connection has to be refreshed, in milliseconds since 1970.
    pub ends_at_ms: Option<i64>,
}

impl Who {
    /// Whose rights count. A token without a name says where its holder is subscribed, and gives no role.
    pub fn with_rights(&self, open: bool) -> Option<&Identity> {
        self.identity.as_ref().filter(|_| open || !self.user.is_empty())
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Session {
    pub(super) async fn connect(&mut self, id: u32, request: ConnectRequest) -> Result<(), Failed> {
        let (who, claims) = self.identify(&request.token).await?;
        let now = self.channels.0.clock.now_ms();
        if who.ends_at_ms.is_some_and(|at| at <= now) {
            return Err(Fault::Expired.into());
        }
        let most = self.channels.0.options.max_connections_per_user;
        if most > 0 && !who.user.is_empty() {
            let same = self.channels.0.known.iter().filter(|known| known.user == who.user).count();
            if same >= most {
                return Err(Disconnect::ConnectionLimit.into());
            }
        }
        let wanted = self.server_side(&request.subs, &claims, &who)?;
        let (expires, ttl) = lifetime(who.ends_at_ms, now);
        let known = Known { user: who.user.clone(), queue: self.queue.clone() };
        self.channels.0.known.insert(self.name.clone(), known);
        self.who = Some(who);
        // What the channels bring comes behind the answer that names them.
        self.client.cork().await;
        let mut subs = HashMap::new();
        for (channel, (sub, request, required)) in wanted {
            let request = SubscribeRequest { channel: channel.clone(), ..request.unwrap_or_default() };
            let wish = if required { Wish::of_server(request, sub) } else { Wish::at_connect(request) };
            match self.take(wish, |_| Some(bytes::Bytes::new())).await {
                Ok(result) => _ = subs.insert(channel, result),
                Err(failed) if required => {
                    for (_, sub) in std::mem::take(&mut self.subs) {
                        self.client.unsubscribe(sub.id, bytes::Bytes::new()).await;
                    }
                    self.client.uncork(bytes::Bytes::new()).await;
                    self.who = None;
                    return Err(failed);
                }
                Err(_) => {}
            }
        }
        self.connected();
        let first = self.connected_frame(id, expires, ttl, subs);
        self.client.uncork(first).await;
        Ok(())
    }

    fn connected_frame(
        &self,
        id: u32,
        expires: bool,
        ttl: u32,
        subs: HashMap<String, SubscribeResult>,
    ) -> bytes::Bytes {
        let (client, version) = (self.name.clone(), VERSION.to_owned());
        let native = self.signs.is_native();
        let ping = if native { 0 } else { self.channels.node().hub().options().ping_interval_s.max(2) as u32 };
        if self.encoding == Encoding::Bare {
            let connect = Some(ConnectPush { client, version, subs, expires, ttl, ping });
            return self.push_frame(Push { connect, ..Push::default() });
        }
        let session = self.emulated.clone().unwrap_or_default();
        let node = self.emulated.as_ref().map_or("", |_| self.channels.node().hub().node_id()).to_owned();
        let connect = Some(ConnectResult { client, version, expires, ttl, subs, ping, pong: !native, session, node });
        self.encoding.reply(&Reply { id, connect, ..Reply::default() })
    }

    async fn identify(&self, token: &str) -> Result<(Who, Option<Arc<Claims>>), Failed> {
        let gate = self.channels.0.sessions.gate();
        let identity = if token.is_empty() {
            self.shown.clone()
        } else if token.contains('.') || gate.is_open() {
            let read = gate.connection_token(token).await;
            Some(read.map_err(|error| match error {
                AuthError::Expired => Failed::from(Fault::TokenExpired),
                _ => Disconnect::InvalidToken.into(),
            })?)
            .map(|(_, identity)| identity)
        } else {
            // An API key is as good as a token.
            let key = Credentials { bearer: Some(token), ..Credentials::default() };
            Some(gate.identify(&key).map_err(|_| Disconnect::InvalidToken)?)
        };
        match identity {
            None if !self.channels.0.options.allow_anonymous => Err(Disconnect::BadRequest.into()),
            None => Ok((Who { identity: None, user: "".into(), info: None, ends_at_ms: None }, None)),
            Some(identity) => {
                let claims = identity.claims().cloned();
                // Nobody is known by name where nobody is asked.
                let unnamed = gate.is_open() && token.is_empty();
                let user = if unnamed { "".into() } else { identity.subject.clone() };
                let info = claims.as_ref().and_then(|claims| raw(claims.info.as_ref()));
                let ends_at_ms = identity.ends_at_ms();
                Ok((Who { identity: Some(identity), user, info, ends_at_ms }, claims))
            }
        }
    }

    /// What the token says the client is on, with where it was; and what else it asks for that it might take itself.
    #[allow(clippy::type_complexity, reason = "it lives for a moment")]
    fn server_side(
        &self,
        asked: &HashMap<String, SubscribeRequest>,
        claims: &Option<Arc<Claims>>,
        who: &Who,
    ) -> Result<HashMap<String, (ServerSub, Option<SubscribeRequest>, bool)>, Failed> {
        let mut wanted = HashMap::new();
        if let Some(claims) = claims {
            let listed = claims.channels.iter().map(|channel| (channel, ServerSub::default()));
            let named = claims.subs.iter().map(|(channel, sub)| (channel, sub.clone()));
            for (channel, sub) in listed.chain(named) {
                self.channels.place(channel)?;
                wanted.insert(channel.clone(), (sub, asked.get(channel).cloned(), true));
            }
        }
        for (channel, request) in asked {
            if wanted.contains_key(channel) {
                continue;
            }
            let place = self.channels.place(channel).map_err(|_| Disconnect::BadRequest)?;
            let open = self.is_open();
            let asking =
                super::rules::Asking { identity: who.with_rights(open), user: &who.user, open, subscribed: false };
            if place.may_subscribe(asking) {
                wanted.insert(channel.clone(), (ServerSub::default(), Some(request.clone()), false));
            }
        }
        if wanted.len() > self.channels.0.options.max_channels {
            return Err(Disconnect::ChannelLimit.into());
        }
        Ok(wanted)
    }

    pub(super) async fn refresh(&mut self, id: u32, token: &str) -> Result<(), Failed> {
        if token.is_empty() {
            return Err(Disconnect::BadRequest.into());
        }
        let read = self.channels.0.sessions.gate().connection_token(token).await;
        let (_, identity) = read.map_err(|error| match error {
            AuthError::Expired => Disconnect::Expired,
            _ => Disconnect::InvalidToken,
        })?;
        let now = self.channels.0.clock.now_ms();
        let Some(who) = &mut self.who else { return Err(Disconnect::BadRequest.into()) };
        if identity.subject != who.user {
            return Err(Disconnect::InvalidToken.into());
        }
        let ends_at_ms = identity.ends_at_ms();
        if ends_at_ms.is_some_and(|at| at <= now) {
            return Err(Disconnect::Expired.into());
        }
        // Another role or other scopes may not hear what is subscribed already: it subscribes anew.
        let rights = |identity: &Identity| (identity.role, identity.scopes.clone());
        if who.identity.as_ref().map(rights) != Some(rights(&identity)) {
            return Err(Disconnect::InsufficientState.into());
        }
        let listed = |claims: Option<&Arc<Claims>>| {
            let claims = claims?;
            let mut all: Vec<String> = claims.channels.iter().chain(claims.subs.keys()).cloned().collect();
            all.sort();
            all.dedup();
            Some(all)
        };
        let before = who.identity.as_ref().and_then(|identity| listed(identity.claims())).unwrap_or_default();
        if before != listed(identity.claims()).unwrap_or_default() {
            return Err(Disconnect::InsufficientState.into());
        }
        who.ends_at_ms = ends_at_ms;
        who.info = identity.claims().and_then(|claims| raw(claims.info.as_ref()));
        who.identity = Some(identity);
        let (expires, ttl) = lifetime(ends_at_ms, now);
        let (client, version) = (self.name.clone(), VERSION.to_owned());
        let refresh = Some(RefreshResult { client, version, expires, ttl });
        self.reply(Reply { id, refresh, ..Reply::default() }).await;
        Ok(())
    }
}

/// Whether something ends, and in how many seconds.
pub(super) fn lifetime(ends_at_ms: Option<i64>, now_ms: i64) -> (bool, u32) {
    let left = ends_at_ms.map(|at| u32::try_from(((at - now_ms).max(1) + 999) / 1000).unwrap_or(u32::MAX));
    (left.is_some(), left.unwrap_or(0))
}

/// What others are shown, as JSON; bytes that are not JSON are shown to nobody.
pub(super) fn raw(info: Option<&Info>) -> Option<Box<RawValue>> {
    match info? {
        Info::Json(value) => serde_json::value::to_raw_value(value).ok(),
        Info::Bytes(bytes) => serde_json::from_slice(bytes).ok(),
    }
}

//! A channel for the client: may it, what of it, and from where on.

use std::sync::Arc;

use bytes::Bytes;

use super::FEED;
use super::connect::{lifetime, raw};
use super::map::SubscriptionType;
use super::options::{ChannelOptions, RecoveryMode};
use super::rules::{Asking, Place, tag_filter};
use super::session::{Failed, Session, Sub};
use crate::auth::{AuthError, Claims, Info, Overrides, ServerSub};
use crate::stream::{Attending, Audience, AudienceSpec, Pace, Publication, Recover, ShownInfo, Stand, Subscribing};
use crate::wire::centrifuge::{
    self as wire, Delta, Disconnect, Encoding, Fault, Reply, Shape, SubRefreshRequest, SubRefreshResult,
    SubscribeRequest, SubscribeResult, json_text,
};
use crate::wire::{Dialect, Form};

/// The client refuses to begin anew where it cannot recover.
const REJECT_UNRECOVERED: i64 = 2;

/// What is subscribed to, and by whose word.
pub(super) struct Wish {
    request: SubscribeRequest,
    /// The server's own: what goes with it.
    server: Option<ServerSub>,
    /// By a back end's word, and so all that is told there.
    whole: bool,
}

impl Wish {
    pub fn of_server(request: SubscribeRequest, sub: ServerSub) -> Self {
        Self { request, server: Some(sub), whole: true }
    }

    /// What a client that connects may take itself; it is on it by the server's hand.
    pub fn at_connect(request: SubscribeRequest) -> Self {
        Self { request, server: Some(ServerSub::default()), whole: false }
    }
}

/// What a token or the server says beyond the namespace's options.
#[derive(Default)]
pub(super) struct Grant {
    pub ends_at_ms: Option<i64>,
    pub info: Option<Info>,
    data: Option<Info>,
    overrides: Overrides,
}

impl Session {
    pub(super) async fn subscribe(&mut self, id: u32, request: SubscribeRequest) -> Result<(), Failed> {
        if request.channel.is_empty() {
            return Err(Disconnect::BadRequest.into());
        }
        if self.subs.contains_key(&request.channel) {
            return Err(Fault::AlreadySubscribed.into());
        }
        if self.subs.len() >= self.channels.0.options.max_channels {
            return Err(Fault::LimitExceeded.into());
        }
        let kind = self.channels.place(&request.channel)?.options.subscription_type;
        if request.r#type != kind.number() {
            return Err(Fault::PermissionDenied.into());
        }
        match kind {
            SubscriptionType::Stream => {}
            SubscriptionType::SharedPoll => return self.subscribe_poll(id, request).await,
            _ => return self.subscribe_map(id, request).await,
        }
        let encoding = self.encoding;
        let wish = Wish { request, server: None, whole: false };
        let reply = move |result: &SubscribeResult| {
            Some(encoding.reply(&Reply { id, subscribe: Some(result.clone()), ..Reply::default() }))
        };
        self.take(wish, reply).await.map(|_| ())
    }

    /// Puts the client on the channel; `reply` makes what goes before its publications.
    pub(super) async fn take(
        &mut self,
        wish: Wish,
        reply: impl FnOnce(&SubscribeResult) -> Option<Bytes> + Send,
    ) -> Result<SubscribeResult, Failed> {
        let Wish { request, server, whole } = wish;
        let channels = self.channels.clone();
        let place = channels.place(&request.channel)?;
        // A map is the client's own to ask for, page by page.
        if request.r#type != 0 || place.options.subscription_type != SubscriptionType::Stream {
            return Err(Fault::PermissionDenied.into());
        }
        let server_side = server.is_some();
        let by_token = server.is_none() && !request.token.is_empty();
        let heard = match whole || by_token {
            true => place.filter.clone(),
            false => place.heard_by(self.asking(&request.channel))?,
        };
        let grant = match server {
            Some(ServerSub { info, data, overrides }) => Grant { info, data, overrides, ends_at_ms: None },
            None => self.grant(&place, &request).await?,
        };
        let options = place.options;
        let filter = match &request.tf {
            Some(_) if !options.allow_tags_filter => return Err(Fault::PermissionDenied.into()),
            Some(node) => heard.with_condition(tag_filter(node)?),
            None => heard,
        };
        let patched = request.delta == "fossil"
            && options.allowed_delta_types.iter().any(|kind| kind == "fossil")
            && request.tf.is_none()
            && place.alias.is_none()
            && self.encoding != Encoding::Bare;
        let overrides = grant.overrides;
        let joins = overrides.join_leave.unwrap_or(options.join_leave) && place.alias.is_none();
        // It is about to be a subscriber, and may what subscribers may.
        let subscriber = Asking { subscribed: true, ..self.asking(&request.channel) };
        let asks = request.join_leave && place.may_see_presence(subscriber).is_ok();
        let told = joins && (asks || overrides.force_push_join_leave.unwrap_or(options.force_push_join_leave));
        let spec = |delta| {
            let mut listened = vec![place.channel.clone()];
            listened.extend(place.channel.presence().filter(|_| told));
            let form = Form::from(Dialect::Centrifuge(Shape { encoding: self.encoding, delta }));
            let (filter, pace, alias) = (filter.clone(), Pace::default(), place.alias.clone());
            AudienceSpec { feed: FEED, form, channels: listened, filter, pace, alias, by_server: server_side }
        };
        let audience = self.audience(spec(if patched { Delta::Fresh } else { Delta::Off })).await?;
        let then = if patched { Some(self.audience(spec(Delta::Patch)).await?) } else { None };
        let terms = Terms::new(&request, options, overrides);
        let attends = joins || (overrides.presence.unwrap_or(options.presence) && place.alias.is_none());
        let info = Arc::new(ShownInfo {
            connection: self.who.as_ref().and_then(|who| who.info.clone()),
            channel: raw(grant.info.as_ref()),
        });
        let user = self.who.as_ref().map(|who| who.user.clone());
        let shown = (info.connection.is_some() || info.channel.is_some()).then(|| info.clone());
        let attending = attends.then(|| Attending { user, info: shown.clone() });
        let (expires, ttl) = lifetime(grant.ends_at_ms, self.channels.0.clock.now_ms());
        let data = raw(grant.data.as_ref()).map(|data| Bytes::from(data.get().to_owned())).unwrap_or_default();
        let base = SubscribeResult { expires, ttl, data, delta: patched, ..SubscribeResult::default() };
        let subscribing = Subscribing {
            id: self.next_sub,
            audience,
            then,
            recover: terms.recover(&request),
            most: self.channels.0.options.max_publications.min(options.history_size),
            longest: options.history_ttl(),
            attending,
        };
        let (encoding, name) = (self.encoding, request.channel.clone());
        let mut result = None;
        let refuses = request.flag & REJECT_UNRECOVERED != 0 && request.recover;
        let taken = self.channels.node().subscribe(&self.client, subscribing, |stand| {
            if refuses && terms.recovering && stand.recovered.is_none() {
                return None;
            }
            let made = terms.result(base, &request, stand, &name, encoding);
            let frame = reply(&made);
            result = Some(made);
            frame
        });
        if !taken.await {
            return Err(Fault::Unrecoverable.into());
        }
        let sub = Sub { id: self.next_sub, server_side, ends_at_ms: grant.ends_at_ms, info: shown, poll: None };
        self.next_sub += 1;
        self.subs.insert(request.channel.clone(), sub);
        self.attend_maps(&request.channel).await;
        result.ok_or_else(|| Fault::Internal.into())
    }

    pub(super) async fn audience(&self, spec: AudienceSpec) -> Result<Arc<Audience>, Failed> {
        self.channels.node().audience(spec).await.map_err(|error| {
            tracing::warn!(%error, "a channel could not be subscribed");
            Fault::Internal.into()
        })
    }

    /// Whether the client may, by its token or by the rules.
    pub(super) async fn grant(&self, place: &Place<'_>, request: &SubscribeRequest) -> Result<Grant, Failed> {
        if request.token.is_empty() {
            let may = place.may_subscribe(self.asking(&request.channel));
            return if may { Ok(Grant::default()) } else { Err(Fault::PermissionDenied.into()) };
        }
        let claims = self.subscription_claims(&request.channel, &request.token).await?;
        let ends_at_ms = claims.connection_ends_at_ms();
        if ends_at_ms.is_some_and(|at| at <= self.channels.0.clock.now_ms()) {
            return Err(Fault::Expired.into());
        }
        Ok(Grant { ends_at_ms, info: claims.info, data: None, overrides: claims.overrides })
    }

    async fn subscription_claims(&self, channel: &str, token: &str) -> Result<Claims, Failed> {
        let read = self.channels.0.sessions.gate().subscription_token(token).await;
        let claims = read.map_err(|error| match error {
            AuthError::Expired => Fault::TokenExpired,
            _ => Fault::PermissionDenied,
        })?;
        let user = self.who.as_ref().map_or("", |who| &who.user);
        let other_client = claims.client.as_ref().is_some_and(|client| *client != self.name);
        if claims.channel.as_deref() != Some(channel) || claims.subject.as_deref().unwrap_or("") != user || other_client
        {
            return Err(Disconnect::InvalidToken.into());
        }
        Ok(claims)
    }

    pub(super) async fn sub_refresh(&mut self, id: u32, request: SubRefreshRequest) -> Result<(), Failed> {
        if request.r#type != 0 {
            return self.track(id, request).await;
        }
        if request.channel.is_empty() || request.token.is_empty() {
            return Err(Disconnect::BadRequest.into());
        }
        if !self.subs.contains_key(&request.channel) {
            return Err(Fault::PermissionDenied.into());
        }
        let claims = self.subscription_claims(&request.channel, &request.token).await?;
        let (now, ends_at_ms) = (self.channels.0.clock.now_ms(), claims.connection_ends_at_ms());
        if ends_at_ms.is_some_and(|at| at <= now) {
            return Err(Fault::Expired.into());
        }
        if let Some(sub) = self.subs.get_mut(&request.channel) {
            sub.ends_at_ms = ends_at_ms;
        }
        let (expires, ttl) = lifetime(ends_at_ms, now);
        self.reply(Reply {
            id,
            sub_refresh: Some(SubRefreshResult { expires, ttl, items: Vec::new() }),
            ..Reply::default()
        })
        .await;
        Ok(())
    }

    pub(super) async fn unsubscribe(&mut self, id: u32, channel: &str) -> Result<(), Failed> {
        if channel.is_empty() {
            return Err(Disconnect::BadRequest.into());
        }
        let reply = self.encoding.reply(&Reply { id, unsubscribe: Some(wire::Empty {}), ..Reply::default() });
        self.paging.remove(channel);
        match self.subs.remove(channel) {
            Some(sub) => {
                self.client.unsubscribe(sub.id, reply).await;
                self.leave_maps(channel).await;
            }
            None => self.client.send(reply).await,
        }
        Ok(())
    }
}

/// What the namespace, the token and the client together make of positions.
struct Terms {
    positioned: bool,
    recoverable: bool,
    recovering: bool,
    cache: bool,
}

impl Terms {
    fn new(request: &SubscribeRequest, options: &ChannelOptions, overrides: Overrides) -> Self {
        let wanted = (request.recoverable || request.recover) && options.allow_recovery;
        let recoverable = overrides.force_recovery.unwrap_or(options.force_recovery) || wanted;
        let forced = overrides.force_positioning.unwrap_or(options.force_positioning);
        let positioned = recoverable || forced || (request.positioned && options.allow_positioning);
        let cache = options.force_recovery_mode == RecoveryMode::Cache;
        let recovering = recoverable && (request.recover || (cache && options.auto_cache_recover));
        Self { positioned, recoverable, recovering, cache }
    }

    fn recover(&self, request: &SubscribeRequest) -> Recover {
        let (epoch, offset) = (request.epoch.clone(), request.offset);
        match (self.recovering, self.cache) {
            (false, _) => Recover::Nothing,
            (true, false) => Recover::After { epoch, offset },
            (true, true) => Recover::Newest { epoch, offset },
        }
    }

    fn result(
        &self,
        base: SubscribeResult,
        request: &SubscribeRequest,
        stand: &Stand,
        name: &str,
        encoding: Encoding,
    ) -> SubscribeResult {
        let mut result = SubscribeResult {
            recoverable: self.recoverable,
            positioned: self.positioned,
            was_recovering: self.recovering,
            ..base
        };
        if self.positioned {
            result.epoch = stand.epoch.to_string();
            result.offset = stand.offset;
        }
        if let (true, Some(missed)) = (self.recovering, &stand.recovered) {
            // In cache mode there has to be something that is the newest.
            result.recovered = !self.cache || !missed.is_empty() || request.offset == stand.offset;
            if !self.cache {
                result.offset = request.offset;
            }
            result.publications = recovered(missed, name, base_delta(result.delta), encoding);
        }
        result
    }
}

fn base_delta(patched: bool) -> Delta {
    if patched { Delta::Patch } else { Delta::Off }
}

/// What was missed: the first whole, the others as patches where patches are wanted.
fn recovered(missed: &[Arc<Publication>], name: &str, delta: Delta, encoding: Encoding) -> Vec<wire::Publication> {
    let mut base: Option<&Bytes> = None;
    let mut all = Vec::with_capacity(missed.len());
    for publication in missed {
        let mut told = tell(publication, name);
        if delta == Delta::Patch {
            let patch = base.and_then(|base| wire::patch(base, &publication.data));
            let patch = patch.filter(|patch| patch.len() < publication.data.len());
            told.delta = patch.is_some();
            let bytes = patch.map_or_else(|| publication.data.clone(), Bytes::from);
            told.data = match encoding {
                Encoding::Protobuf => bytes,
                _ => json_text(&String::from_utf8_lossy(&bytes)).into(),
            };
            base = Some(&publication.data);
        }
        all.push(told);
    }
    all
}

/// A publication as replies have it.
pub(super) fn tell(publication: &Publication, name: &str) -> wire::Publication {
    let told = publication.told(name);
    wire::Publication {
        data: if told.removed { Bytes::new() } else { publication.data.clone() },
        info: told.info.and_then(|info| serde_json::from_str(info).ok()),
        offset: told.offset,
        tags: told.tags.iter().cloned().collect(),
        delta: false,
        key: told.key.to_owned(),
        removed: told.removed,
        version: 0,
    }
}

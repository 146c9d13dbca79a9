//! A map for the client: its state by pages, then what has changed since the first of them, then what changes.
//!
//! The first page says where the channel stood. However long the pages take and whoever writes meanwhile, the client has
//! the map when it has applied everything published since, in order; so that is what its subscription begins with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Publications, failed};
use crate::session::centrifuge::FEED;
use crate::session::centrifuge::connect::{lifetime, raw};
use crate::session::centrifuge::rules::{Place, tag_filter};
use crate::session::centrifuge::session::{Failed, Session, Sub};
use crate::session::centrifuge::subscribe::{Grant, tell};
use crate::stream::{
    Attending, Audience, AudienceSpec, Filter, MapNote, Pace, Position, Publication, Recover, ShownInfo, Subscribing,
};
use crate::wire::centrifuge::{
    self as wire, Delta, Disconnect, Encoding, Fault, Reply, Shape, SubscribeRequest, SubscribeResult, json_text,
};
use crate::wire::{Dialect, Form};

const LIVE: i32 = 0;
const STREAM: i32 = 1;
const STATE: i32 = 2;

/// How long a client may take to catch up by pages.
const CATCH_UP: Duration = Duration::from_secs(5);

/// What goes before the live changes.
#[derive(Default)]
struct Before {
    state: Publications,
    recovering: bool,
    /// Changes come as patches, and all data as text that they can be applied to.
    patched: bool,
}

impl Session {
    pub(in crate::session::centrifuge) async fn subscribe_map(
        &mut self,
        id: u32,
        request: SubscribeRequest,
    ) -> Result<(), Failed> {
        let channels = self.channels.clone();
        let place = channels.place(&request.channel)?;
        if self.encoding == Encoding::Bare {
            return Err(Fault::PermissionDenied.into());
        }
        let grant = self.grant(&place, &request).await?;
        let filter = match &request.tf {
            Some(_) if !place.options.allow_tags_filter => return Err(Fault::PermissionDenied.into()),
            Some(node) => place.filter.clone().with_condition(tag_filter(node)?),
            None => place.filter.clone(),
        };
        let fossil = || place.options.allowed_delta_types.iter().any(|kind| kind == "fossil");
        let patched = request.delta == "fossil" && request.tf.is_none() && fossil();
        let filter = (filter, patched);
        match request.phase {
            STATE => self.map_state(id, place, request, grant, filter).await,
            STREAM if place.options.map.streams() => self.map_stream(id, place, request, grant, filter).await,
            _ => Err(Fault::BadRequest.into()),
        }
    }

    /// A page of the state; with the last one the client goes live, where it is near enough.
    async fn map_state(
        &mut self,
        id: u32,
        place: Place<'_>,
        request: SubscribeRequest,
        grant: Grant,
        (filter, patched): (Filter, bool),
    ) -> Result<(), Failed> {
        let options = &place.options.map;
        let most = options.page(request.limit);
        let cursor = match request.cursor.as_str() {
            "" => None,
            cursor => Some(Cursor::parse(cursor).ok_or(Fault::BadRequest)?),
        };
        let after = cursor.as_ref().map_or("", |cursor| &cursor.key);
        let page = self.channels.node().maps().read(&place.channel, options.kind(), after, most).await;
        let page = page.map_err(failed(&place.channel))?;
        let since = cursor.map_or_else(|| page.position.clone(), |cursor| cursor.since);
        if since.epoch != page.position.epoch {
            return Err(Fault::Unrecoverable.into());
        }
        let next = page.entries.last().filter(|_| page.more).and_then(|last| MapNote::of(&last.tags));
        let next = next.map(|note| Cursor { since: since.clone(), key: note.key.to_owned() }.to_string());
        let escape = patched && self.encoding == Encoding::Json;
        let state: Publications = page.entries.into_iter().filter(|entry| filter.passes(entry)).collect();
        if next.is_none() {
            // Patches go by what this node has delivered, which must not be less than what the client has read.
            let audience = self.map_audience(&place, filter.clone(), patched).await?;
            if patched && !audience.reaches(&page.position).await {
                return Err(Fault::Internal.into());
            }
            // An ephemeral map has no pages of its stream: all that is kept may come at once.
            let most = if options.streams() { most } else { usize::MAX };
            let before = Before { state: state.clone(), recovering: false, patched };
            if self.go_live(id, &place, &request, grant, (filter, &since, most), before).await? {
                return Ok(());
            }
            if !options.streams() {
                return Err(Fault::Unrecoverable.into());
            }
        }
        let subscribe = SubscribeResult {
            r#type: request.r#type,
            phase: STATE,
            state: told(&state, &request.channel, escape),
            cursor: next.unwrap_or_default(),
            epoch: since.epoch.to_string(),
            offset: since.offset,
            ..SubscribeResult::default()
        };
        self.reply(Reply { id, subscribe: Some(subscribe), ..Reply::default() }).await;
        Ok(())
    }

    async fn map_audience(&self, place: &Place<'_>, filter: Filter, patched: bool) -> Result<Arc<Audience>, Failed> {
        // From the first change on: what goes before it is the base of each key.
        let delta = if patched { Delta::Patch } else { Delta::Off };
        let form = Form::from(Dialect::Centrifuge(Shape { encoding: self.encoding, delta }));
        let (channels, pace) = (vec![place.channel.clone()], Pace::default());
        self.audience(AudienceSpec { feed: FEED, form, channels, filter, pace, alias: None, by_server: false }).await
    }

    /// What has changed since a position: all of it and live, or a page.
    async fn map_stream(
        &mut self,
        id: u32,
        place: Place<'_>,
        request: SubscribeRequest,
        grant: Grant,
        (filter, patched): (Filter, bool),
    ) -> Result<(), Failed> {
        let began = self.paging.get(&request.channel).copied();
        if began.is_some_and(|began| began.elapsed() > CATCH_UP) {
            return Err(Disconnect::Slow.into());
        }
        let options = &place.options.map;
        let most = options.page(request.limit).min(options.stream_size);
        let since = Position { offset: request.offset, epoch: request.epoch.as_str().into() };
        let before = Before { state: Vec::new(), recovering: request.recover, patched };
        if self.go_live(id, &place, &request, grant, (filter.clone(), &since, most), before).await? {
            return Ok(());
        }
        let past = self.channels.node().broker().history(&place.channel, since.offset).await;
        let past = past.map_err(failed(&place.channel))?;
        let behind = past.position.offset.checked_sub(since.offset);
        let whole = past.publications.first().is_some_and(|first| first.offset() == since.offset + 1);
        let kept = behind.is_some_and(|behind| behind <= options.stream_size as u64);
        if past.position.epoch != since.epoch || !whole || !kept {
            self.paging.remove(&request.channel);
            return Err(Fault::Unrecoverable.into());
        }
        let page = &past.publications[..most.min(past.publications.len())];
        let offset = page.last().map_or(since.offset, |last| last.offset());
        let passing: Publications = page.iter().filter(|one| filter.passes(one)).cloned().collect();
        let (r#type, epoch) = (request.r#type, request.epoch);
        let publications = told(&passing, &request.channel, patched && self.encoding == Encoding::Json);
        if self.paging.len() < self.channels.0.options.max_channels {
            self.paging.entry(request.channel).or_insert_with(Instant::now);
        }
        let subscribe =
            SubscribeResult { r#type, phase: STREAM, publications, epoch, offset, ..SubscribeResult::default() };
        self.reply(Reply { id, subscribe: Some(subscribe), ..Reply::default() }).await;
        Ok(())
    }

    /// Subscribes the client, with what has changed since a position in the reply. `false`: that is more than `most`, or
    /// is not all there any more.
    async fn go_live(
        &mut self,
        id: u32,
        place: &Place<'_>,
        request: &SubscribeRequest,
        grant: Grant,
        (filter, since, most): (Filter, &Position, usize),
        before: Before,
    ) -> Result<bool, Failed> {
        let (options, encoding) = (place.options, self.encoding);
        let Before { state, recovering, patched } = before;
        let audience = self.map_audience(place, filter, patched).await?;
        let info = Arc::new(ShownInfo {
            connection: self.who.as_ref().and_then(|who| who.info.clone()),
            channel: raw(grant.info.as_ref()),
        });
        let shown = (info.connection.is_some() || info.channel.is_some()).then_some(info);
        let user = self.who.as_ref().map(|who| who.user.clone());
        let attending = options.presence.then(|| Attending { user, info: shown.clone() });
        let recover = Recover::After { epoch: since.epoch.to_string(), offset: since.offset };
        // Keys end by themselves; changes of any age are told.
        let longest = Duration::MAX;
        let subscribing = Subscribing { id: self.next_sub, audience, then: None, recover, most, longest, attending };
        let (expires, ttl) = lifetime(grant.ends_at_ms, self.channels.0.clock.now_ms());
        let (streams, escape) = (options.map.streams(), patched && encoding == Encoding::Json);
        let taken = self.channels.node().subscribe(&self.client, subscribing, |stand| {
            let changed = stand.recovered.as_ref()?;
            let subscribe = SubscribeResult {
                expires,
                ttl,
                r#type: request.r#type,
                phase: LIVE,
                delta: patched,
                state: told(&state, &request.channel, escape),
                publications: told(changed, &request.channel, escape),
                recoverable: streams,
                positioned: streams,
                was_recovering: recovering,
                recovered: recovering,
                epoch: if streams { stand.epoch.to_string() } else { String::new() },
                offset: if streams { stand.offset } else { 0 },
                ..SubscribeResult::default()
            };
            Some(encoding.reply(&Reply { id, subscribe: Some(subscribe), ..Reply::default() }))
        });
        if !taken.await {
            return Ok(false);
        }
        let sub = Sub { id: self.next_sub, server_side: false, ends_at_ms: grant.ends_at_ms, info: shown, poll: None };
        self.next_sub += 1;
        self.paging.remove(&request.channel);
        self.subs.insert(request.channel.clone(), sub);
        self.channels.node().maps().attend(&place.channel, options.map.kind());
        self.attend_maps(&request.channel).await;
        Ok(true)
    }
}

/// `escape`: data as the text that patches are applied to.
fn told(publications: &[Arc<Publication>], name: &str, escape: bool) -> Vec<wire::Publication> {
    let one = |one: &Arc<Publication>| {
        let mut told = tell(one, name);
        if escape && !told.removed {
            told.data = json_text(&String::from_utf8_lossy(&one.data)).into();
        }
        told
    };
    publications.iter().map(one).collect()
}

/// Where the next page begins, and what the first page's position was: the client gives it back unread.
#[derive(Debug, PartialEq, Eq)]
struct Cursor {
    since: Position,
    key: String,
}

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let (epoch, offset, key) = (parts.next()?, parts.next()?, parts.next()?);
        let since = Position::parse(&format!("{epoch}:{offset}")).ok()?;
        Some(Self { since, key: key.to_owned() })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.since, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        let since = Position { offset: 7, epoch: "abcdefgh".into() };
        let cursor = Cursor { since, key: "a:b é".to_owned() };
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        assert!(["", "a", "a:1", "a:x:k", "-:1:k"].iter().all(|text| Cursor::parse(text).is_none()));
    }
}

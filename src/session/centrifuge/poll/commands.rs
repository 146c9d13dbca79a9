//! What clients ask: to be on a channel, and which keys they want to hear of.

use std::sync::Arc;

use super::{Line, Wanted};
use crate::session::centrifuge::FEED;
use crate::session::centrifuge::connect::{lifetime, raw};
use crate::session::centrifuge::map::check_key;
use crate::session::centrifuge::session::{Failed, Session, Sub};
use crate::stream::{Attending, AudienceSpec, Filter, Pace, Recover, ShownInfo, Subscribing, Term};
use crate::wire::centrifuge::{
    Delta, Disconnect, Encoding, Fault, Reply, Shape, SubRefreshRequest, SubRefreshResult, SubscribeRequest,
    SubscribeResult, TrackBatch,
};
use crate::wire::{Dialect, Form};

const TRACK: i32 = 1;
const UNTRACK: i32 = 2;

impl Session {
    /// On the channel, with no keys yet. What is told comes by the session's own number; of what is published on the channel
    /// itself nothing is for clients.
    pub(in crate::session::centrifuge) async fn subscribe_poll(
        &mut self,
        id: u32,
        request: SubscribeRequest,
    ) -> Result<(), Failed> {
        let channels = self.channels.clone();
        let place = channels.place(&request.channel)?;
        if self.encoding == Encoding::Bare {
            return Err(Fault::PermissionDenied.into());
        }
        if request.tf.is_some() {
            return Err(Fault::BadRequest.into());
        }
        let grant = self.grant(&place, &request).await?;
        let encoding = self.encoding;
        let form = Form::from(Dialect::Centrifuge(Shape { encoding, delta: Delta::Off }));
        let (listened, filter, pace) =
            (vec![place.channel.clone()], Filter::new(vec![Term::default()]), Pace::default());
        let spec = AudienceSpec { feed: FEED, form, channels: listened, filter, pace, alias: None, by_server: false };
        let audience = self.audience(spec).await?;
        let options = &place.options.shared_poll;
        if options.publish_enabled {
            audience.overhear(channels.0.polls.ear());
        }
        let info = Arc::new(ShownInfo {
            connection: self.who.as_ref().and_then(|who| who.info.clone()),
            channel: raw(grant.info.as_ref()),
        });
        let shown = (info.connection.is_some() || info.channel.is_some()).then_some(info);
        let user = self.who.as_ref().map(|who| who.user.clone());
        let attending = place.options.presence.then(|| Attending { user, info: shown.clone() });
        let line = Line { client: self.client.clone(), encoding, signs: self.signs.clone(), sub: self.next_sub };
        let (poll, epoch) = channels.0.polls.enter(&place.channel, options, line, self.tracked.clone());
        let subscribing = Subscribing {
            id: self.next_sub,
            audience,
            then: None,
            recover: Recover::Nothing,
            most: 0,
            longest: std::time::Duration::ZERO,
            attending,
        };
        let (expires, ttl) = lifetime(grant.ends_at_ms, self.channels.0.clock.now_ms());
        let subscribe = SubscribeResult { r#type: request.r#type, epoch, expires, ttl, ..SubscribeResult::default() };
        let reply = encoding.reply(&Reply { id, subscribe: Some(subscribe), ..Reply::default() });
        if !self.channels.node().subscribe(&self.client, subscribing, |_| Some(reply)).await {
            return Err(Fault::Internal.into());
        }
        let (server_side, ends_at_ms) = (false, grant.ends_at_ms);
        let sub = Sub { id: self.next_sub, server_side, ends_at_ms, info: shown, poll: Some(poll) };
        self.next_sub += 1;
        self.subs.insert(request.channel.clone(), sub);
        self.attend_maps(&request.channel).await;
        Ok(())
    }

    /// Begins to track keys, all that are asked for or none, or ends it.
    pub(in crate::session::centrifuge) async fn track(
        &mut self,
        id: u32,
        request: SubRefreshRequest,
    ) -> Result<(), Failed> {
        let SubRefreshRequest { channel, r#type, track, untrack, .. } = request;
        if channel.is_empty() {
            return Err(Disconnect::BadRequest.into());
        }
        let sub = self.subs.get(&channel).ok_or(Fault::PermissionDenied)?;
        let poll = sub.poll.as_ref().ok_or(Fault::NotAvailable)?;
        let now_ms = self.channels.0.clock.now_ms();
        let (wanted, ends_at_ms) = match r#type {
            TRACK if !track.is_empty() => self.signed(&channel, track, now_ms / 1_000)?,
            UNTRACK if track.is_empty() => (Vec::new(), None),
            _ => return Err(Fault::BadRequest.into()),
        };
        // Behind the reply whatever changes next.
        let _voice = poll.of.voice.lock().await;
        let items = {
            let mut state = poll.of.state();
            let items = state.track(poll.id, wanted, poll.of.most())?;
            state.untrack(poll.id, &untrack);
            items
        };
        poll.of.wake.notify_one();
        let left_s = ends_at_ms.map(|at| ((at - now_ms).max(0) + 999) / 1_000);
        let (expires, ttl) = (left_s.is_some(), left_s.map_or(0, |left| u32::try_from(left).unwrap_or(u32::MAX)));
        let sub_refresh = Some(SubRefreshResult { expires, ttl, items });
        self.reply(Reply { id, sub_refresh, ..Reply::default() }).await;
        Ok(())
    }

    /// The keys of every batch, where every one is signed, and when the first signature ends.
    fn signed(
        &self,
        channel: &str,
        batches: Vec<TrackBatch>,
        now_s: i64,
    ) -> Result<(Vec<Wanted>, Option<i64>), Failed> {
        let user = self.who.as_ref().map_or("", |who| &who.user);
        let signatures = &self.channels.0.polls.0.signatures;
        let (mut wanted, mut first) = (Vec::new(), None);
        for TrackBatch { signature, items } in batches {
            // Signed are the keys with a NUL between them.
            if items.is_empty() || items.iter().any(|item| check_key(&item.key).is_err() || item.key.contains('\0')) {
                return Err(Fault::BadRequest.into());
            }
            let keys = items.iter().map(|item| &*item.key);
            let ends_s = signatures.check(&signature, user, channel, keys, now_s)?;
            let ends_at_ms = ends_s.map(|at| at.saturating_mul(1_000));
            first = first.into_iter().chain(ends_at_ms).min();
            wanted.extend(items.into_iter().map(|item| Wanted { key: item.key, version: item.version, ends_at_ms }));
        }
        Ok((wanted, first))
    }
}

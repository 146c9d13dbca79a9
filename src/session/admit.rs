//! Every reason to refuse a client, and its place in the hub when there is none; the same for each way in.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};

use super::begin::begin;
use super::handshake::{Wishes, audience_spec};
use super::limits::{Full, Held};
use super::plain::Plain;
use super::right::{Right, hears_all};
use super::upgrade::Sessions;
use crate::auth::{AuthError, Identity, Permission};
use crate::http::{Problem, guard};
use crate::stream::{Audience, Channel, FeedSpec, Filter, Term, Ticket};
use crate::wire::{Deflate, Dialect};

/// A page of another origin.
pub(super) fn origin(sessions: &Sessions, request: &Parts) -> Result<(), Problem> {
    let text = |name| request.headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("not text"));
    if sessions.origins().allows(text(header::ORIGIN), text(header::HOST)) {
        return Ok(());
    }
    let problem = Problem::new(StatusCode::FORBIDDEN, "origin", "this Origin may not connect; see ALLOWED_ORIGINS");
    Err(sessions.reject("origin", problem))
}

/// What the query asks for; refuses what the feed does not have.
pub(super) fn wishes(feed: &'static FeedSpec, sessions: &Sessions, request: &Parts) -> Result<Wishes, Problem> {
    let refuse = |problem| sessions.reject("parameter", problem);
    let wishes = Wishes::parse(feed, request.uri.query().unwrap_or("")).map_err(refuse)?;
    if wishes.snapshot && sessions.snapshot_of(feed).is_none() {
        let problem = Problem::bad_request("this feed has no rows, and so no snapshot");
        return Err(refuse(problem.with_field("snapshot", "is not offered by this feed")));
    }
    if wishes.presence && sessions.node().presence().is_none_or(|presence| !presence.covers(feed.name)) {
        let problem = Problem::bad_request("this feed does not tell who is present");
        return Err(refuse(problem.with_field("presence", "is not offered by this feed")));
    }
    Ok(wishes)
}

/// Who is calling, by header, subprotocol or query.
pub(super) fn identify(sessions: &Sessions, request: &Parts) -> Result<Identity, AuthError> {
    let token = guard::websocket_token(&request.headers, request.uri.query());
    guard::identify(sessions.gate(), &request.headers, token.as_deref())
}

/// The client's place in the limits.
pub(super) fn hold(sessions: &Sessions, request: &Parts) -> Result<Held, Problem> {
    let peer = request.extensions.get::<ConnectInfo<SocketAddr>>();
    let address: IpAddr = peer.map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |ConnectInfo(peer)| peer.ip());
    sessions.limits().take(address).map_err(|full| match full {
        Full::Node => {
            sessions.reject("node full", Problem::unavailable("this node has no place for another connection", 5))
        }
        Full::Address => {
            let detail = "too many connections from this address";
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-connections", detail);
            sessions.reject("address full", problem.with_header(header::RETRY_AFTER, HeaderValue::from(5)))
        }
    })
}

/// What of the feed this caller may hear.
pub(super) fn permit(
    feed: &'static FeedSpec,
    sessions: &Sessions,
    identity: &Identity,
    wishes: &Wishes,
) -> Result<Filter, Problem> {
    let refuse = |problem| sessions.reject("forbidden", problem);
    if !identity.may_listen(feed.name, feed.channels) {
        return Err(refuse(guard::forbidden(Permission::Read)));
    }
    let Some(own) = feed.own.as_ref().filter(|_| !hears_all(identity, feed)) else { return Ok(wishes.filter.clone()) };
    let forbidden = |detail: &str| refuse(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail.to_owned()));
    if wishes.filter.values_of(own.field).any(|value| value != &*identity.subject) {
        return Err(forbidden("what belongs to another user needs the permission to write"));
    }
    if wishes.presence {
        return Err(forbidden("who else is on this feed needs the permission to write"));
    }
    let on = Channel::new(own.channel).map_err(Problem::internal)?;
    let term = Term { on: Some(on), fields: vec![own.field.to_owned()], values: vec![identity.subject.to_string()] };
    Ok(wishes.filter.clone().and(term))
}

/// What a client that may have a place brings there: its subscription, its filter, and itself.
pub(super) async fn seat(
    feed: &'static FeedSpec,
    sessions: &Sessions,
    (identity, wishes, dialect, deflate): (&Identity, &Wishes, Dialect, Option<Deflate>),
    held: Held,
) -> Result<(Arc<Audience>, Filter, Box<Plain>), Problem> {
    let filter = permit(feed, sessions, identity, wishes)?;
    let when_full = sessions.node().hub().options().when_full.get(feed.name).copied().unwrap_or_default();
    let audience =
        sessions.node().audience(audience_spec(feed, (dialect, deflate), wishes, filter.clone(), when_full)).await;
    let audience = audience.map_err(|error| {
        tracing::warn!(%error, feed = feed.name, "a feed could not be subscribed");
        sessions.reject("broker", Problem::unavailable("the broker is unavailable; try again", 5))
    })?;
    let peer = Box::new(Plain::new(dialect, Right::of(sessions, feed, identity), held));
    Ok((audience, filter, peer))
}

/// Takes the place of a client that may have it.
pub(super) async fn place(
    feed: &'static FeedSpec,
    sessions: &Sessions,
    (identity, wishes, dialect, deflate): (&Identity, &Wishes, Dialect, Option<Deflate>),
    held: Held,
) -> Result<Ticket, Problem> {
    let (audience, filter, peer) = seat(feed, sessions, (identity, wishes, dialect, deflate), held).await?;
    let ticket = begin(feed, sessions, audience, (wishes, &filter), &identity.subject, peer).await;
    ticket.map_err(|problem| sessions.reject("snapshot", problem))
}

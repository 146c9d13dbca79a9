//! How a client begins: from now, from where it was, or from a snapshot.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::handshake::Wishes;
use super::upgrade::Sessions;
use super::watchers::{Watchers, watchers};
use crate::http::Problem;
use crate::stream::{
    Audience, Channel, FeedSpec, Filter, Joining, Kind, Missed, OnGap, Peer, Position, Publication, Snapshot, Ticket,
};

/// A snapshot is taken again when the channel has moved on so far meanwhile that the history no longer reaches back.
const ATTEMPTS: usize = 3;
/// Rows of one message of a snapshot.
const ROWS_A_MESSAGE: usize = 500;

/// Takes the client's place in the hub, behind whatever it wants first.
pub(super) async fn begin(
    feed: &'static FeedSpec,
    sessions: &Sessions,
    audience: Arc<Audience>,
    (wishes, filter): (&Wishes, &Filter),
    user: &Arc<str>,
    mut peer: Box<dyn Peer>,
) -> Result<Ticket, Problem> {
    let node = sessions.node();
    // Read when the subscription holds already: what changes from here on follows from the history.
    let watchers = if wishes.presence { watchers(feed, sessions).await? } else { Watchers::default() };
    let has_rows = sessions.snapshot_of(feed).is_some();
    let mut missed = wishes.missed;
    if !wishes.snapshot {
        let on_gap = if has_rows && wishes.positioned { OnGap::Refuse } else { OnGap::Announce };
        let joining = Joining {
            since: watchers.seen(wishes.since.as_deref().unwrap_or_default()),
            on_gap,
            missed,
            snapshot: watchers.lists.clone(),
            user: Some(user.clone()),
            ..Joining::default()
        };
        match node.connect(audience.clone(), peer, joining).await {
            Ok(ticket) => return Ok(ticket),
            Err(refused) => (peer, missed) = (refused.peer, Some(refused.reason)),
        }
    }
    for attempt in 1..=ATTEMPTS {
        let Some(source) = sessions.snapshot_of(feed) else { break };
        let snapshot = source.snapshot().await.map_err(|error| {
            tracing::warn!(error = %format!("{error:#}"), feed = feed.name, "no snapshot");
            Problem::unavailable("the feed's rows cannot be read now; try again", 2)
        })?;
        let on_gap = if attempt == ATTEMPTS { OnGap::Announce } else { OnGap::Refuse };
        let mut joining = joining(snapshot, filter, missed, on_gap)?;
        joining.since = watchers.seen(&joining.since);
        joining.snapshot.splice(..0, watchers.lists.iter().cloned());
        joining.user = Some(user.clone());
        match node.connect(audience.clone(), peer, joining).await {
            Ok(ticket) => return Ok(ticket),
            Err(Missed { peer: back, .. }) => peer = back,
        }
    }
    Err(Problem::unavailable("the feed moves too fast for a snapshot; try again", 2))
}

/// One message of a snapshot.
#[derive(Serialize)]
struct Part<'a> {
    message_type: &'static str,
    rows: &'a [&'a RawValue],
    /// Whether the rows are complete with this message.
    last: bool,
    /// Where the rows stand; what is sent after the last part comes after this.
    since: &'a str,
}

fn joining(
    snapshot: Snapshot,
    filter: &Filter,
    missed: Option<&'static str>,
    on_gap: OnGap,
) -> Result<Joining, Problem> {
    // A row passes as a message with its fields would.
    let nowhere = Channel::new("snapshot").map_err(Problem::internal)?;
    let passes = |data: &Bytes, tags: &[(String, String)]| {
        filter.passes(&Publication::new(nowhere.clone(), Kind::Data, data.clone(), tags.to_vec(), None))
    };
    let rows = snapshot.rows.iter().filter(|row| passes(&row.data, &row.tags));
    let rows: Vec<&RawValue> = rows.filter_map(|row| serde_json::from_slice(&row.data).ok()).collect();
    let since: Vec<Position> = snapshot.as_of.into_iter().map(|(_, position)| position).collect();
    let token = since.iter().map(Position::to_string).collect::<Vec<_>>().join(",");
    let count = rows.len().div_ceil(ROWS_A_MESSAGE).max(1);
    let parts = (0..count).map(|part| {
        let rows = rows.chunks(ROWS_A_MESSAGE).nth(part).unwrap_or_default();
        let part = Part { message_type: "snapshot", rows, last: part + 1 == count, since: &token };
        serde_json::to_vec(&part).map(Bytes::from)
    });
    Ok(Joining {
        since,
        not_before: snapshot.reached,
        on_gap,
        missed,
        snapshot: parts.collect::<Result<_, _>>().map_err(Problem::internal)?,
        user: None,
        contained: snapshot.contained,
    })
}

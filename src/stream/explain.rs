//! What became of one message for one client: from the history, the shards' books and the connections that have ended.

use serde::Serialize;

use super::hub::{Found, Question};
use super::{Channel, Node, Position};

/// The answer, for operators.
#[derive(Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Fate {
    /// One of the words of docs/PROTOCOL.md.
    pub fate: &'static str,
    pub detail: String,
}

impl Fate {
    fn new(fate: &'static str, detail: impl Into<String>) -> Self {
        Self { fate, detail: detail.into() }
    }
}

impl Node {
    /// `client` is the name that the client was told, or that its close was logged with. Without an epoch the offset is
    /// meant in the channel's present shared numbering.
    pub async fn explain(&self, channel: &Channel, epoch: Option<&str>, offset: u64, client: &str) -> Fate {
        let ticket = client.rsplit_once('-').and_then(|(node, ticket)| Some((node, ticket.parse::<u64>().ok()?)));
        let Some((node, ticket)) = ticket else {
            return Fate::new("unknown client", "a client is called <node>-<number>, as it was told when it connected");
        };
        if node != self.hub().node_id() {
            return Fate::new("unknown client", "this node has not had it: ask the one it was connected to");
        }
        let Some(active) = self.hub().active(channel) else {
            return Fate::new("unknown channel", "nobody has listened to it here of late");
        };
        let (position, publication, last) = {
            let line = active.line.lock().await;
            let Some(mark) = line.mark() else {
                return Fate::new("unknown channel", "nobody listens to it here");
            };
            let epoch = epoch.unwrap_or(&mark.shared.epoch);
            let position = Position { offset, epoch: epoch.into() };
            let Some(last) = mark.in_epoch(epoch).cloned() else {
                return Fate::new("unknown epoch", format!("the channel's numbering is {} now", mark.shared.epoch));
            };
            (position.clone(), line.find(&position).cloned(), last)
        };
        if position.offset == 0 || position.offset > last.offset {
            return Fate::new("not published", format!("the channel stands at {last}"));
        }
        let question = Question { ticket, channel: channel.clone(), position, publication };
        match self.hub().ask(question.clone()).await {
            None => Fate::new("unknown client", "it is not connected, and not among those that ended of late"),
            Some(found) => judge(&question, &found),
        }
    }
}

fn judge(question: &Question, found: &Found) -> Fate {
    let position = &question.position;
    let of = |mark: &Option<super::Mark>| mark.as_ref().and_then(|mark| mark.in_epoch(&position.epoch).cloned());
    if !found.audience.channels.contains(&question.channel) {
        return Fate::new("not subscribed", format!("the client listens to the feed {}", found.audience.feed));
    }
    let Some(began) = of(&found.began) else {
        return Fate::new(
            "gap",
            "the channel's numbering began anew after the client had connected, which it was told",
        );
    };
    if position.offset <= began.offset {
        return Fate::new("before", format!("the client began at {began}"));
    }
    if question.publication.as_ref().is_some_and(|publication| !found.audience.filter.passes(publication)) {
        return Fate::new("filtered", "the client's filter does not let it pass");
    }
    let reached = of(&found.reached).filter(|reached| position.offset <= reached.offset);
    match (reached, &found.folded_into, found.ended) {
        (Some(_), Some((last, count)), _) if *count > 1 => {
            let detail = format!("the message with offset {last} stands for it and {} others", count - 1);
            Fate::new("conflated", detail)
        }
        (Some(_), _, _) if question.publication.is_none() => Fate::new(
            "delivered",
            "handed to the kernel, unless the client's filter held it back: its content is no longer kept",
        ),
        (Some(_), _, _) => Fate::new("delivered", "handed to the kernel"),
        (None, _, Some((reason, at))) => Fate::new(
            "dropped",
            format!("the connection had ended at {}: {reason}; it can be resumed", at.to_rfc3339()),
        ),
        (None, ..) if found.waits => Fate::new("pending", "it waits in the client's outbox"),
        (None, ..) => Fate::new("pending", "it is being delivered"),
    }
}

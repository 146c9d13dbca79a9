//! What Redis pushes, in order, to the sink: each channel's publications once and without holes, or a gap in their place.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use fred::interfaces::EventInterface;
use fred::types::{Message, Value};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::super::super::publication::Kind;
use super::super::super::{Channel, Mark, Position, Publication, Tags};
use super::super::envelope::{Envelope, of_nodes_channel};
use super::super::{Gap, SharedSink};
use super::RedisOptions;
use super::canary::Pulses;
use super::link::{Link, is_probe};
use crate::tasks::Tasks;
use crate::wire::is_json;

/// What the drain hands to the router.
pub(super) enum Event {
    Message(Message),
    /// Messages may have been lost on the way, for this reason.
    Lost(&'static str),
    Forget(Channel),
}

/// One task that only empties the library's buffer into our own bounded queue, one that handles the queue in order.
pub(super) fn start(
    link: &Link,
    pulses: &Arc<Pulses>,
    tasks: &Tasks,
    options: &RedisOptions,
    sink: SharedSink,
) -> mpsc::Sender<Event> {
    let (queue, mut events) = mpsc::channel(options.queue_messages);
    start_drain(link, tasks, queue.clone(), sink.clone());
    let stop = tasks.stop();
    let mut router = Router { link: link.clone(), pulses: pulses.clone(), sink, heard: HashMap::new() };
    tasks.spawn("redis router", async move {
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = events.recv() => event,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = async {
                    match event {
                        Some(Event::Message(message)) => router.message(message).await,
                        Some(Event::Lost(reason)) => router.lost(reason).await,
                        Some(Event::Forget(channel)) => router.forget(&channel),
                        None => stop.cancelled().await,
                    }
                } => {}
            }
        }
    });
    queue
}

fn start_drain(link: &Link, tasks: &Tasks, queue: mpsc::Sender<Event>, sink: SharedSink) {
    let mut messages = link.subscriber.message_rx();
    let mut reconnects = link.subscriber.reconnect_rx();
    let mut errors = link.subscriber.error_rx();
    let (link, stop) = (link.clone(), tasks.stop());
    tasks.spawn("redis drain", async move {
        let mut pending_loss = None;
        let mut connected_once = false;
        loop {
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                room = queue.reserve(), if pending_loss.is_some() => match (room, pending_loss.take()) {
                    (Ok(room), Some(reason)) => {
                        room.send(Event::Lost(reason));
                        continue;
                    }
                    _ => return,
                },
                message = messages.recv() => match message {
                    Ok(message) => Event::Message(message),
                    Err(RecvError::Lagged(_)) => Event::Lost("lagged"),
                    Err(RecvError::Closed) => return,
                },
                // Before the reconnects: each is followed by one, which has the last word.
                error = errors.recv() => {
                    if let Ok((error, _)) = error {
                        sink.connected(false);
                        tracing::warn!(%error, "the connection to Redis failed; reconnecting");
                    }
                    continue;
                }
                _ = reconnects.recv() => {
                    // The first event is the first connection: nothing was subscribed before it.
                    if !std::mem::replace(&mut connected_once, true) {
                        continue;
                    }
                    // The loss is handled when it has ended, and before anything that came after it: until then the
                    // library keeps what arrives.
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = link.subscribe_again() => sink.connected(true),
                    }
                    Event::Lost("reconnected")
                }
            };
            // While a loss waits to be told, later messages belong to it.
            if pending_loss.is_some() || queue.try_send(event).is_err() {
                pending_loss = Some("queue full");
            }
        }
    });
}

/// What this node has heard of one channel.
struct Heard {
    mark: Mark,
    /// Of the last shared publication: whether history still says the same at that offset.
    last_hash: Option<u64>,
    /// Where the pub/sub stream stands, which a catch-up may have overtaken.
    streamed: u64,
    /// Whether plain publishers use it, of whom history knows nothing.
    plain: bool,
    /// A node's publish arrives twice, side by side: with its envelope, then plain. This is the plain data that is
    /// expected next; it is skipped once.
    echo: Option<Bytes>,
}

impl Heard {
    fn new(shared: Position) -> Self {
        let streamed = shared.offset;
        let mark = Mark { shared, local: Position::local_start() };
        Self { mark, last_hash: None, streamed, plain: false, echo: None }
    }
}

struct Router {
    link: Link,
    pulses: Arc<Pulses>,
    sink: SharedSink,
    heard: HashMap<Channel, Heard>,
}

impl Router {
    fn forget(&mut self, channel: &Channel) {
        if !self.pulses.is_watched(channel) {
            self.heard.remove(channel);
        }
    }

    async fn message(&mut self, message: Message) {
        let data = match message.value {
            Value::Bytes(bytes) => bytes,
            Value::String(text) => text.into_inner(),
            _ => return,
        };
        if is_probe(&message.channel) {
            return;
        }
        let of_nodes = of_nodes_channel(&message.channel);
        let Ok(channel) = Channel::new(of_nodes.unwrap_or(&message.channel)) else { return };
        if !self.pulses.is_watched(&channel) {
            self.forget(&channel);
            return;
        }
        if of_nodes.is_none() {
            return self.plain(channel, data).await;
        }
        match Envelope::parse(&data) {
            None => self.sink.invalid(&channel, "an envelope that cannot be read"),
            Some(Envelope::Canary { position, nonce }) => self.canary(channel, position, &nonce).await,
            Some(Envelope::Publication { position, tags, key, data }) => {
                let publication = Publication::new(channel.clone(), Kind::Data, data, tags, Some(position.clone()));
                self.publication(&channel, position, publication.with_key(key)).await;
            }
        }
    }

    async fn plain(&mut self, channel: Channel, data: Bytes) {
        // Not heard of: the subscription is not confirmed yet, and nobody was promised this.
        let Some(heard) = self.heard.get_mut(&channel) else { return };
        if heard.echo.take().is_some_and(|echo| echo == data) {
            return;
        }
        if let Err(problem) = is_json(&data) {
            return self.sink.invalid(&channel, &problem.to_string());
        }
        heard.plain = true;
        let position = heard.mark.local.next();
        heard.mark.reach(&position);
        let publication = Publication::new(channel, Kind::Data, data, Tags::new(), Some(position));
        self.sink.deliver(Arc::new(publication)).await;
    }

    async fn canary(&mut self, channel: Channel, position: Position, nonce: &str) {
        let own = channel == *self.pulses.own();
        if !own {
            let known = self.heard.get(&channel).map(|heard| (heard.mark.shared.clone(), heard.streamed));
            match known {
                None => self.begin(&channel, position.clone()).await,
                Some((shared, _)) if shared.epoch != position.epoch => {
                    self.restart(&channel, position.clone(), "new epoch").await;
                }
                // Something was accepted before the canary that did not come.
                Some((shared, _)) if position.offset > shared.offset => self.catch_up(&channel).await,
                // The stream has gone back: what had been accepted is no longer there.
                Some((_, streamed)) if position.offset < streamed => self.renew(&channel, &position.epoch).await,
                Some(_) => {}
            }
            if let Some(heard) = self.heard.get_mut(&channel) {
                // What follows in the stream follows the canary.
                heard.streamed = heard.streamed.max(position.offset);
                let mark = heard.mark.clone();
                self.sink.begin(&channel, mark).await;
            }
        }
        if self.pulses.heard(&channel) {
            match own {
                true => tracing::info!("Redis is heard again"),
                false => self.sink.stale(&channel, None).await,
            }
        }
        self.pulses.came_back(nonce);
    }

    async fn publication(&mut self, channel: &Channel, position: Position, publication: Publication) {
        match self.heard.get(channel) {
            None => {
                let before = Position { offset: position.offset.saturating_sub(1), epoch: position.epoch.clone() };
                self.begin(channel, before).await;
            }
            Some(heard) if heard.mark.shared.epoch != position.epoch => {
                let before = Position { offset: position.offset.saturating_sub(1), epoch: position.epoch.clone() };
                self.restart(channel, before, "new epoch").await;
            }
            Some(heard) if position.offset > heard.mark.shared.offset + 1 => self.catch_up(channel).await,
            // Numbers that the stream has passed are given out again.
            Some(heard) if position.offset <= heard.streamed => {
                return self.renew(channel, &position.epoch).await;
            }
            Some(_) => {}
        }
        let echoes = self.link.echoes();
        let Some(heard) = self.heard.get_mut(channel) else { return };
        heard.echo = echoes.then(|| publication.data.clone());
        heard.streamed = position.offset;
        if heard.mark.shared.epoch == position.epoch && position.offset > heard.mark.shared.offset {
            if position.offset > heard.mark.shared.offset + 1 {
                // The catch-up did not reach it: the history could not be read.
                let before = Position { offset: position.offset - 1, epoch: position.epoch };
                self.gap(channel, before, "history unavailable").await;
            }
            self.deliver(Arc::new(publication)).await;
        }
    }

    async fn deliver(&mut self, publication: Arc<Publication>) {
        if let (Some(heard), Some(position)) = (self.heard.get_mut(&publication.channel), &publication.position) {
            heard.mark.reach(position);
            heard.last_hash = Some(hash(&publication.data));
            self.sink.deliver(publication).await;
        }
    }

    async fn begin(&mut self, channel: &Channel, shared: Position) {
        let heard = Heard::new(shared);
        let mark = heard.mark.clone();
        self.heard.insert(channel.clone(), heard);
        self.sink.begin(channel, mark).await;
    }

    /// Delivers what the history has after the last publication that was heard; what it no longer has is a gap.
    async fn catch_up(&mut self, channel: &Channel) {
        let Some(heard) = self.heard.get(channel) else { return };
        let (last, last_hash) = (heard.mark.shared.clone(), heard.last_hash);
        // From the last one itself, to see that it is still the same.
        let past = match self.link.history(channel, last.offset.saturating_sub(1)).await {
            Ok(past) => past,
            Err(error) => {
                tracing::warn!(%error, %channel, "what was missed could not be read; trying again soon");
                return;
            }
        };
        if past.position.epoch != last.epoch {
            return self.restart(channel, past.position, "new epoch").await;
        }
        let at_last = past.publications.first().filter(|first| offset(first) == last.offset);
        let forked = at_last.is_some_and(|first| last_hash.is_some_and(|hash_then| hash_then != hash(&first.data)));
        if forked || past.position.offset < last.offset {
            return self.renew(channel, &last.epoch).await;
        }
        let mut missed =
            past.publications.into_iter().filter(|publication| offset(publication) > last.offset).peekable();
        let first = missed.peek().map_or(past.position.offset + 1, |first| offset(first));
        if first > last.offset + 1 {
            let before = Position { offset: first - 1, epoch: last.epoch };
            self.gap(channel, before, "history too short").await;
        }
        for publication in missed {
            self.deliver(publication).await;
        }
    }

    /// The channel's numbers can no longer be trusted: everybody is to begin anew.
    async fn renew(&mut self, channel: &Channel, epoch: &str) {
        if let Err(error) = self.link.renew(channel, epoch).await {
            tracing::warn!(%error, %channel, "the channel could not be given a new epoch");
        }
        match self.link.position(channel).await {
            Ok(position) => self.restart(channel, position, "rolled back").await,
            Err(error) => tracing::warn!(%error, %channel, "where the channel stands could not be read"),
        }
    }

    async fn restart(&mut self, channel: &Channel, shared: Position, reason: &'static str) {
        self.gap(channel, shared, reason).await;
        if let Some(heard) = self.heard.get_mut(channel) {
            heard.streamed = heard.mark.shared.offset;
            heard.last_hash = None;
        }
    }

    /// Tells a gap; `shared` is where the channel goes on. What this node had numbered itself begins anew.
    async fn gap(&mut self, channel: &Channel, shared: Position, reason: &'static str) {
        if let Some(heard) = self.heard.get_mut(channel) {
            heard.mark = Mark { shared, local: Position::local_start() };
            let gap = Gap { channel: channel.clone(), reason, mark: heard.mark.clone() };
            self.sink.gap(gap).await;
        }
    }

    /// Messages may have been lost on every channel. Of nodes' publications history tells which; of plain ones nobody
    /// knows, so that a channel which has them, or has had nothing at all so far, has a gap.
    async fn lost(&mut self, reason: &'static str) {
        tracing::warn!(reason, "messages may have been missed; looking into the history");
        let channels: Vec<Channel> = self.heard.keys().cloned().collect();
        for channel in channels {
            if !self.pulses.is_watched(&channel) {
                self.heard.remove(&channel);
                continue;
            }
            let Some(heard) = self.heard.get_mut(&channel) else { continue };
            heard.echo = None;
            heard.streamed = 0;
            let (shared, unknown) = (heard.mark.shared.clone(), heard.plain || heard.mark.shared.offset == 0);
            self.catch_up(&channel).await;
            let told = self.heard.get(&channel).is_none_or(|heard| heard.mark.shared.epoch != shared.epoch);
            if unknown && !told {
                let shared = self.heard.get(&channel).map_or(shared, |heard| heard.mark.shared.clone());
                self.gap(&channel, shared, reason).await;
            }
        }
    }
}

fn offset(publication: &Publication) -> u64 {
    publication.position.as_ref().map_or(0, |position| position.offset)
}

/// Only compared within this process.
fn hash(data: &Bytes) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    hasher.finish()
}

//! What is published: data, where it stands in its channel, and the tags that filters look at.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{AudienceSpec, Channel, MapNote, Mark, Position, StreamMetrics};
use crate::telemetry::trace;
use crate::wire::centrifuge::{ClientInfo, Event, Shape, Told, Unsubscribed, event_frame, publication_frame};
use crate::wire::{Form, top_level_fields, with_field};

/// Names and values that a subscriber can filter by, such as `("category", "Electronics")`.
pub type Tags = Vec<(String, String)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What a publisher sent; filters apply.
    Data,
    /// The server's own word about the channel, such as a gap; everybody gets it.
    Notice,
}

/// One message of one channel, as the broker hands it to the hub. Encoded once a form, however many receive it.
pub struct Publication {
    pub channel: Channel,
    pub kind: Kind,
    /// JSON, byte for byte as published.
    pub data: Bytes,
    /// Values for filters that do not stand in the data.
    pub tags: Tags,
    /// Of data always; notices have none.
    pub position: Option<Position>,
    /// What the publisher calls it, so that the same one is not published twice.
    pub key: Option<Arc<str>>,
    /// Of a gap: where the channel goes on.
    pub restart: Option<Mark>,
    /// When this process got it, for the delivery latency.
    pub accepted_at: Instant,
    /// When it was published, as far as this process knows: a past that was read says how old it is.
    pub published_at: Instant,
    frames: [OnceLock<Bytes>; Form::COMMON],
    /// Made when the first client asks for another form.
    other_frames: OnceLock<Box<[OnceLock<Bytes>; Form::COUNT - Form::COMMON]>>,
    /// The data of the channel's publication before this one, where patches are wanted.
    base: OnceLock<Bytes>,
    fields: OnceLock<Vec<(String, String)>>,
}

impl Publication {
    pub fn new(channel: Channel, kind: Kind, data: Bytes, tags: Tags, position: Option<Position>) -> Self {
        let now = Instant::now();
        Self {
            channel,
            kind,
            data,
            tags,
            position,
            key: None,
            restart: None,
            accepted_at: now,
            published_at: now,
            frames: Default::default(),
            other_frames: OnceLock::new(),
            base: OnceLock::new(),
            fields: OnceLock::new(),
        }
    }

    pub fn with_key(mut self, key: Option<Arc<str>>) -> Self {
        self.key = key;
        self
    }

    /// Published so long ago.
    pub fn aged(mut self, age: Duration) -> Self {
        self.published_at = self.accepted_at.checked_sub(age).unwrap_or(self.accepted_at);
        self
    }

    /// The server's own word about a channel.
    pub fn notice(channel: Channel, message: &serde_json::Value) -> Self {
        Self::new(channel, Kind::Notice, Bytes::from(message.to_string()), Tags::new(), None)
    }

    /// Tells that messages may be missing, and from where on everything arrives again.
    pub fn gap(channel: Channel, reason: &str, mark: &Mark) -> Self {
        let message = serde_json::json!({
            "message_type": "gap", "channel": channel.as_str(), "reason": reason, "since": mark.shared,
        });
        Self { restart: Some(mark.clone()), ..Self::notice(channel, &message) }
    }

    /// In its place, for a client that has its change already: the numbers go on without a hole.
    pub fn included(&self) -> Self {
        let data = Bytes::from_static(br#"{"message_type":"included"}"#);
        Self::new(self.channel.clone(), Kind::Data, data, Tags::new(), self.position.clone())
    }

    /// The ready frame of this publication in a form; made at the first call, shared by all others.
    /// Empty where there is nothing to tell in that form.
    pub fn frame(&self, form: Form, metrics: &StreamMetrics) -> &Bytes {
        let place = match self.frames.get(form.index()) {
            Some(place) => place,
            None => &self.other_frames.get_or_init(Default::default)[form.index() - Form::COMMON],
        };
        place.get_or_init(|| {
            metrics.encoded(form.dialect);
            if let Some(shape) = form.shape() {
                return self.push(shape, &self.channel);
            }
            match (&self.position, form.positioned) {
                (Some(position), true) => {
                    let position = position_json(&self.channel, position, trace::of_tags(&self.tags));
                    form.encode(&with_field(&self.data, "_position", &position))
                }
                _ => form.encode(&self.data),
            }
        })
    }

    /// What the members of an audience get: the shared frame, or one under the name by which they know the channel.
    pub(super) fn frame_for(&self, spec: &AudienceSpec, metrics: &StreamMetrics) -> Bytes {
        match (&spec.alias, spec.form.shape()) {
            (Some(alias), Some(shape)) => self.push(shape, alias),
            _ => self.frame(spec.form, metrics).clone(),
        }
    }

    /// Told before the first frame is made.
    pub(super) fn set_base(&self, base: Bytes) {
        let _ = self.base.set(base);
    }

    fn push(&self, shape: Shape, channel: &Channel) -> Bytes {
        if self.kind == Kind::Notice {
            let again = Event::Unsubscribe(Unsubscribed::InsufficientState);
            // Whatever else there is to say about a channel, the protocol has no word for.
            return self
                .restart
                .as_ref()
                .map_or_else(Bytes::new, |_| event_frame(shape.encoding, channel.as_str(), again));
        }
        if let Some(watched) = self.channel.watched() {
            let event = presence_event(&self.data);
            return event.map_or_else(Bytes::new, |event| event_frame(shape.encoding, watched, event));
        }
        publication_frame(shape, self.told(channel.as_str()))
    }

    /// What subscribers of the channel protocol are told, under the name by which they know the channel.
    pub fn told<'a>(&'a self, channel: &'a str) -> Told<'a> {
        let shared = self.position.as_ref().filter(|position| !position.is_local());
        let (tags, info) = match self.tags.split_last() {
            Some(((name, info), tags)) if name == CLIENT_INFO => (tags, Some(info.as_str())),
            _ => (&self.tags[..], None),
        };
        let offset = shared.map_or(0, |position| position.offset);
        let base = self.base.get().map(|base| &base[..]);
        let told = Told { channel, data: &self.data, offset, tags, base, info, key: "", removed: false, version: 0 };
        match MapNote::of(tags) {
            None => told,
            Some(MapNote { key, removed, streams }) => {
                let offset = if streams { offset } else { 0 };
                let data = if removed { &[] } else { told.data };
                Told { data, offset, tags: &tags[1..], key, removed, ..told }
            }
        }
    }

    /// Whether no filter holds it back.
    pub fn is_for_all(&self) -> bool {
        let removal = || MapNote::of(&self.tags).is_some_and(|note| note.removed);
        self.kind == Kind::Notice || self.channel.is_presence() || removal()
    }

    /// Its number in the channel; 0 for notices.
    pub fn offset(&self) -> u64 {
        self.position.as_ref().map_or(0, |position| position.offset)
    }

    /// What it holds in memory, frames that have been made included.
    pub fn size_bytes(&self) -> usize {
        let tags: usize = self.tags.iter().map(|(name, value)| name.len() + value.len()).sum();
        let others = self.other_frames.get().into_iter().flat_map(|frames| frames.iter());
        let frames: usize = self.frames.iter().chain(others).filter_map(OnceLock::get).map(Bytes::len).sum();
        size_of::<Self>() + self.data.len() + tags + frames
    }

    /// What `name` is: the tags of that name or, where there is none, the top-level field.
    pub fn values_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let tagged = self.tags.iter().any(|(tag, _)| tag == name);
        let pairs = if tagged { &self.tags } else { self.fields.get_or_init(|| top_level_fields(&self.data)) };
        pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The last tag of what a client published: who it is, as JSON. Nobody else may set it.
pub const CLIENT_INFO: &str = "_client_info";

/// What is told on `presence:<channel>`, as far as the channel protocol has words for it.
fn presence_event(data: &[u8]) -> Option<Event> {
    #[derive(serde::Deserialize)]
    struct Said {
        action: String,
        client: String,
        user: Option<String>,
        conn_info: Option<Box<serde_json::value::RawValue>>,
        chan_info: Option<Box<serde_json::value::RawValue>>,
    }
    let said: Said = serde_json::from_slice(data).ok()?;
    let raw = |info: Option<Box<serde_json::value::RawValue>>| {
        info.map(|info| Bytes::from(String::from(Box::<str>::from(info)))).unwrap_or_default()
    };
    let info = ClientInfo {
        user: said.user.unwrap_or_default(),
        client: said.client,
        conn_info: raw(said.conn_info),
        chan_info: raw(said.chan_info),
    };
    match said.action.as_str() {
        "join" => Some(Event::Join(info)),
        "leave" => Some(Event::Leave(info)),
        _ => None,
    }
}

/// `_position` of a message. Channel names and epochs are ASCII; a name may hold what JSON escapes.
pub(super) fn position_json(channel: &Channel, position: &Position, traced: Option<trace::Parent>) -> String {
    let mut json = serde_json::json!({
        "channel": channel.as_str(), "epoch": &*position.epoch, "offset": position.offset,
    });
    if position.is_local() {
        json["node_local"] = true.into();
    }
    if let Some(parent) = traced {
        json["trace_id"] = parent.trace_id().into();
    }
    json.to_string()
}

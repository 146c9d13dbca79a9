//! Bytes ↔ frames. Knows no socket, no channel's meaning and no feed.

pub mod centrifuge; // the dialect of the `centrifuge` client libraries
mod codes;
mod deflate;
mod frame;
mod json;
mod msgpack;
pub mod sse;
mod websocket;

pub use codes::Close;
pub use deflate::{DEFLATE_ANSWER, Deflate, DeflateOptions, inflate, offers_deflate};
pub use frame::{Opcode, client_frame, close_frame, close_frame_of, frame, frame_length, take_frame};
pub use json::{is_json, numbers_of, top_level_fields, with_field};
pub use websocket::{Decoder, Incoming, Reading, whole_frame};

use bytes::Bytes;

use self::centrifuge::{Encoding, Shape};

/// How a client wants publications written. A closed set: each is a row in every match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// One JSON object a text message, byte for byte as published.
    Json,
    /// The same object as MessagePack (maps, not arrays) in a binary message.
    MessagePack,
    /// The JSON as a server-sent event, in the body of an HTTP answer.
    Sse,
    /// Pushes of the Centrifuge protocol; no feed's own endpoint offers it.
    Centrifuge(Shape),
}

impl Dialect {
    /// Those that a WebSocket of a feed can have.
    pub const ALL: [Dialect; 2] = [Dialect::Json, Dialect::MessagePack];

    /// The WebSocket subprotocol that asks for this dialect.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Dialect::Json => "fanfare.json",
            Dialect::MessagePack => "fanfare.msgpack",
            Dialect::Sse => "",
            Dialect::Centrifuge(shape) => shape.encoding.subprotocol(),
        }
    }

    /// The value of `?format=` that asks for this dialect; the label in metrics.
    pub fn format(self) -> &'static str {
        match self {
            Dialect::Json => "json",
            Dialect::MessagePack => "msgpack",
            Dialect::Sse => "sse",
            Dialect::Centrifuge(shape) if shape.encoding == Encoding::Protobuf => "centrifuge-protobuf",
            Dialect::Centrifuge(_) => "centrifuge-json",
        }
    }

    pub fn from_subprotocol(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.subprotocol() == name)
    }

    pub fn from_format(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.format() == name)
    }

    /// A ready frame that carries `json`: server frames are not masked, so it serves every client.
    /// `json` has been checked with [`is_json`] when it was published.
    pub fn encode(self, json: &[u8]) -> Bytes {
        match self {
            Dialect::Json => frame(Opcode::Text, json),
            Dialect::MessagePack => frame(Opcode::Binary, &msgpack::from_json(json)),
            Dialect::Sse => sse::event(json),
            // It has no messages outside of a channel but those of `centrifuge`.
            Dialect::Centrifuge(_) => Bytes::new(),
        }
    }

    /// What shows that the connection lives.
    pub fn ping(self) -> Bytes {
        match self {
            Dialect::Json | Dialect::MessagePack | Dialect::Centrifuge(_) => frame(Opcode::Ping, b""),
            Dialect::Sse => sse::heartbeat(),
        }
    }

    /// Whether a client answers [`Dialect::ping`].
    pub fn answers(self) -> bool {
        self != Dialect::Sse
    }

    /// The last word of a connection.
    pub fn close(self, close: Close, detail: &str) -> Bytes {
        match self {
            Dialect::Json | Dialect::MessagePack | Dialect::Centrifuge(_) => close_frame(close, detail),
            Dialect::Sse => sse::close(close, detail),
        }
    }
}

/// How one client's messages are written: the dialect, whether each says where it stands in its channel, and how they
/// are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    pub dialect: Dialect,
    /// Messages carry `_position`. Without it they are the very bytes that were published.
    pub positioned: bool,
    /// Of a WebSocket that has negotiated it.
    pub deflate: Option<Deflate>,
}

impl Form {
    pub const COUNT: usize = Form::CHANNELS + Shape::COUNT;
    /// The first so many are those of clients that ask for nothing special.
    pub const COMMON: usize = 4;
    /// From here on those of the channel protocol, by [`Shape::index`].
    pub const CHANNELS: usize = 10;

    /// Every form there is on a server that compresses in this way.
    pub fn all(deflate: Option<Deflate>) -> impl Iterator<Item = Form> {
        let of = |dialect, deflate| [false, true].map(|positioned| Form { dialect, positioned, deflate });
        let packed =
            deflate.into_iter().flat_map(move |_| Dialect::ALL.into_iter().flat_map(move |it| of(it, deflate)));
        let plain = [Dialect::Json, Dialect::MessagePack, Dialect::Sse];
        let channels = (0..Shape::COUNT).filter_map(Shape::at).map(|shape| Dialect::Centrifuge(shape).into());
        plain.into_iter().flat_map(move |dialect| of(dialect, None)).chain(packed).chain(channels)
    }

    pub fn index(self) -> usize {
        let dialect = match self.dialect {
            Dialect::Json => 0,
            Dialect::MessagePack => 1,
            Dialect::Sse => 2,
            Dialect::Centrifuge(shape) => return Form::CHANNELS + shape.index(),
        };
        (dialect + if self.deflate.is_some() { 3 } else { 0 }) * 2 + usize::from(self.positioned)
    }

    /// Of the channel protocol: how its messages are written.
    pub fn shape(self) -> Option<Shape> {
        match self.dialect {
            Dialect::Centrifuge(shape) => Some(shape),
            Dialect::Json | Dialect::MessagePack | Dialect::Sse => None,
        }
    }

    /// A ready frame that carries `json`, compressed where that was negotiated and helps.
    pub fn encode(self, json: &[u8]) -> Bytes {
        match (self.deflate, self.dialect) {
            (None, dialect) => dialect.encode(json),
            (deflate, Dialect::Json) => message(Opcode::Text, json, deflate),
            (deflate, Dialect::MessagePack) => message(Opcode::Binary, &msgpack::from_json(json), deflate),
            (Some(_), dialect) => dialect.encode(json),
        }
    }
}

/// A ready frame around a whole message, compressed where that is wanted and helps.
pub fn message(opcode: Opcode, payload: &[u8], deflate: Option<Deflate>) -> Bytes {
    match deflate.and_then(|deflate| deflate.pack(payload)) {
        Some(packed) => frame::packed_frame(opcode, &packed),
        None => frame(opcode, payload),
    }
}

impl From<Dialect> for Form {
    fn from(dialect: Dialect) -> Self {
        Self { dialect, positioned: false, deflate: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_has_an_index_of_its_own() {
        let deflate = DeflateOptions { enabled: true, ..DeflateOptions::default() }.deflate();
        let mut indexes: Vec<usize> = Form::all(deflate).map(Form::index).collect();
        indexes.sort_unstable();
        assert_eq!(indexes, (0..Form::COUNT).collect::<Vec<_>>());
        assert!(
            Form::all(None).filter(|form| Dialect::ALL.contains(&form.dialect)).all(|form| form.index() < Form::COMMON)
        );
    }
}

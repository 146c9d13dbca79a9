//! Bytes ↔ frames. Knows no socket, no channel's meaning and no feed.

pub mod centrifuge; // the dialect of the `centrifuge` client libraries
mod codes;
mod json;
mod msgpack;
mod websocket;

pub use codes::Close;
pub use json::{is_json, numbers_of, top_level_fields, with_field};
pub use websocket::{Decoder, Incoming, Opcode, close_frame, close_frame_of, frame, frame_length};

use bytes::Bytes;

use self::centrifuge::{Encoding, Shape};

/// How a client wants publications written. A closed set: each is a row in every match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// One JSON object a text message, byte for byte as published.
    Json,
    /// The same object as MessagePack (maps, not arrays) in a binary message.
    MessagePack,
    /// Pushes of the Centrifuge protocol; no feed's own endpoint offers it.
    Centrifuge(Shape),
}

impl Dialect {
    /// Those of the feeds' own endpoints.
    pub const ALL: [Dialect; 2] = [Dialect::Json, Dialect::MessagePack];

    /// The WebSocket subprotocol that asks for this dialect.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Dialect::Json => "fanfare.json",
            Dialect::MessagePack => "fanfare.msgpack",
            Dialect::Centrifuge(shape) => shape.encoding.subprotocol(),
        }
    }

    /// The value of `?format=` that asks for this dialect.
    pub fn format(self) -> &'static str {
        match self {
            Dialect::Json => "json",
            Dialect::MessagePack => "msgpack",
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

    /// A ready WebSocket frame that carries `json`: server frames are not masked, so it serves every client.
    /// `json` has been checked with [`is_json`] when it was published.
    pub fn encode(self, json: &[u8]) -> Bytes {
        match self {
            Dialect::Json => frame(Opcode::Text, json),
            Dialect::MessagePack => frame(Opcode::Binary, &msgpack::from_json(json)),
            // It has no messages outside of a channel but those of `centrifuge`.
            Dialect::Centrifuge(_) => Bytes::new(),
        }
    }
}

/// How one client's messages are written: the dialect, and whether each says where it stands in its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    pub dialect: Dialect,
    /// Messages carry `_position`. Without it they are the very bytes that were published.
    pub positioned: bool,
}

impl Form {
    /// Those of the feeds' own endpoints; the dialect of the channel protocol is by [`Shape::index`].
    pub const PLAIN: usize = Dialect::ALL.len() * 2;
    pub const COUNT: usize = Form::PLAIN + Shape::COUNT;

    /// The form with this index.
    pub fn at(index: usize) -> Option<Form> {
        let plain = |dialect| Form { dialect, positioned: index % 2 == 1 };
        match index {
            0 | 1 => Some(plain(Dialect::Json)),
            2 | 3 => Some(plain(Dialect::MessagePack)),
            index => Shape::at(index - Form::PLAIN).map(|shape| Dialect::Centrifuge(shape).into()),
        }
    }

    pub fn index(self) -> usize {
        let positioned = usize::from(self.positioned);
        match self.dialect {
            Dialect::Json => positioned,
            Dialect::MessagePack => 2 + positioned,
            Dialect::Centrifuge(shape) => Form::PLAIN + shape.index(),
        }
    }

    /// Of the channel protocol: how its messages are written.
    pub fn shape(self) -> Option<Shape> {
        match self.dialect {
            Dialect::Centrifuge(shape) => Some(shape),
            Dialect::Json | Dialect::MessagePack => None,
        }
    }
}

impl From<Dialect> for Form {
    fn from(dialect: Dialect) -> Self {
        Self { dialect, positioned: false }
    }
}

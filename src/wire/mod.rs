//! Bytes ↔ frames. Knows no socket, no channel's meaning and no feed.

mod codes;
mod json;
mod msgpack;
mod websocket;

pub use codes::Close;
pub use json::{is_json, numbers_of, top_level_fields, with_field};
pub use websocket::{Decoder, Incoming, Opcode, close_frame, frame, frame_length, whole_frame};

use bytes::Bytes;

/// How a client wants publications written. A closed set: each is a row in every match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// One JSON object a text message, byte for byte as published.
    Json,
    /// The same object as MessagePack (maps, not arrays) in a binary message.
    MessagePack,
}

impl Dialect {
    pub const ALL: [Dialect; 2] = [Dialect::Json, Dialect::MessagePack];

    /// The WebSocket subprotocol that asks for this dialect.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Dialect::Json => "fanfare.json",
            Dialect::MessagePack => "fanfare.msgpack",
        }
    }

    /// The value of `?format=` that asks for this dialect.
    pub fn format(self) -> &'static str {
        match self {
            Dialect::Json => "json",
            Dialect::MessagePack => "msgpack",
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
    pub const COUNT: usize = Dialect::ALL.len() * 2;

    pub const ALL: [Form; Form::COUNT] = [
        Form { dialect: Dialect::Json, positioned: false },
        Form { dialect: Dialect::Json, positioned: true },
        Form { dialect: Dialect::MessagePack, positioned: false },
        Form { dialect: Dialect::MessagePack, positioned: true },
    ];

    pub fn index(self) -> usize {
        self.dialect as usize * 2 + usize::from(self.positioned)
    }
}

impl From<Dialect> for Form {
    fn from(dialect: Dialect) -> Self {
        Self { dialect, positioned: false }
    }
}

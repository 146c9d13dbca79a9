//! The dialect of the `centrifuge` client libraries: commands in, replies and pushes out, as JSON lines or Protobuf.

mod codes;
mod delta;
mod push;
mod raw;
mod replies;
mod requests;

pub use codes::{Disconnect, Fault, Unsubscribed};
pub use delta::patch;
pub use push::{Event, Told, event_frame, json_text, publication_frame};
pub use replies::*;
pub use requests::*;

use bytes::{Buf, Bytes};
use prost::Message;

use super::{Opcode, frame};

/// How messages are written, and what a publication's data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    pub encoding: Encoding,
    pub delta: Delta,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    Json,
    Protobuf,
    /// JSON pushes by themselves, for connections that go one way.
    Bare,
}

/// What the subscribers have of the publication before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delta {
    /// They want every publication whole.
    Off,
    /// Nothing yet: this one comes whole, the next as a patch to it.
    Fresh,
    Patch,
}

impl Shape {
    pub const COUNT: usize = 9;

    pub fn index(self) -> usize {
        self.encoding as usize * 3 + self.delta as usize
    }

    /// The shape with this index.
    pub fn at(index: usize) -> Option<Shape> {
        let encoding = *[Encoding::Json, Encoding::Protobuf, Encoding::Bare].get(index / 3)?;
        let delta = *[Delta::Off, Delta::Fresh, Delta::Patch].get(index % 3)?;
        Some(Shape { encoding, delta })
    }
}

impl Encoding {
    /// The WebSocket subprotocol that asks for it.
    pub fn from_subprotocol(name: &str) -> Option<Self> {
        match name {
            "centrifuge-json" => Some(Encoding::Json),
            "centrifuge-protobuf" => Some(Encoding::Protobuf),
            _ => None,
        }
    }

    pub fn subprotocol(self) -> &'static str {
        match self {
            Encoding::Json | Encoding::Bare => "centrifuge-json",
            Encoding::Protobuf => "centrifuge-protobuf",
        }
    }

    /// The server's ping.
    pub fn ping(self) -> Bytes {
        match self {
            Encoding::Json | Encoding::Bare => frame(Opcode::Text, b"{}"),
            Encoding::Protobuf => frame(Opcode::Binary, &[0]),
        }
    }

    /// Whether a message is a client's answer to a ping and nothing else.
    pub fn is_pong(self, message: &[u8]) -> bool {
        match self {
            Encoding::Json | Encoding::Bare => message.trim_ascii() == b"{}",
            Encoding::Protobuf => message == [0],
        }
    }

    /// One reply as a ready frame.
    pub fn reply(self, reply: &Reply) -> Bytes {
        match self {
            Encoding::Protobuf => frame(Opcode::Binary, &self.message(reply)),
            Encoding::Bare if reply.push.is_none() => Bytes::new(),
            Encoding::Json | Encoding::Bare => frame(Opcode::Text, &self.message(reply)),
        }
    }

    /// One reply without a frame around it.
    pub fn message(self, reply: &Reply) -> Vec<u8> {
        match self {
            Encoding::Json => json(reply),
            Encoding::Protobuf => reply.encode_length_delimited_to_vec(),
            Encoding::Bare => reply.push.as_ref().map(json).unwrap_or_default(),
        }
    }

    /// Every command of a client's message, in order. `Err`: it is not understood, or there is none.
    pub fn commands(self, mut message: &[u8]) -> Result<Vec<Command>, NotUnderstood> {
        let mut commands = Vec::new();
        match self {
            Encoding::Json | Encoding::Bare => {
                for line in message.split(|byte| *byte == b'\n') {
                    // Left to itself, serde takes a list for an object's values.
                    match line.trim_ascii().first() {
                        None => {}
                        Some(b'{') => commands.push(serde_json::from_slice(line).map_err(|_| NotUnderstood)?),
                        Some(_) => return Err(NotUnderstood),
                    }
                }
            }
            Encoding::Protobuf => {
                while message.has_remaining() {
                    commands.push(Command::decode_length_delimited(&mut message).map_err(|_| NotUnderstood)?);
                }
            }
        }
        if commands.is_empty() { Err(NotUnderstood) } else { Ok(commands) }
    }
}

/// A message that breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUnderstood;

/// What of the data of a reply is not JSON becomes nothing; publications are JSON since they were published.
fn json<T: serde::Serialize>(message: &T) -> Vec<u8> {
    serde_json::to_vec(message).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn several_commands_come_in_one_message() {
        let text = b"{\"id\":1,\"connect\":{\"name\":\"js\",\"data\":{\"a\": 1}}}\n{\"id\":2,\"subscribe\":{\"channel\":\"news\",\"flag\":1}}\n";
        let commands = Encoding::Json.commands(text).unwrap();
        assert_eq!(commands.len(), 2);
        assert_eq!(&commands[0].connect.as_ref().unwrap().data[..], b"{\"a\": 1}");
        let packed: Vec<u8> = commands.iter().flat_map(|command| command.encode_length_delimited_to_vec()).collect();
        assert_eq!(Encoding::Protobuf.commands(&packed).unwrap(), commands);
        for wrong in [&b""[..], b"\n", b"[]", b"{\"id\":-1}", b"{} {}"] {
            assert_eq!(Encoding::Json.commands(wrong), Err(NotUnderstood), "{wrong:?}");
        }
        assert_eq!(Encoding::Protobuf.commands(&[]), Err(NotUnderstood));
        assert_eq!(Encoding::Protobuf.commands(&[5, 1]), Err(NotUnderstood));
    }

    #[test]
    fn every_shape_has_its_index() {
        for index in 0..Shape::COUNT {
            assert_eq!(Shape::at(index).unwrap().index(), index);
        }
        assert_eq!(Shape::at(Shape::COUNT), None);
    }

    #[test]
    fn a_reply_has_what_it_holds_and_no_more() {
        let reply = Reply { id: 3, presence_stats: Some(PresenceStatsResult::default()), ..Reply::default() };
        let text = Encoding::Json.reply(&reply);
        assert_eq!(&text[2..], br#"{"id":3,"presence_stats":{"num_clients":0,"num_users":0}}"#);
        let reply = Reply { id: 4, publish: Some(Empty {}), ..Reply::default() };
        assert_eq!(&Encoding::Json.reply(&reply)[2..], br#"{"id":4,"publish":{}}"#);
        assert_eq!(&Encoding::Protobuf.reply(&reply)[2..], &[4, 0x08, 4, 0x42, 0]);
        assert!(Encoding::Json.is_pong(b"{}") && Encoding::Protobuf.is_pong(&[0]));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for encoding in [Encoding::Json, Encoding::Protobuf] {
                let _ = encoding.commands(&bytes);
            }
        }
    }
}

//! What clients send over a WebSocket (RFC 6455): frames in, messages out, incrementally.

use std::io::Cursor;

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use super::frame::Opcode;
use super::{Close, inflate};

/// How long the first of a client's frames in `bytes` is, header included; `None` while it has not wholly arrived. Of
/// what is no frame the answer is everything: whoever reads it finds out.
pub fn whole_frame(bytes: &[u8]) -> Option<usize> {
    match parse_header(bytes) {
        Ok(Some((_, length, header_bytes))) => {
            let end = header_bytes.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
            (end <= bytes.len()).then_some(end)
        }
        Ok(None) => None,
        Err(_) => Some(bytes.len()),
    }
}

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Ping(&'a [u8]),
    Pong,
    /// The code that the client gave, if it gave one. Nothing follows it.
    Close(Option<u16>),
}

/// How a client's messages are to be read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The largest message, compressed or not.
    pub max_message_bytes: usize,
    /// Whether compressed messages have been agreed on.
    pub deflated: bool,
}

/// The first reserved bit: the message is compressed (RFC 7692).
const COMPRESSED: u8 = 0x40;

/// Reads one connection's messages from whatever pieces its bytes arrive in. Costs eight bytes while nothing is partial.
#[derive(Default)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
}

#[derive(Default)]
struct Partial {
    /// Bytes of a frame that has not wholly arrived.
    frame: Vec<u8>,
    /// A fragmented message so far; `kind` says of what.
    message: Vec<u8>,
    kind: Option<Kind>,
    /// Whether it is compressed.
    packed: bool,
    /// How much of a text `message` is known to be UTF-8.
    checked: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

impl Decoder {
    /// Takes `input` (unmasking it in place) and hands every message that is now complete to `on`.
    /// After an error the connection cannot be read further.
    pub fn read(&mut self, input: &mut [u8], reading: Reading, on: &mut dyn FnMut(Incoming<'_>)) -> Result<(), Close> {
        let Some(mut partial) = self.partial.take() else {
            let mut partial = Partial::default();
            let used = partial.frames(input, reading, on)?;
            if used < input.len() || partial.kind.is_some() {
                partial.frame = input[used..].to_vec();
                self.partial = Some(Box::new(partial));
            }
            return Ok(());
        };
        let mut joined = std::mem::take(&mut partial.frame);
        joined.extend_from_slice(input);
        let used = partial.frames(&mut joined, reading, on)?;
        joined.drain(..used);
        if !joined.is_empty() || partial.kind.is_some() {
            partial.frame = joined;
            self.partial = Some(partial);
        }
        Ok(())
    }

    /// What another decoder has to read first to go on where this one stands.
    pub fn into_bytes(self) -> Vec<u8> {
        let Some(partial) = self.partial else { return Vec::new() };
        let Some(kind) = partial.kind else { return partial.frame };
        // The fragments so far as one, under a mask that changes nothing.
        let opcode = if kind == Kind::Text { Opcode::Text } else { Opcode::Binary };
        let packed = if partial.packed { COMPRESSED } else { 0 };
        let mut bytes = vec![opcode as u8 | packed, 0x80 | 127];
        bytes.extend_from_slice(&(partial.message.len() as u64).to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&partial.message);
        bytes.extend_from_slice(&partial.frame);
        bytes
    }

    /// Bytes that wait for the rest of a frame or message.
    pub fn held_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.frame.len() + partial.message.len())
    }
}

impl Partial {
    /// Handles every whole frame of `input`; answers how many bytes they took.
    fn frames(&mut self, input: &mut [u8], reading: Reading, on: &mut dyn FnMut(Incoming<'_>)) -> Result<usize, Close> {
        let mut used = 0;
        while let Some((header, length, header_bytes)) = parse_header(&input[used..])? {
            let mask = header.mask.ok_or(Close::Protocol)?;
            // The first bit says that a message is compressed, on its first frame alone.
            let begins = matches!(header.opcode, OpCode::Data(Data::Text | Data::Binary));
            if header.rsv1 && !(reading.deflated && begins) || header.rsv2 || header.rsv3 {
                return Err(Close::Protocol);
            }
            let control = matches!(header.opcode, OpCode::Control(_));
            if control && (length > 125 || !header.is_final) {
                return Err(Close::Protocol);
            }
            if !control && length.saturating_add(self.message.len() as u64) > reading.max_message_bytes as u64 {
                return Err(Close::TooBig);
            }
            let begin = used + header_bytes;
            let Some(payload) = input.get_mut(begin..begin + length as usize) else { break };
            unmask(payload, mask);
            used = begin + length as usize;
            match header.opcode {
                OpCode::Control(control) => {
                    let message = control_message(control, payload)?;
                    let last = matches!(message, Incoming::Close(_));
                    on(message);
                    if last {
                        return Ok(input.len());
                    }
                }
                OpCode::Data(data) => {
                    let kind = self.begin(data, header.rsv1)?;
                    self.data(kind, header.is_final, payload, reading.max_message_bytes, on)?;
                }
            }
        }
        Ok(used)
    }

    /// What a frame belongs to.
    fn begin(&mut self, data: Data, packed: bool) -> Result<Kind, Close> {
        let kind = match (data, self.kind) {
            (Data::Text, None) => Kind::Text,
            (Data::Binary, None) => Kind::Binary,
            (Data::Continue, Some(kind)) => return Ok(kind),
            _ => return Err(Close::Protocol),
        };
        self.packed = packed;
        Ok(kind)
    }

    fn data(
        &mut self,
        kind: Kind,
        last: bool,
        payload: &[u8],
        max: usize,
        on: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<(), Close> {
        if last && self.kind.is_none() {
            return whole(kind, self.packed, payload, max, on);
        }
        self.kind = Some(kind);
        self.message.extend_from_slice(payload);
        if kind == Kind::Text && !self.packed {
            self.check_utf8(last)?;
        }
        if last {
            let message = std::mem::take(&mut self.message);
            (self.kind, self.checked) = (None, 0);
            whole(kind, self.packed, &message, max, on)?;
        }
        Ok(())
    }

    /// Refuses bad text as soon as it can be known; a character may still be cut in two at the end of a fragment.
    fn check_utf8(&mut self, last: bool) -> Result<(), Close> {
        match std::str::from_utf8(&self.message[self.checked..]) {
            Ok(_) => self.checked = self.message.len(),
            Err(error) if !last && error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(Close::InvalidUtf8),
        }
        Ok(())
    }
}

/// Hands on a message that is complete.
fn whole(kind: Kind, packed: bool, payload: &[u8], max: usize, on: &mut dyn FnMut(Incoming<'_>)) -> Result<(), Close> {
    let inflated;
    let message = if packed {
        inflated = inflate(payload, max)?;
        &inflated[..]
    } else {
        payload
    };
    match kind {
        Kind::Text => on(Incoming::Text(std::str::from_utf8(message).map_err(|_| Close::InvalidUtf8)?)),
        Kind::Binary => on(Incoming::Binary(message)),
    }
    Ok(())
}

fn parse_header(input: &[u8]) -> Result<Option<(FrameHeader, u64, usize)>, Close> {
    let mut cursor = Cursor::new(input);
    let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Close::Protocol)?;
    Ok(parsed.map(|(header, length)| (header, length, cursor.position() as usize)))
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    for chunk in payload.chunks_mut(4) {
        for (byte, key) in chunk.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
}

fn control_message(control: Control, payload: &[u8]) -> Result<Incoming<'_>, Close> {
    match control {
        Control::Ping => Ok(Incoming::Ping(payload)),
        Control::Pong => Ok(Incoming::Pong),
        Control::Close => match payload {
            [] => Ok(Incoming::Close(None)),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                if !CloseCode::from(code).is_allowed() {
                    return Err(Close::Protocol);
                }
                std::str::from_utf8(reason).map_err(|_| Close::InvalidUtf8)?;
                Ok(Incoming::Close(Some(code)))
            }
            [_] => Err(Close::Protocol),
        },
        Control::Reserved(_) => Err(Close::Protocol),
    }
}

#[cfg(test)]
mod tests;

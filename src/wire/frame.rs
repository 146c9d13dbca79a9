//! WebSocket frames as a server writes them (RFC 6455): whole, and not masked, so that they serve everybody.

use bytes::{Buf, Bytes, BytesMut};

use super::Close;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

/// One whole unmasked frame around `payload`.
pub fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    framed(0x80 | opcode as u8, payload)
}

/// The same around a compressed payload: the first reserved bit says so.
pub(super) fn packed_frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    framed(0xC0 | opcode as u8, payload)
}

fn framed(first: u8, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(payload.len() + 10);
    out.push(first);
    match payload.len() {
        length @ 0..126 => out.push(length as u8),
        length @ 126..0x1_0000 => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
    Bytes::from(out)
}

/// The most that a close frame's reason may hold: a control frame has 125 bytes, two of them the code.
const MOST_REASON_BYTES: usize = 123;

/// The close frame that tells `close` to the peer. `detail`, such as where to resume, follows the reason where it fits.
pub fn close_frame(close: Close, detail: &str) -> Bytes {
    let mut payload = close.code().to_be_bytes().to_vec();
    payload.extend_from_slice(close_reason(close, detail).as_bytes());
    frame(Opcode::Close, &payload)
}

pub(super) fn close_reason(close: Close, detail: &str) -> String {
    let fits = !detail.is_empty() && close.reason().len() + 2 + detail.len() <= MOST_REASON_BYTES;
    if fits { format!("{}; {detail}", close.reason()) } else { close.reason().to_owned() }
}

/// The first frame of what [`frame`] made, taken from `bytes` once all of it is there: what it is, and its payload.
pub fn take_frame(bytes: &mut BytesMut) -> Option<(Opcode, Bytes)> {
    let opcode = [Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong]
        .into_iter()
        .find(|opcode| bytes.first().is_some_and(|first| first & 0xF == *opcode as u8))?;
    let (header, length) = match bytes[..] {
        [_, 126, high, low, ..] => (4, u64::from(u16::from_be_bytes([high, low]))),
        [_, 127, ref rest @ ..] => (10, u64::from_be_bytes(*rest.first_chunk::<8>()?)),
        [_, length, ..] if length < 126 => (2, u64::from(length)),
        _ => return None,
    };
    let length = usize::try_from(length).ok()?;
    if bytes.len() < header + length {
        return None;
    }
    bytes.advance(header);
    Some((opcode, bytes.split_to(length).freeze()))
}

/// A frame as a client sends it: masked, with the key that changes nothing.
pub fn client_frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let ours = frame(opcode, payload);
    let header = ours.len() - payload.len();
    let mut out = Vec::with_capacity(ours.len() + 4);
    out.extend_from_slice(&ours[..header]);
    out[1] |= 0x80;
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    out.into()
}

/// A close frame with an application's own words, cut to what fits.
pub fn close_frame_of(code: u16, reason: &str) -> Bytes {
    let mut payload = code.to_be_bytes().to_vec();
    let end = (0..=reason.len().min(MOST_REASON_BYTES)).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    frame(Opcode::Close, &payload)
}

/// How long the first of our own frames in `bytes` is, header included; or the first event, which is text.
pub fn frame_length(bytes: &[u8]) -> usize {
    let length = match bytes {
        [0..0x80, ..] => super::sse::block_length(bytes),
        [_, 126, high, low, ..] => 4 + usize::from(u16::from_be_bytes([*high, *low])),
        [_, 127, rest @ ..] => {
            let length = rest.first_chunk::<8>().map_or(0, |length| u64::from_be_bytes(*length));
            10 + usize::try_from(length).unwrap_or(0)
        }
        [_, length, ..] => 2 + usize::from(*length),
        _ => bytes.len(),
    };
    length.min(bytes.len())
}

//! WebSocket frames as a server writes them (RFC 6455): whole, and not masked, so that they serve everybody.

use bytes::Bytes;

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

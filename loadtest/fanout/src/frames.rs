//! Just enough of RFC 6455 for a client that measures.

/// A whole frame from the server: its first byte, where its payload begins, and the payload's length.
pub fn next(input: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*input.first()?, *input.get(1)?);
    let (begin, length) = match second & 0x7F {
        126 => (4, u16::from_be_bytes(input.get(2..4)?.try_into().ok()?) as usize),
        127 => (10, u64::from_be_bytes(input.get(2..10)?.try_into().ok()?) as usize),
        short => (2, short as usize),
    };
    (input.len() >= begin + length).then_some((first, begin, length))
}

/// The same of server-sent events, as a text message would be. The sizes of HTTP's chunks lie between them.
pub fn next_event(input: &[u8]) -> Option<(u8, usize, usize)> {
    memchr::memmem::find(input, b"\n\n").map(|end| (0x81, 0, end + 2))
}

/// A masked control frame; the mask is zero, as nobody in between has to be misled.
pub fn control(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x80 | opcode, 0x80 | payload.len().min(125) as u8, 0, 0, 0, 0];
    out.extend_from_slice(&payload[..payload.len().min(125)]);
    out
}

/// A masked text frame with the same mask.
pub fn text(payload: &[u8]) -> Vec<u8> {
    let mut out = match payload.len() {
        short @ 0..126 => vec![0x81, 0x80 | short as u8],
        long => vec![0x81, 0x80 | 126, (long >> 8) as u8, long as u8],
    };
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    out
}

//! permessage-deflate (RFC 7692) without context takeover: every message stands alone, so that one compression serves all.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use serde::Deserialize;

use super::Close;

/// What the extension is called, and what this server answers to an offer that it takes.
const NAME: &str = "permessage-deflate";
pub const DEFLATE_ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
/// What each compressed message ends with, and what is left out on the wire.
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// What inflating asks for at a time.
const STEP_BYTES: usize = 4 << 10;

/// Whether WebSocket messages are compressed for clients that offer it, and which.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeflateOptions {
    /// Off for whoever wants processor time more than bandwidth.
    pub enabled: bool,
    /// Messages shorter than this are sent as they are.
    pub min_bytes: u32,
    /// From 1 (quick) to 9 (small).
    pub level: u8,
}

impl Default for DeflateOptions {
    fn default() -> Self {
        Self { enabled: true, min_bytes: 256, level: 1 }
    }
}

impl DeflateOptions {
    /// How messages are compressed, if they are at all.
    pub fn deflate(&self) -> Option<Deflate> {
        self.enabled.then_some(Deflate { min_bytes: self.min_bytes.max(1), level: self.level.clamp(1, 9) })
    }
}

/// How messages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Deflate {
    /// 0: everything is compressed, even what becomes longer by it.
    pub min_bytes: u32,
    pub level: u8,
}

thread_local! {
    // The state is a third of a megabyte: kept for the next message, as none refers to another.
    static COMPRESS: RefCell<Option<(u8, Compress)>> = const { RefCell::new(None) };
    static INFLATE: RefCell<Option<Decompress>> = const { RefCell::new(None) };
}

impl Deflate {
    /// The payload of a compressed frame; `None` where the message is short, or does not become shorter.
    pub fn pack(self, payload: &[u8]) -> Option<Vec<u8>> {
        if payload.len() < self.min_bytes as usize {
            return None;
        }
        COMPRESS.with_borrow_mut(|kept| {
            let (_, compress) = match kept {
                Some((level, compress)) if *level == self.level => {
                    compress.reset();
                    kept.as_mut()?
                }
                _ => kept.insert((self.level, Compress::new(Compression::new(self.level.into()), false))),
            };
            let mut out = Vec::with_capacity(payload.len() + TAIL.len() + 16);
            loop {
                let used = usize::try_from(compress.total_in()).ok()?;
                compress.compress_vec(payload.get(used..)?, &mut out, FlushCompress::Sync).ok()?;
                // With room left, everything has been flushed.
                if out.len() < out.capacity() {
                    break;
                }
                out.reserve(STEP_BYTES);
            }
            let length = out.strip_suffix(&TAIL)?.len();
            out.truncate(length);
            (length < payload.len() || self.min_bytes == 0).then_some(out)
        })
    }
}

/// A compressed message as it was; refused as soon as it is over `max_bytes`, however little of it has come.
pub fn inflate(payload: &[u8], max_bytes: usize) -> Result<Vec<u8>, Close> {
    INFLATE.with_borrow_mut(|kept| {
        let inflate = kept.get_or_insert_with(|| Decompress::new(false));
        inflate.reset(false);
        let mut out = Vec::with_capacity(payload.len().saturating_mul(2).min(max_bytes).max(64));
        for mut input in [payload, &TAIL] {
            loop {
                let (taken, given) = (inflate.total_in(), inflate.total_out());
                let status = inflate.decompress_vec(input, &mut out, FlushDecompress::Sync);
                let status = status.map_err(|_| Close::Protocol)?;
                if out.len() > max_bytes {
                    return Err(Close::TooBig);
                }
                let used = usize::try_from(inflate.total_in() - taken).unwrap_or(usize::MAX);
                let idle = used == 0 && inflate.total_out() == given;
                input = input.get(used..).unwrap_or_default();
                match status {
                    // A final block; what follows is a stream of its own, or the padding of RFC 7692 §7.2.3.4.
                    Status::StreamEnd if !input.is_empty() => inflate.reset(false),
                    Status::StreamEnd => break,
                    // Room is left, and everything has been taken.
                    _ if input.is_empty() && out.len() < out.capacity() => break,
                    _ if idle && out.len() < out.capacity() => return Err(Close::Protocol),
                    _ => {}
                }
                if out.len() == out.capacity() {
                    out.reserve(STEP_BYTES.min(max_bytes + 1 - out.len()));
                }
            }
        }
        Ok(out)
    })
}

/// Whether one of the offers of `Sec-WebSocket-Extensions` can be taken: [`DEFLATE_ANSWER`] then is the answer.
pub fn offers_deflate<'a>(headers: impl IntoIterator<Item = &'a str>) -> bool {
    headers.into_iter().flat_map(|header| header.split(',')).any(acceptable)
}

/// One offer. An unknown or repeated parameter, or one with a wrong value, makes it void (RFC 7692 §7).
fn acceptable(offer: &str) -> bool {
    let mut parts = offer.split(';').map(str::trim);
    if parts.next() != Some(NAME) {
        return false;
    }
    let mut seen = Vec::new();
    parts.all(|part| {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(value.trim().trim_matches('"'))),
            None => (part, None),
        };
        let bits = || value.and_then(|value| value.parse::<u8>().ok().filter(|_| !value.starts_with(['0', '+'])));
        let good = match name {
            "server_no_context_takeover" | "client_no_context_takeover" => value.is_none(),
            // What the client promises costs us nothing, whatever it is.
            "client_max_window_bits" => value.is_none() || bits().is_some_and(|bits| (8..=15).contains(&bits)),
            // A smaller window than the one that serves everybody would be a compression of its own.
            "server_max_window_bits" => bits() == Some(15),
            _ => false,
        };
        let first = !seen.contains(&name);
        seen.push(name);
        good && first
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Deflate = Deflate { min_bytes: 1, level: 1 };

    #[test]
    fn offers_are_taken_or_not() {
        for good in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate;client_max_window_bits=8 ; server_no_context_takeover",
            "x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=\"15\"",
            "permessage-deflate; server_max_window_bits=9, permessage-deflate",
        ] {
            assert!(offers_deflate([good]), "{good}");
        }
        for bad in [
            "",
            "deflate",
            "permessage-deflate; server_max_window_bits=9",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=016",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; unknown",
            "permessage-deflate;",
        ] {
            assert!(!offers_deflate([bad]), "{bad}");
        }
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
        let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        let two = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
        for example in [&hello[..], &stored, &last, &two] {
            assert_eq!(inflate(example, 5).unwrap(), b"Hello", "{example:x?}");
            assert_eq!(inflate(example, 4), Err(Close::TooBig));
        }
        assert_eq!(inflate(&[0], 5).unwrap(), b"");
    }

    #[test]
    fn a_bomb_is_put_out_early() {
        let bomb = ALL.pack(&vec![0; 64 << 20]).unwrap();
        assert!(bomb.len() < 1 << 20);
        assert_eq!(inflate(&bomb, 64 << 10), Err(Close::TooBig));
        let always = Deflate { min_bytes: 0, level: 1 };
        assert_eq!(always.pack(b"").unwrap().len(), 1);
        assert_eq!(inflate(&always.pack(b"x").unwrap(), 9).unwrap(), b"x");
        assert_eq!(ALL.pack(b"x"), None, "what does not become shorter stays");
        assert_eq!(Deflate { min_bytes: 256, level: 1 }.pack(&[7; 255]), None);
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_back(words in proptest::collection::vec("[a-f]{0,9}", 0..3000), level in 1u8..=9) {
            let text = words.join(" ");
            if let Some(packed) = (Deflate { min_bytes: 1, level }).pack(text.as_bytes()) {
                prop_assert_eq!(inflate(&packed, text.len()).unwrap(), text.as_bytes());
            }
        }

        #[test]
        fn no_bytes_make_it_panic_or_grow(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(out) = inflate(&bytes, 1000) {
                prop_assert!(out.len() <= 1000);
            }
        }
    }
}

//! What a socket could not take at once: bounded in bytes. A connection has one only while something waits.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

/// Bytes that are to be written together, and how many publications they carry.
struct Chunk {
    bytes: Bytes,
    messages: u64,
}

#[derive(Default)]
pub(super) struct Outbox {
    chunks: VecDeque<Chunk>,
    size_bytes: usize,
    messages: u64,
    /// Whether a part of the first chunk has gone out: what follows must be its rest.
    begun: bool,
}

impl Outbox {
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Publications that wait, the one that is half written included.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    pub fn push(&mut self, bytes: Bytes, messages: u64) {
        self.size_bytes += bytes.len();
        self.messages += messages;
        self.chunks.push_back(Chunk { bytes, messages });
    }

    /// The rest of something whose first part has been written already.
    pub fn push_rest(&mut self, rest: Bytes, messages: u64) {
        self.begun = self.chunks.is_empty();
        self.push(rest, messages);
    }

    pub fn front(&self) -> Option<&[u8]> {
        self.chunks.front().map(|chunk| &chunk.bytes[..])
    }

    /// The kernel took `written` bytes of the front. Answers how many publications are now wholly written.
    pub fn advance(&mut self, written: usize) -> u64 {
        let Some(chunk) = self.chunks.front_mut() else { return 0 };
        let written = written.min(chunk.bytes.len());
        chunk.bytes.advance(written);
        self.size_bytes -= written;
        self.begun = written > 0;
        if !chunk.bytes.is_empty() {
            return 0;
        }
        let messages = chunk.messages;
        self.messages -= messages;
        self.chunks.pop_front();
        self.begun = false;
        messages
    }

    /// Gives up everything but the rest of what is half written, so that a close frame can follow it.
    /// Answers how many publications were given up; those of the half-written chunk stay counted as waiting.
    pub fn abandon(&mut self) -> u64 {
        let keep = usize::from(self.begun);
        let dropped = self.chunks.iter().skip(keep).map(|chunk| chunk.messages).sum();
        self.chunks.truncate(keep);
        self.size_bytes = self.chunks.iter().map(|chunk| chunk.bytes.len()).sum();
        self.messages -= dropped;
        dropped
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the kernel takes at a time, the bytes come out whole and in order and the counts balance.
        #[test]
        fn bytes_in_order_and_counts_exact(sizes in proptest::collection::vec(1usize..50, 1..20), takes in proptest::collection::vec(0usize..40, 1..100)) {
            let (mut outbox, mut expected, mut out, mut finished) = (Outbox::default(), Vec::new(), Vec::new(), 0);
            for (i, size) in sizes.iter().enumerate() {
                let bytes = vec![i as u8; *size];
                expected.extend_from_slice(&bytes);
                outbox.push(Bytes::from(bytes), 2);
            }
            for take in takes {
                let Some(front) = outbox.front() else { break };
                let take = take.min(front.len());
                out.extend_from_slice(&front[..take]);
                finished += outbox.advance(take);
                prop_assert_eq!(outbox.size_bytes(), expected.len() - out.len());
                prop_assert_eq!(outbox.messages() + finished, 2 * sizes.len() as u64);
            }
            prop_assert_eq!(&out[..], &expected[..out.len()]);
            let begun = outbox.begun;
            let (waiting, rest) = (outbox.messages(), outbox.front().map_or(0, <[u8]>::len));
            let dropped = outbox.abandon();
            prop_assert_eq!(dropped + outbox.messages(), waiting);
            prop_assert_eq!(outbox.size_bytes(), if begun { rest } else { 0 });
        }
    }
}

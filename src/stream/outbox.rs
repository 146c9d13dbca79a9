//! What a socket could not take at once: bounded in bytes. A connection has one only while something waits.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::fold::Folds;
use super::ledger::Tally;
use super::{FoldRule, Mark, Publication, StreamMetrics};
use crate::wire::{Form, frame_length};

/// Where each channel of an audience stood.
pub(super) type Marks = Arc<[Mark]>;

/// Bytes that are to be written together, and which publications they carry.
pub(super) struct Chunk {
    pub bytes: Bytes,
    pub tally: Tally,
    /// Where a client resumes that has everything before this.
    pub before: Option<Marks>,
}

#[derive(Default)]
pub(super) struct Outbox {
    chunks: VecDeque<Chunk>,
    size_bytes: usize,
    /// Of those, what the client asked for by resuming: its budget is for what is live.
    backlog_bytes: usize,
    /// Whether a part of the first chunk has gone out: what follows must be its rest.
    begun: bool,
    /// By [`super::WhenFull::KeepLatest`]: what is on top of the budget, each key once.
    latest: Option<Box<Latest>>,
}

struct Latest {
    folds: Folds,
    before: Option<Marks>,
    form: Form,
}

/// What was given up.
#[derive(Default)]
pub(super) struct Abandoned {
    pub tally: Tally,
    /// Where the client resumes: before the first of it.
    pub before: Option<Marks>,
}

impl Outbox {
    /// Everything that waits, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes + self.latest.as_ref().map_or(0, |latest| latest.folds.size_bytes())
    }

    /// What counts against the budget.
    pub fn budgeted_bytes(&self) -> usize {
        self.size_bytes() - self.backlog_bytes
    }

    /// Whether the latest of each key is being kept: then whatever comes has to join them.
    pub fn keeps_latest(&self) -> bool {
        self.latest.is_some()
    }

    pub fn push(&mut self, chunk: Chunk) {
        self.size_bytes += chunk.bytes.len();
        self.chunks.push_back(chunk);
    }

    /// What goes before everything that waits; nothing of that has been written.
    pub fn push_front(&mut self, bytes: Bytes) {
        self.size_bytes += bytes.len();
        self.backlog_bytes += bytes.len();
        self.chunks.push_front(Chunk { bytes, tally: Tally::default(), before: None });
    }

    /// What the client is sent before anything live.
    pub fn push_backlog(&mut self, chunk: Chunk) {
        self.backlog_bytes += chunk.bytes.len();
        self.push(chunk);
    }

    /// The rest of something whose first part has been written already.
    pub fn push_rest(&mut self, chunk: Chunk) {
        self.begun = self.chunks.is_empty();
        self.push(chunk);
    }

    /// Adds one message to those of which only the latest is kept; answers whether it replaced another one.
    pub fn keep_latest(
        &mut self,
        channel: Option<u64>,
        publication: &Arc<Publication>,
        rules: &'static [FoldRule],
        form: Form,
        before: impl FnOnce() -> Option<Marks>,
    ) -> bool {
        let fresh = || Box::new(Latest { folds: Folds::default(), before: before(), form });
        self.latest.get_or_insert_with(fresh).folds.add(channel, publication, rules)
    }

    pub fn front(&self) -> Option<&[u8]> {
        self.chunks.front().map(|chunk| &chunk.bytes[..])
    }

    /// The kernel took `written` bytes of the front. Answers which publications are now wholly written.
    pub fn advance(&mut self, written: usize) -> Option<Tally> {
        let chunk = self.chunks.front_mut()?;
        let written = written.min(chunk.bytes.len());
        chunk.bytes.advance(written);
        self.size_bytes -= written;
        self.backlog_bytes = self.backlog_bytes.saturating_sub(written);
        self.begun = written > 0 || self.begun;
        if !chunk.bytes.is_empty() {
            return None;
        }
        self.begun = false;
        self.chunks.pop_front().map(|chunk| chunk.tally)
    }

    /// When everything before has been written: what was kept becomes what is written next.
    pub fn promote_latest(&mut self, metrics: &StreamMetrics) {
        if !self.chunks.is_empty() {
            return;
        }
        let Some(mut latest) = self.latest.take() else { return };
        for fold in latest.folds.take() {
            let bytes = fold.frame(latest.form, false, metrics);
            self.push(Chunk { bytes, tally: Tally::one(fold.channel), before: latest.before.clone() });
        }
    }

    /// Gives up everything but the rest of the frame that is half written, so that a close frame can follow it. The
    /// publications of that chunk stay counted as waiting.
    pub fn abandon(&mut self) -> Abandoned {
        let mut abandoned = Abandoned::default();
        let keep = usize::from(self.begun);
        for chunk in self.chunks.drain(keep..) {
            abandoned.tally.join(&chunk.tally);
            abandoned.before = abandoned.before.or(chunk.before);
        }
        if let Some(latest) = self.latest.take() {
            latest.folds.iter().for_each(|fold| abandoned.tally.join(&Tally::one(fold.channel)));
            abandoned.before = abandoned.before.or(latest.before);
        }
        self.size_bytes = self.chunks.iter().map(|chunk| chunk.bytes.len()).sum();
        self.backlog_bytes = self.backlog_bytes.min(self.size_bytes);
        abandoned
    }

    /// Everything that waits, whatever became of it.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.chunks.iter().for_each(|chunk| tally.join(&chunk.tally));
        if let Some(latest) = &self.latest {
            latest.folds.iter().for_each(|fold| tally.join(&Tally::one(fold.channel)));
        }
        tally
    }

    /// Where a client resumes that gets nothing more.
    pub fn resume(&self) -> Option<&Marks> {
        let kept = self.latest.as_ref().and_then(|latest| latest.before.as_ref());
        self.chunks.iter().find_map(|chunk| chunk.before.as_ref()).or(kept)
    }
}

/// Where the frame ends that a write of `written` bytes has cut, in a run of whole frames.
pub(super) fn frame_end(run: &[u8], written: usize) -> (usize, usize) {
    let (mut end, mut frames) = (0, 0);
    while end < written {
        end += frame_length(&run[end..]).max(1);
        frames += 1;
    }
    (end.min(run.len()), frames)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunk(bytes: Vec<u8>) -> Chunk {
        let mut tally = Tally::default();
        tally.add(1, 2);
        Chunk { bytes: Bytes::from(bytes), tally, before: None }
    }

    proptest! {
        /// Whatever the kernel takes at a time, the bytes come out whole and in order and the counts balance.
        #[test]
        fn bytes_in_order_and_counts_exact(sizes in proptest::collection::vec(1usize..50, 1..20), takes in proptest::collection::vec(0usize..40, 1..100)) {
            let (mut outbox, mut expected, mut out, mut finished) = (Outbox::default(), Vec::new(), Vec::new(), 0);
            for (i, size) in sizes.iter().enumerate() {
                let bytes = vec![i as u8; *size];
                expected.extend_from_slice(&bytes);
                outbox.push(chunk(bytes));
            }
            for take in takes {
                let Some(front) = outbox.front() else { break };
                let take = take.min(front.len());
                out.extend_from_slice(&front[..take]);
                finished += outbox.advance(take).map_or(0, |tally| tally.total());
                prop_assert_eq!(outbox.size_bytes(), expected.len() - out.len());
                prop_assert_eq!(outbox.tally().total() + finished, 2 * sizes.len() as u64);
            }
            prop_assert_eq!(&out[..], &expected[..out.len()]);
            let begun = outbox.begun;
            let (waiting, rest) = (outbox.tally().total(), outbox.front().map_or(0, <[u8]>::len));
            let dropped = outbox.abandon().tally.total();
            prop_assert_eq!(dropped + outbox.tally().total(), waiting);
            prop_assert_eq!(outbox.size_bytes(), if begun { rest } else { 0 });
        }

        #[test]
        fn a_cut_run_is_cut_at_a_frame(lengths in proptest::collection::vec(0usize..70_000, 1..6), part in 0.0f64..1.0) {
            let frames: Vec<Bytes> = lengths.iter().map(|length| crate::wire::frame(crate::wire::Opcode::Text, &vec![b'x'; *length])).collect();
            let run = frames.concat();
            let written = (run.len() as f64 * part) as usize;
            let (end, count) = frame_end(&run, written);
            prop_assert_eq!(end, frames[..count].iter().map(Bytes::len).sum::<usize>());
            prop_assert!(end >= written && (count == 0 || end - frames[count - 1].len() < written));
        }
    }
}

//! What a channel said lately: a ring bounded by count, bytes and age.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Mark, Position, Publication};

/// How much of each channel is kept for clients that come back.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct HistoryOptions {
    /// Publications a channel. 0: none is kept, and every interruption is a gap.
    pub messages: usize,
    /// Bytes a channel.
    pub bytes: usize,
    /// Seconds.
    pub age_s: u64,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        Self { messages: 4_096, bytes: 4 << 20, age_s: 600 }
    }
}

/// Publications of one channel in the order in which this node delivered them, both numberings side by side.
pub(super) struct History {
    options: HistoryOptions,
    /// Each with what it was counted as when it came.
    ring: VecDeque<(Arc<Publication>, usize)>,
    size_bytes: usize,
}

impl History {
    pub fn new(options: HistoryOptions) -> Self {
        Self { options, ring: VecDeque::new(), size_bytes: 0 }
    }

    /// Adds the newest; answers what had to go for it.
    pub fn push(&mut self, publication: Arc<Publication>) -> impl Iterator<Item = Arc<Publication>> + '_ {
        let size = publication.size_bytes();
        self.size_bytes += size;
        let oldest_allowed = publication.accepted_at.checked_sub(Duration::from_secs(self.options.age_s));
        self.ring.push_back((publication, size));
        std::iter::from_fn(move || self.trim(oldest_allowed))
    }

    fn trim(&mut self, oldest_allowed: Option<Instant>) -> Option<Arc<Publication>> {
        let (oldest, _) = self.ring.front()?;
        let aged = oldest_allowed.is_some_and(|allowed| oldest.accepted_at < allowed);
        if !aged && self.ring.len() <= self.options.messages && self.size_bytes <= self.options.bytes {
            return None;
        }
        let (gone, size) = self.ring.pop_front()?;
        self.size_bytes -= size;
        Some(gone)
    }

    pub fn clear(&mut self) {
        self.ring.clear();
        self.size_bytes = 0;
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Publication>> + ExactSizeIterator + Clone {
        self.ring.iter().map(|(publication, _)| publication)
    }

    pub fn find(&self, position: &Position) -> Option<&Arc<Publication>> {
        self.iter().find(|publication| publication.position.as_ref() == Some(position))
    }

    /// Everything after what a client has seen, or `None` when some of it is no longer here. `last` is where the channel
    /// stands now; of a numbering that the client does not name it gets what came after the other one.
    pub fn since(&self, seen: &Seen, last: &Mark) -> Option<Vec<Arc<Publication>>> {
        let (mut from, mut named) = (0, false);
        for (seen, last) in [(seen.shared, &last.shared), (seen.local, &last.local)] {
            let Some(seen) = seen else { continue };
            let mut of_line = self.iter().enumerate().filter_map(|(index, publication)| {
                let position = publication.position.as_ref()?;
                (position.epoch == last.epoch).then_some((index, position.offset))
            });
            let oldest = of_line.clone().next().map_or(last.offset + 1, |(_, offset)| offset);
            if seen > last.offset || seen + 1 < oldest {
                return None;
            }
            let known = of_line.rfind(|(_, offset)| *offset <= seen).map_or(0, |(index, _)| index + 1);
            (from, named) = (if named { from.min(known) } else { known }, true);
        }
        let unseen = |publication: &&Arc<Publication>| {
            publication.position.as_ref().is_some_and(|position| {
                let (seen, epoch) = match position.is_local() {
                    true => (seen.local, &last.local.epoch),
                    false => (seen.shared, &last.shared.epoch),
                };
                position.epoch == *epoch && seen.is_none_or(|seen| position.offset > seen)
            })
        };
        Some(self.iter().skip(from).filter(unseen).cloned().collect())
    }
}

/// What a client has seen of one channel, in each numbering that it names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub shared: Option<u64>,
    pub local: Option<u64>,
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::{Channel, Kind};
    use super::*;

    fn publication(position: &Position, length: usize) -> Arc<Publication> {
        let data = Bytes::from(vec![b'1'; length]);
        let channel = Channel::new("c").unwrap();
        Arc::new(Publication::new(channel, Kind::Data, data, Vec::new(), Some(position.clone())))
    }

    proptest! {
        /// Whatever was published: a resumption is exactly what was missed, in order, or is refused because something
        /// is gone; and the ring keeps its bounds.
        #[test]
        fn a_resumption_is_exact_or_refused(
            lines in proptest::collection::vec(any::<bool>(), 0..40),
            most in 0usize..20,
            shared in proptest::option::of(0u64..40),
            local in proptest::option::of(0u64..40),
        ) {
            prop_assume!(shared.is_some() || local.is_some());
            let options = HistoryOptions { messages: most, ..HistoryOptions::default() };
            let mut history = History::new(options);
            let mut mark = Mark { shared: Position::start(), local: Position::local_start() };
            let mut all = Vec::new();
            for is_local in lines {
                let position = if is_local { mark.local.next() } else { mark.shared.next() };
                mark.reach(&position);
                all.push(position.clone());
                let _ = history.push(publication(&position, 3)).count();
                prop_assert!(history.ring.len() <= most);
            }
            let seen = Seen { shared, local };
            let missed = |position: &&Position| {
                let seen = if position.is_local() { local } else { shared };
                seen.is_none_or(|seen| position.offset > seen)
            };
            let kept = all.len().saturating_sub(most);
            let named_and_gone = all[..kept].iter().filter(missed).any(|position| if position.is_local() { local.is_some() } else { shared.is_some() });
            let ahead = shared.is_some_and(|seen| seen > mark.shared.offset) || local.is_some_and(|seen| seen > mark.local.offset);
            match history.since(&seen, &mark) {
                None => prop_assert!(named_and_gone || ahead),
                Some(found) => {
                    prop_assert!(!named_and_gone && !ahead);
                    let found: Vec<Position> = found.iter().filter_map(|p| p.position.clone()).collect();
                    if shared.is_some() && local.is_some() {
                        prop_assert_eq!(found, all.iter().filter(missed).cloned().collect::<Vec<_>>());
                    } else {
                        // The unnamed numbering begins where the named one was seen.
                        let named: Vec<Position> = all.iter().filter(missed).filter(|p| p.is_local() == local.is_some()).cloned().collect();
                        let of_named: Vec<Position> = found.iter().filter(|p| p.is_local() == local.is_some()).cloned().collect();
                        prop_assert_eq!(of_named, named);
                    }
                }
            }
        }
    }

    #[test]
    fn bytes_are_bounded_too() {
        let one = publication(&Position::start().next(), 100).size_bytes();
        let mut history = History::new(HistoryOptions { bytes: 3 * one, ..HistoryOptions::default() });
        let mut position = Position::start();
        for _ in 0..10 {
            position = position.next();
            let _ = history.push(publication(&position, 100)).count();
        }
        assert_eq!((history.ring.len(), history.size_bytes), (3, 3 * one));
    }
}

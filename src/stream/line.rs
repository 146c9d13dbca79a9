//! One channel as this node has delivered it: where it stands, what it said lately, and whether it is stale.

use std::sync::Arc;
use std::time::Instant;

use super::history::{History, HistoryOptions, Seen};
use super::{MapNote, Mark, Position, Publication};

pub(super) struct Line {
    /// `None` until the broker has said where the channel stands.
    mark: Option<Mark>,
    history: History,
    pub stale_since: Option<Instant>,
}

/// How a client that comes back can be served.
pub(super) enum Coverage {
    /// What it missed, in order.
    Whole(Vec<Arc<Publication>>),
    /// The shared numbering has to be read from the broker's history, from this offset on.
    Read(u64),
    /// It has seen more than this node: what it names is still on its way here, or was lost behind us.
    Ahead,
    /// Something is gone.
    Missing,
}

impl Line {
    pub fn new(history: HistoryOptions) -> Self {
        Self { mark: None, history: History::new(history), stale_since: None }
    }

    pub fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    /// The subscription holds from `mark` on. Said again of the same numbering, it changes nothing.
    pub fn begin(&mut self, mark: Mark) {
        let same = |own: &Mark| own.shared.epoch == mark.shared.epoch && own.local.epoch == mark.local.epoch;
        if !self.mark.as_ref().is_some_and(same) {
            self.restart(mark);
        }
    }

    /// What was before cannot be resumed from any more.
    pub fn restart(&mut self, mark: Mark) {
        self.history.clear();
        self.mark = Some(mark);
    }

    pub fn end(&mut self) {
        self.history.clear();
        self.mark = None;
        self.stale_since = None;
    }

    pub fn push(&mut self, publication: Arc<Publication>) {
        if let (Some(mark), Some(position)) = (&mut self.mark, &publication.position) {
            mark.reach(position);
            self.history.push(publication).for_each(drop);
        }
    }

    /// What its subscribers have that a patch to this one can go by: the newest, or of a map the newest of the key.
    pub fn base_of(&self, publication: &Publication) -> Option<&Arc<Publication>> {
        let Some(note) = MapNote::of(&publication.tags) else { return self.history.iter().next_back() };
        if note.removed {
            return None;
        }
        let of_key = |known: &&Arc<Publication>| MapNote::of(&known.tags).is_some_and(|known| known.key == note.key);
        let newest = self.history.iter().rev().find(of_key)?;
        MapNote::of(&newest.tags).is_some_and(|newest| !newest.removed).then_some(newest)
    }

    pub fn find(&self, position: &Position) -> Option<&Arc<Publication>> {
        self.history.find(position)
    }

    /// What a client missed that has seen `since`. `read` is what the broker's history had after the offset that was
    /// asked for earlier.
    pub fn missed(&self, since: &[Position], read: Option<&[Arc<Publication>]>) -> Coverage {
        let Some(mark) = &self.mark else { return Coverage::Missing };
        let mut seen = Seen::default();
        for position in since {
            let line = match position.is_local() {
                true => (&mut seen.local, &mark.local),
                false => (&mut seen.shared, &mark.shared),
            };
            if position.epoch != line.1.epoch {
                return Coverage::Missing;
            }
            if position.offset > line.1.offset {
                return Coverage::Ahead;
            }
            *line.0 = Some(position.offset);
        }
        if seen == Seen::default() {
            return Coverage::Missing;
        }
        if let Some(missed) = self.history.since(&seen, mark) {
            return Coverage::Whole(missed);
        }
        match (seen.shared, read) {
            (Some(shared), None) => Coverage::Read(shared),
            (Some(shared), Some(read)) => self.joined(shared, seen, mark, read),
            (None, _) => Coverage::Missing,
        }
    }

    /// What was read from the broker, up to where this node has delivered, and behind it what only this node has.
    fn joined(&self, shared: u64, seen: Seen, mark: &Mark, read: &[Arc<Publication>]) -> Coverage {
        let mut missed: Vec<_> = read.iter().filter(|read| read.offset() <= mark.shared.offset).cloned().collect();
        let reached = missed.last().map_or(shared, |last| last.offset());
        let whole = missed.iter().zip(shared + 1..).all(|(read, offset)| read.offset() == offset);
        let rest = self.history.since(&Seen { shared: Some(reached), local: seen.local }, mark);
        match rest {
            Some(rest) if whole => {
                missed.extend(rest);
                Coverage::Whole(missed)
            }
            _ => Coverage::Missing,
        }
    }
}

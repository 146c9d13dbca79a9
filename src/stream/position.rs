//! Where something stands in its channel, and how clients write it: `<epoch>:<offset>`.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// Where a publication stands: its number in the channel, and the epoch within which numbers can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Starts at 1 and grows by 1 per publication of the channel.
    pub offset: u64,
    /// Changes when the channel's numbering had to start anew. No two channels share one.
    pub epoch: Arc<str>,
}

/// What begins the epochs that one node alone knows: it numbers by itself what plain publishers send.
const LOCAL: char = '~';
const LETTERS: usize = 8;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("is <epoch>:<offset>, several by comma")]
pub struct NotAPosition;

impl Position {
    /// Before everything, in a numbering that all nodes share.
    pub fn start() -> Self {
        Self { offset: 0, epoch: new_epoch().into() }
    }

    /// Before everything, in a numbering of this node's own.
    pub fn local_start() -> Self {
        Self { offset: 0, epoch: format!("{LOCAL}{}", new_epoch()).into() }
    }

    /// Whether only the node that made it can resume from it.
    pub fn is_local(&self) -> bool {
        self.epoch.starts_with(LOCAL)
    }

    pub fn next(&self) -> Self {
        Self { offset: self.offset + 1, epoch: self.epoch.clone() }
    }

    pub fn parse(text: &str) -> Result<Self, NotAPosition> {
        let (epoch, offset) = text.rsplit_once(':').ok_or(NotAPosition)?;
        let offset = offset.parse().map_err(|_| NotAPosition)?;
        if epoch.is_empty() || epoch.len() > 64 || !epoch.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'~') {
            return Err(NotAPosition);
        }
        Ok(Self { offset, epoch: epoch.into() })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Random letters: nothing in them has to be escaped anywhere.
pub(super) fn new_epoch() -> String {
    (0..LETTERS).map(|_| fastrand::alphabetic()).collect()
}

/// How far a channel has come: in the numbering that all nodes share, and in this node's own for plain publishers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub shared: Position,
    pub local: Position,
}

impl Mark {
    /// Of a channel of which the broker has said nothing.
    pub fn unknown() -> Self {
        let nowhere = Position { offset: 0, epoch: "".into() };
        Self { shared: nowhere.clone(), local: nowhere }
    }

    /// What the mark is once `position` has been reached.
    pub fn reach(&mut self, position: &Position) {
        let line = if position.is_local() { &mut self.local } else { &mut self.shared };
        *line = position.clone();
    }

    /// Takes it back to `position`, if it is further in the same numbering.
    pub fn hold_back(&mut self, position: &Position) {
        let line = if position.is_local() { &mut self.local } else { &mut self.shared };
        if line.epoch == position.epoch && line.offset > position.offset {
            line.offset = position.offset;
        }
    }

    /// The position of the two that stands in `epoch`.
    pub fn in_epoch(&self, epoch: &str) -> Option<&Position> {
        [&self.shared, &self.local].into_iter().find(|position| &*position.epoch == epoch)
    }
}

/// What a client gives back to resume: by comma, without this node's own numbering while nothing stands in it.
pub fn resume_token<'a>(marks: impl IntoIterator<Item = &'a Mark>) -> String {
    let all = marks.into_iter().flat_map(|mark| [&mark.shared, &mark.local]);
    let told = all.filter(|position| !position.epoch.is_empty() && (!position.is_local() || position.offset > 0));
    told.map(Position::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written() {
        for position in [Position::start(), Position::local_start().next()] {
            assert_eq!(Position::parse(&position.to_string()), Ok(position));
        }
        for text in ["", "7", ":7", "abc", "abc:", "abc:-1", "a b:1", "abc:18446744073709551616"] {
            assert_eq!(Position::parse(text), Err(NotAPosition), "{text}");
        }
        assert!(Position::local_start().is_local() && !Position::start().is_local());
    }
}

//! Channel names.

use std::fmt;
use std::sync::Arc;

/// A channel's name, as it is in Redis: printable ASCII without spaces, at most 255 bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(Arc<str>);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChannelError {
    #[error("a channel name cannot be empty")]
    Empty,
    #[error("a channel name has at most 255 bytes")]
    TooLong,
    #[error("a channel name is printable ASCII without spaces")]
    NotPrintable,
}

impl Channel {
    pub const MAX_BYTES: usize = 255;

    pub fn new(name: &str) -> Result<Self, ChannelError> {
        match name {
            "" => Err(ChannelError::Empty),
            name if name.len() > Self::MAX_BYTES => Err(ChannelError::TooLong),
            name if !name.bytes().all(|b| b.is_ascii_graphic()) => Err(ChannelError::NotPrintable),
            name => Ok(Self(name.into())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

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

/// What begins the names of channels that tell who comes and leaves.
const PRESENCE: &str = "presence:";

/// Where nodes tell one another of orders, and that they are there.
pub const CONTROL: &str = "system:control";

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

    /// The channel on which is told who comes to this one and leaves it; `None` for such a channel itself.
    pub fn presence(&self) -> Option<Self> {
        if self.is_presence() { None } else { Self::new(&format!("{PRESENCE}{self}")).ok() }
    }

    /// Whether nodes tell one another there what is nobody else's business.
    pub fn is_control(&self) -> bool {
        self.as_str() == CONTROL
    }

    pub fn is_presence(&self) -> bool {
        self.0.starts_with(PRESENCE)
    }

    /// Of such a channel: the name of the one that it tells about.
    pub fn watched(&self) -> Option<&str> {
        self.0.strip_prefix(PRESENCE)
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

//! The seam: a store of points. The embedded one and InfluxDB stand behind it.

use std::time::Duration;

use async_trait::async_trait;

use super::{Point, Range, Step};

/// Keeps points and answers what was. Several tasks use one store at once.
#[async_trait]
pub trait Series: Send + Sync + 'static {
    /// `embedded` or `influxdb`.
    fn name(&self) -> &'static str;

    /// Writes checked points; returns when they are durable, or at least with an answer within the time that the
    /// options give. Answers how many the store took; it has counted the others as dropped. After an error any part
    /// of them may have been written. To write them again does no harm.
    async fn write(&self, points: &[Point]) -> Result<u64, WriteError>;

    /// The steps of `range` in which something was written, in order of time.
    async fn range(&self, range: &Range) -> Result<Vec<Step>, ReadError>;

    /// Whether it answers; the text is fit for an open endpoint.
    async fn ping(&self) -> Result<(), String>;
}

/// Why points were not written, by what the batcher does about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The same may succeed later: not reachable, overloaded, starting, no answer in time.
    #[error("{reason}: {detail}")]
    Later {
        reason: &'static str,
        /// What the store asked for.
        after: Option<Duration>,
        detail: String,
    },
    /// Something of them is wrong, and nothing was written for it: halves are tried, down to the culprit.
    #[error("refused: {0}")]
    Refused(String),
    /// Too much at once: halves are tried.
    #[error("too large: {0}")]
    TooLarge(String),
    /// All but so many were written. Those are lost: the store would refuse them again.
    #[error("{dropped} points were refused: {detail}")]
    Partial { dropped: u64, detail: String },
}

/// Why a question was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("the store of time series does not answer: {0}")]
    Unavailable(String),
    #[error("the store of time series refused the question: {0}")]
    Refused(String),
}

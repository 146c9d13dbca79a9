//! Request bodies with a bound in bytes and a bound in patience.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;

use super::Problem;

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body is larger than {0} bytes, the limit of this server")]
    TooLarge(usize),
    #[error("the body did not go on for {} s", .0.as_secs())]
    Stalled(Duration),
}

impl BodyError {
    /// Finds the reason in the chain of causes of whatever an extractor made of it.
    pub fn find(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(found) = error.downcast_ref() {
                return Some(*found);
            }
            cause = error.source();
        }
        None
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(_) => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", error.to_string()),
            BodyError::Stalled(_) => Problem::new(StatusCode::REQUEST_TIMEOUT, "body-stalled", error.to_string()),
        }
    }
}

/// Passes a body on up to `max_bytes`. What comes after that is read and thrown away for a while before the error is
/// given: a client that is still sending when the connection closes sees a reset instead of the answer that says why.
pub struct BoundedBody {
    inner: Body,
    max_bytes: usize,
    seen_bytes: usize,
    /// Longest wait between two parts of the body.
    patience: Duration,
    /// Runs only while a part is waited for; most bodies are here together with their header.
    timer: Option<Pin<Box<Sleep>>>,
    failed: bool,
}

/// How much of an oversized body is thrown away, as a multiple of what is allowed.
const DISCARD_FACTOR: usize = 3;

impl BoundedBody {
    pub fn new(inner: Body, max_bytes: usize, patience: Duration) -> Self {
        Self { inner, max_bytes, seen_bytes: 0, patience, timer: None, failed: false }
    }

    /// Reads what an oversized body still sends, within the bounds of this type, to get an answer across.
    pub async fn discard(mut self) {
        while let Some(Ok(_)) = std::future::poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {}
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.failed = true;
        self.timer = None;
        Poll::Ready(Some(Err(axum::Error::new(error))))
    }
}

impl HttpBody for BoundedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.failed {
            return Poll::Ready(None);
        }
        loop {
            let frame = match Pin::new(&mut this.inner).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    let patience = this.patience;
                    let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
                    ready!(timer.as_mut().poll(cx));
                    return this.fail(BodyError::Stalled(patience));
                }
            };
            this.timer = None;
            let over = this.seen_bytes > this.max_bytes;
            match frame {
                Some(Ok(frame)) => {
                    this.seen_bytes += frame.data_ref().map_or(0, Bytes::len);
                    if this.seen_bytes <= this.max_bytes {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                    if this.seen_bytes > this.max_bytes.saturating_mul(DISCARD_FACTOR) {
                        return this.fail(BodyError::TooLarge(this.max_bytes));
                    }
                }
                _ if over => return this.fail(BodyError::TooLarge(this.max_bytes)),
                end => return Poll::Ready(end),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failed || (self.seen_bytes <= self.max_bytes && self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

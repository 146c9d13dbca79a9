//! The client that only listens. It may say `{"type":"ping"}` and is answered; anything else it sends is let pass.

use bytes::Bytes;
use serde::Deserialize;

use super::limits::Held;
use crate::stream::Peer;
use crate::wire::{Close, Dialect, Incoming};

pub(super) struct Plain {
    pub dialect: Dialect,
    /// Its place in the limits, given back when the connection ends.
    pub _held: Held,
}

#[derive(Deserialize)]
struct Said {
    r#type: String,
}

impl Peer for Plain {
    fn message(&mut self, message: Incoming<'_>, replies: &mut Vec<Bytes>) -> Result<(), Close> {
        if let Incoming::Text(text) = message
            && serde_json::from_str::<Said>(text).is_ok_and(|said| said.r#type == "ping")
        {
            replies.push(self.dialect.encode(br#"{"type":"pong"}"#));
        }
        Ok(())
    }
}

//! The client that only listens. It may ping and refresh its token; anything else that it sends is let pass.

use std::time::Instant;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::limits::{Held, Rate};
use super::right::Right;
use crate::stream::Peer;
use crate::wire::{Close, Dialect, Incoming};

pub(super) struct Plain {
    dialect: Dialect,
    /// What lets it stay, where that can end.
    right: Option<Box<Right>>,
    rate: Rate,
    /// Its place in the limits, given back when the connection ends.
    held: Held,
}

/// What a client may say.
#[derive(Deserialize)]
pub(super) struct Said {
    pub r#type: String,
    pub token: Option<String>,
}

impl Plain {
    pub fn new(dialect: Dialect, right: Option<Box<Right>>, held: Held) -> Self {
        Self { dialect, right, rate: Rate::default(), held }
    }

    /// `{"type":"refresh","token":…}`. `auth` is the same to who is known already: a client need not know which it is.
    fn refresh(&mut self, said: &Said) -> Bytes {
        let outcome = match (&mut self.right, &said.token) {
            (Some(right), Some(token)) => right.refresh(token),
            (Some(_), None) => Err("missing"),
            // Known by a key, or not asked: nothing ends.
            (None, _) => Ok(()),
        };
        let ends_at_ms = self.right.as_ref().and_then(|right| right.ends_at_ms);
        let answer = match outcome {
            Ok(()) => json!({ "type": said.r#type, "ok": true, "ends_at_ms": ends_at_ms }),
            Err(reason) => json!({ "type": said.r#type, "ok": false, "reason": reason, "ends_at_ms": ends_at_ms }),
        };
        self.dialect.encode(answer.to_string().as_bytes())
    }
}

impl Peer for Plain {
    fn message(&mut self, message: Incoming<'_>, replies: &mut Vec<Bytes>) -> Result<(), Close> {
        if !self.rate.take(self.held.options().messages_per_second, Instant::now()) {
            return Err(Close::TooMany);
        }
        let Incoming::Text(text) = message else { return Ok(()) };
        let Ok(said) = serde_json::from_str::<Said>(text) else { return Ok(()) };
        match &*said.r#type {
            "ping" => replies.push(self.dialect.encode(br#"{"type":"pong"}"#)),
            "refresh" | "auth" => replies.push(self.refresh(&said)),
            _ => {}
        }
        Ok(())
    }

    fn ends_at_ms(&self) -> Option<i64> {
        self.right.as_ref()?.ends_at_ms
    }

    fn may_stay(&self) -> Result<(), Close> {
        self.right.as_ref().map_or(Ok(()), |right| right.holds())
    }
}

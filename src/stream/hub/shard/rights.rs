//! Who may stay, and until when. A right that ends by itself costs an entry here, and only for who has such a one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Shard;
use super::life::Farewell;
use crate::clock::Clock;
use crate::stream::hub::conn::State;

/// When rights end, the next first: milliseconds since 1970, key and ticket of the connection. What a refresh puts off
/// keeps its entry until the old time and is noted anew then, so that refreshing does not fill this.
#[derive(Default)]
pub(super) struct Ends(BinaryHeap<Reverse<(i64, u32, u64)>>);

impl Shard {
    /// Notes when a connection's right ends, where that is sooner than what is noted.
    pub(super) fn note_end(&mut self, key: u32) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        let Some(ends_at_ms) = conn.peer.ends_at_ms() else { return };
        if ends_at_ms < conn.ends_noted_ms {
            conn.ends_noted_ms = ends_at_ms;
            self.ends.0.push(Reverse((ends_at_ms, key, conn.ticket)));
        }
    }

    /// Once a second: those whose time is up.
    pub(super) fn end_rights(&mut self) {
        if self.ends.0.is_empty() {
            return;
        }
        let now_ms = Clock::system().now_ms();
        while let Some(Reverse((at_ms, key, ticket))) = self.ends.0.peek().copied()
            && at_ms <= now_ms
        {
            self.ends.0.pop();
            let Some(conn) = self.conns.get_mut(key as usize) else { continue };
            if conn.ticket != ticket || conn.ends_noted_ms != at_ms {
                continue;
            }
            conn.ends_noted_ms = i64::MAX;
            // Put off meanwhile, or over.
            if conn.peer.ends_at_ms().is_none_or(|ends_at_ms| ends_at_ms > now_ms) {
                self.note_end(key);
            } else {
                self.examine(key);
            }
        }
    }

    pub(super) fn examine_all(&mut self) {
        let keys: Vec<u32> = self.conns.iter().map(|(key, _)| key as u32).collect();
        keys.into_iter().for_each(|key| self.examine(key));
    }

    /// Closes a connection that may not stay; what waits for it is not for it any more.
    pub(super) fn examine(&mut self, key: u32) {
        let Some(conn) = self.conns.get(key as usize) else { return };
        if conn.state != State::Closing
            && let Err(close) = conn.peer.may_stay()
        {
            self.begin_close(key, Farewell::at_once(close));
        }
    }
}

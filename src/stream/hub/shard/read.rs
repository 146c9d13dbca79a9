//! What clients send: frames in, replies out, all through the shard's one buffer.

use std::io::{ErrorKind, Read};

use super::life::Farewell;
use super::{READS_A_TURN, Shard};
use crate::stream::hub::conn::State;
use crate::wire::{Close, Incoming, Opcode, Reading, frame};

impl Shard {
    /// `ended`: its end may have come behind what there is to read, and will not be announced again.
    pub(super) fn readable(&mut self, key: u32, ended: bool) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut reads = 0;
        while let Some(socket) = self.conns.get_mut(key as usize).and_then(|conn| conn.socket.as_mut()) {
            match socket.read(&mut scratch) {
                Ok(0) => {
                    self.remove(key, "closed without a close frame");
                    break;
                }
                Ok(length) => {
                    self.received(key, &mut scratch[..length]);
                    if length < scratch.len() && !ended {
                        break;
                    }
                    reads += 1;
                    if reads == READS_A_TURN {
                        self.unread.push(key);
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.remove(key, "connection lost");
                    break;
                }
            }
        }
        self.scratch = scratch;
    }

    pub(super) fn received(&mut self, key: u32, input: &mut [u8]) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        conn.awaiting_pong = false;
        if conn.deaf {
            return;
        }
        let open = conn.state == State::Open;
        let (mut replies, mut ended, mut refused, mut count) = (Vec::new(), None, None, 0);
        let peer = &mut conn.peer;
        let reading = Reading {
            max_message_bytes: self.options.max_message_bytes,
            deflated: conn.place.audience.spec.form.deflate.is_some(),
        };
        let read = conn.decoder.read(input, reading, &mut |message| match message {
            Incoming::Ping(payload) => replies.push(frame(Opcode::Pong, payload)),
            Incoming::Pong => {}
            Incoming::Close(code) => ended = Some(code),
            message => {
                count += 1;
                if open
                    && refused.is_none()
                    && let Err(close) = peer.message(message, &mut replies)
                {
                    refused = Some(close);
                }
            }
        });
        conn.deaf = read.is_err();
        if count > 0 {
            self.note_end(key);
        }
        self.metrics.messages_in.inc_by(count);
        for reply in replies {
            self.send(key, &reply);
        }
        match (read.err().or(refused), ended) {
            (Some(close), _) => self.begin_close(key, Farewell::after_what_waits(close)),
            (None, Some(_)) => self.closed_by_peer(key),
            (None, None) => {}
        }
    }

    /// The peer's close frame answers ours, or is answered by the same; then the socket has served.
    pub(super) fn closed_by_peer(&mut self, key: u32) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        if conn.state != State::Closing {
            self.begin_close(key, Farewell::after_what_waits(Close::Normal));
        }
        if self.conns.contains(key as usize) {
            self.remove(key, "closed");
        }
    }
}

//! The socket of a client that is in the past: written with back-pressure, read so that its pings and its end are seen.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::stream::{HubOptions, Peer};
use crate::wire::{Close, Decoder, Incoming, Opcode, Reading, close_frame, frame};

/// How long the last word may take.
const FAREWELL: Duration = Duration::from_secs(3);
const READ_BYTES: usize = 4 << 10;

/// The client is gone, or has been told to go.
#[derive(Debug)]
pub(super) struct Ended;

pub(super) struct Socket {
    stream: TcpStream,
    decoder: Decoder,
    peer: Box<dyn Peer>,
    reading: Reading,
    ping_every: Duration,
    next_ping: Instant,
    /// A client that takes nothing and says nothing for so long is gone.
    patience: Duration,
    heard: Instant,
    stop: CancellationToken,
}

impl Socket {
    pub fn new(
        stream: TcpStream,
        peer: Box<dyn Peer>,
        options: &HubOptions,
        reading: Reading,
        stop: CancellationToken,
    ) -> Self {
        let ping_every = Duration::from_secs(options.ping_interval_s.max(2));
        let (now, patience) = (Instant::now(), ping_every + Duration::from_secs(options.pong_timeout_s));
        let next_ping = now + ping_every;
        Self { stream, decoder: Decoder::default(), peer, reading, ping_every, next_ping, patience, heard: now, stop }
    }

    /// The stream, the peer, and what was read and not understood yet.
    pub fn into_parts(self) -> (TcpStream, Box<dyn Peer>, Vec<u8>) {
        (self.stream, self.peer, self.decoder.into_bytes())
    }

    pub fn lend_peer(&mut self, stand_in: Box<dyn Peer>) -> Box<dyn Peer> {
        std::mem::replace(&mut self.peer, stand_in)
    }

    /// Reads what comes and pings until `until`.
    pub async fn wait(&mut self, until: Instant) -> Result<(), Ended> {
        while Instant::now() < until {
            tokio::select! {
                () = sleep_until(until.min(self.next_ping)) => {}
                readable = self.stream.readable() => {
                    readable.map_err(|_| Ended)?;
                    self.read().await?;
                }
                () = self.stop.cancelled() => return Err(self.close(Close::Restart).await),
            }
            self.keep_alive().await?;
        }
        Ok(())
    }

    /// Writes all of it, however slowly the client takes it; reads meanwhile.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        let mut rest = bytes;
        let mut moved = Instant::now();
        while !rest.is_empty() {
            match self.stream.try_write(rest) {
                Ok(0) => return Err(Ended),
                Ok(written) => {
                    rest = &rest[written..];
                    moved = Instant::now();
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Err(Ended),
            }
            tokio::select! {
                writable = self.stream.writable() => writable.map_err(|_| Ended)?,
                // Its end may come while it takes nothing. No answer to a ping now: a frame is half written.
                () = sleep_until(moved + self.patience) => return Err(Ended),
                () = self.stop.cancelled() => return Err(Ended),
            }
        }
        Ok(())
    }

    /// What the client has said by now.
    pub async fn hear(&mut self, first: &mut [u8]) -> Result<(), Ended> {
        let (mut replies, mut closed, mut refused) = (Vec::new(), false, None);
        let peer = &mut self.peer;
        let read = self.decoder.read(first, self.reading, &mut |message| match message {
            Incoming::Ping(payload) => replies.push(frame(Opcode::Pong, payload)),
            Incoming::Pong => {}
            Incoming::Close(_) => closed = true,
            message => refused = refused.or(peer.message(message, &mut replies).err()),
        });
        self.heard = Instant::now();
        for reply in replies {
            self.write(&reply).await?;
        }
        match (read.err().or(refused), closed) {
            (Some(close), _) => Err(self.close(close).await),
            (None, true) => Err(self.close(Close::Normal).await),
            (None, false) => Ok(()),
        }
    }

    /// Ends it when its credential has ended, or has been taken back.
    pub async fn may_stay(&mut self) -> Result<(), Ended> {
        match self.peer.may_stay() {
            Ok(()) => Ok(()),
            Err(close) => Err(self.close(close).await),
        }
    }

    /// Tells the client why, and ends it.
    pub async fn close(&mut self, close: Close) -> Ended {
        let frame: Bytes = close_frame(close, "");
        let mut rest = &frame[..];
        let deadline = Instant::now() + FAREWELL;
        while !rest.is_empty() && Instant::now() < deadline {
            match self.stream.try_write(rest) {
                Ok(0) => break,
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let _ = tokio::time::timeout_at(deadline, self.stream.writable()).await;
                }
                Err(_) => break,
            }
        }
        // What it still sends is read: unread input would reset the connection and take the close frame with it.
        let mut scratch = [0; READ_BYTES];
        while close != Close::Normal && tokio::time::timeout_at(deadline, self.stream.readable()).await.is_ok() {
            match self.stream.try_read(&mut scratch) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        Ended
    }

    async fn read(&mut self) -> Result<(), Ended> {
        let mut scratch = [0; READ_BYTES];
        match self.stream.try_read(&mut scratch) {
            Ok(0) => Err(Ended),
            // Boxed: hearing may write, and that is the larger future.
            Ok(length) => Box::pin(self.hear(&mut scratch[..length])).await,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(_) => Err(Ended),
        }
    }

    async fn keep_alive(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        if now < self.next_ping {
            return Ok(());
        }
        if now > self.heard + self.patience + self.ping_every {
            return Err(self.close(Close::NoPong).await);
        }
        self.next_ping = now + self.ping_every;
        self.write(&frame(Opcode::Ping, b"")).await
    }
}

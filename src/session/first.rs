//! A token as the first message, from clients that can set neither header nor subprotocol and keep it out of URLs. Until
//! it has come the socket is read here, not by a shard: nobody has a place who is not known.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::admit;
use super::handshake::Wishes;
use super::limits::Held;
use super::plain::Said;
use super::upgrade::Sessions;
use crate::auth::{AuthError, Credentials};
use crate::stream::FeedSpec;
use crate::wire::{Close, Decoder, Deflate, Dialect, Incoming, Opcode, Reading, close_frame, frame, whole_frame};

/// More than any token needs.
const MOST_BYTES: usize = 32 << 10;
/// How long a client that is turned away may take to read why.
const LAST_WORD: Duration = Duration::from_secs(2);

/// One client whose token is still to come.
pub(super) struct Newcomer {
    pub feed: &'static FeedSpec,
    pub sessions: Sessions,
    pub wishes: Wishes,
    pub dialect: Dialect,
    pub deflate: Option<Deflate>,
    pub held: Held,
}

impl Newcomer {
    /// Lets the socket in when its first message does, and tells it why otherwise. `first` is what it has sent already.
    pub async fn receive(self, mut socket: TcpStream, mut first: Vec<u8>) {
        let within = Duration::from_millis(self.held.options().first_message_ms);
        let reading = Reading { max_message_bytes: MOST_BYTES, deflated: self.deflate.is_some() };
        let token = tokio::time::timeout(within, token(&mut socket, &mut first, reading))
            .await
            .unwrap_or(Err(Some(Close::Stale)));
        let (sessions, dialect) = (self.sessions.clone(), self.dialect);
        let close = match token {
            Ok(token) => match self.admit(&token).await {
                Ok((ticket, ends_at_ms)) => {
                    let answer = json!({
                        "type": "auth", "ok": true, "client": ticket.client(), "ends_at_ms": ends_at_ms,
                    });
                    let answer = dialect.encode(answer.to_string().as_bytes());
                    let written = tokio::time::timeout(LAST_WORD, socket.write_all(&answer)).await;
                    match (written, socket.into_std()) {
                        (Ok(Ok(())), Ok(socket)) => ticket.adopt(socket, first).await,
                        _ => tracing::debug!("a client was gone before it was let in"),
                    }
                    return;
                }
                Err(close) => close,
            },
            Err(Some(close)) => close,
            Err(None) => return,
        };
        sessions.count_rejected(close.reason());
        let farewell = async {
            socket.write_all(&close_frame(close, "")).await?;
            socket.shutdown().await?;
            // Closing a socket with unread input would take the close frame with it.
            while socket.read(&mut [0; 1024]).await? > 0 {}
            std::io::Result::Ok(())
        };
        let _ = tokio::time::timeout(LAST_WORD, farewell).await;
    }

    async fn admit(self, token: &str) -> Result<(crate::stream::Ticket, Option<i64>), Close> {
        let credentials = Credentials { query_token: Some(token), ..Credentials::default() };
        self.sessions.gate().prepare(&credentials).await;
        let identity = self.sessions.gate().identify(&credentials).map_err(|error| match error {
            AuthError::Expired => Close::Expired,
            AuthError::Revoked => Close::Revoked,
            _ => Close::BadToken,
        })?;
        admit::permit(self.feed, &self.sessions, &identity, &self.wishes).map_err(|_| Close::Forbidden)?;
        let who = (&identity, &self.wishes, self.dialect, self.deflate);
        let ticket = admit::place(self.feed, &self.sessions, who, self.held).await;
        // What is left is the broker's or the database's fault, and passes.
        Ok((ticket.map_err(|_| Close::Restart)?, identity.ends_at_ms()))
    }
}

/// Reads frame by frame until the token is there; what came behind it stays in `first`. `None`: the client has gone.
async fn token(socket: &mut TcpStream, first: &mut Vec<u8>, reading: Reading) -> Result<String, Option<Close>> {
    let mut decoder = Decoder::default();
    loop {
        while let Some(length) = whole_frame(first) {
            let mut one: Vec<u8> = first.drain(..length).collect();
            let (mut found, mut pongs, mut over) = (None, Vec::new(), false);
            decoder.read(&mut one, reading, &mut |message| match message {
                Incoming::Text(text) => {
                    let said = serde_json::from_str::<Said>(text).ok().filter(|said| said.r#type == "auth");
                    found = Some(said.and_then(|said| said.token).ok_or(Close::BadRequest));
                }
                Incoming::Binary(_) => found = Some(Err(Close::BadRequest)),
                Incoming::Ping(payload) => pongs.push(frame(Opcode::Pong, payload)),
                Incoming::Pong => {}
                Incoming::Close(_) => over = true,
            })?;
            for pong in pongs {
                socket.write_all(&pong).await.map_err(|_| None)?;
            }
            match found {
                _ if over => return Err(Some(Close::Normal)),
                Some(token) => return Ok(token?),
                None => {}
            }
        }
        if first.len() + decoder.held_bytes() > MOST_BYTES {
            return Err(Some(Close::TooBig));
        }
        if socket.read_buf(first).await.map_or(0, |length| length) == 0 {
            return Err(None);
        }
    }
}

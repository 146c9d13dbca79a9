//! WebSocket close codes: what each means and what the client is to do. docs/PROTOCOL.md is checked against this table.

use super::centrifuge::Disconnect;

/// Why the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Close {
    /// The client closed; this answers it, whatever code it gave.
    Normal,
    /// A frame breaks RFC 6455: no mask, a reserved bit, a bad opcode, a fragmented control frame.
    Protocol,
    /// A text message or a close reason is not UTF-8.
    InvalidUtf8,
    /// A message is larger than `stream.max_message_bytes`.
    TooBig,
    /// The server restarts; reconnect elsewhere or in a moment.
    Restart,
    /// The client read too slowly: what waited for it went over `stream.outbox_bytes`.
    Slow,
    /// No answer to a ping in time.
    NoPong,
    /// What the client was let in with has expired; come back with a fresh token.
    Expired,
    /// More messages a second than `limits.messages_per_second`.
    TooMany,
    /// The token of the first message is none that lets in.
    BadToken,
    /// The first message is not the token that was to be sent.
    BadRequest,
    /// No token came within `limits.first_message_ms`.
    Stale,
    /// What the client was let in with has been taken back.
    Revoked,
    /// Known, but not allowed this.
    Forbidden,
    /// A connection of the channel protocol; its codes are a table of their own.
    Channels(Disconnect),
}

impl Close {
    /// Those of the feeds' own endpoints.
    pub const ALL: [Close; 14] = [
        Close::Normal,
        Close::Protocol,
        Close::InvalidUtf8,
        Close::TooBig,
        Close::Restart,
        Close::Expired,
        Close::Slow,
        Close::NoPong,
        Close::TooMany,
        Close::BadToken,
        Close::BadRequest,
        Close::Stale,
        Close::Revoked,
        Close::Forbidden,
    ];

    pub fn code(self) -> u16 {
        match self {
            Close::Normal => 1000,
            Close::Protocol => 1002,
            Close::InvalidUtf8 => 1007,
            Close::TooBig => 1009,
            Close::Restart => 1012,
            Close::Slow => 3008,
            Close::NoPong => 3012,
            Close::Expired => 3005,
            Close::TooMany => 3013,
            Close::BadToken => 3500,
            Close::BadRequest => 3501,
            Close::Stale => 3502,
            Close::Revoked => 3503,
            Close::Forbidden => 3507,
            Close::Channels(why) => why.code(),
        }
    }

    /// The text in the close frame, and the `reason` label in metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Close::Normal => "closed by the client",
            Close::Protocol => "protocol error",
            Close::InvalidUtf8 => "invalid UTF-8",
            Close::TooBig => "message too big",
            Close::Restart => "service restart",
            Close::Slow => "slow",
            Close::NoPong => "no pong",
            Close::Expired => "connection expired",
            Close::TooMany => "too many requests",
            Close::BadToken => "invalid token",
            Close::BadRequest => "bad request",
            Close::Stale => "stale",
            Close::Revoked => "access revoked",
            Close::Forbidden => "permission denied",
            Close::Channels(why) => why.reason(),
        }
    }

    /// Whether a client should connect again. After the others it must first be mended.
    pub fn reconnect(self) -> bool {
        match self {
            Close::Channels(why) => Disconnect::reconnects(why.code()),
            plain => {
                matches!(plain, Close::Restart | Close::Expired | Close::Slow | Close::NoPong | Close::TooMany)
            }
        }
    }
}

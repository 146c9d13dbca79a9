//! What goes wrong in the Centrifuge protocol, by number: errors of commands, and why a connection or a subscription ends.

/// Why the server ends a connection; the number is the close code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Disconnect {
    Shutdown = 3001,
    Internal = 3004,
    Expired = 3005,
    SubscriptionExpired = 3006,
    Slow = 3008,
    InsufficientState = 3010,
    ForceReconnect = 3011,
    NoPong = 3012,
    TooManyRequests = 3013,
    InvalidToken = 3500,
    BadRequest = 3501,
    Stale = 3502,
    Force = 3503,
    ConnectionLimit = 3504,
    ChannelLimit = 3505,
    PermissionDenied = 3507,
    NotAvailable = 3508,
    TooManyErrors = 3509,
}

impl Disconnect {
    pub fn code(self) -> u16 {
        self as u16
    }

    /// The text in the close frame.
    pub fn reason(self) -> &'static str {
        match self {
            Disconnect::Shutdown => "shutdown",
            Disconnect::Internal => "internal server error",
            Disconnect::Expired => "connection expired",
            Disconnect::SubscriptionExpired => "subscription expired",
            Disconnect::Slow => "slow",
            Disconnect::InsufficientState => "insufficient state",
            Disconnect::ForceReconnect => "force reconnect",
            Disconnect::NoPong => "no pong",
            Disconnect::TooManyRequests => "too many requests",
            Disconnect::InvalidToken => "invalid token",
            Disconnect::BadRequest => "bad request",
            Disconnect::Stale => "stale",
            Disconnect::Force => "force disconnect",
            Disconnect::ConnectionLimit => "connection limit",
            Disconnect::ChannelLimit => "channel limit",
            Disconnect::PermissionDenied => "permission denied",
            Disconnect::NotAvailable => "not available",
            Disconnect::TooManyErrors => "too many errors",
        }
    }

    /// Whether clients come back by themselves.
    pub fn reconnects(code: u16) -> bool {
        !matches!(code, 3500..=3999 | 4500..=4999)
    }
}

/// Why a command is not done; the answer carries the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Fault {
    Internal = 100,
    UnknownChannel = 102,
    PermissionDenied = 103,
    MethodNotFound = 104,
    AlreadySubscribed = 105,
    LimitExceeded = 106,
    BadRequest = 107,
    NotAvailable = 108,
    TokenExpired = 109,
    Expired = 110,
    TooManyRequests = 111,
    Unrecoverable = 112,
}

impl Fault {
    pub fn code(self) -> u32 {
        self as u32
    }

    pub fn message(self) -> &'static str {
        match self {
            Fault::Internal => "internal server error",
            Fault::UnknownChannel => "unknown channel",
            Fault::PermissionDenied => "permission denied",
            Fault::MethodNotFound => "method not found",
            Fault::AlreadySubscribed => "already subscribed",
            Fault::LimitExceeded => "limit exceeded",
            Fault::BadRequest => "bad request",
            Fault::NotAvailable => "not available",
            Fault::TokenExpired => "token expired",
            Fault::Expired => "expired",
            Fault::TooManyRequests => "too many requests",
            Fault::Unrecoverable => "unrecoverable position",
        }
    }

    /// Whether the same command may do later.
    pub fn temporary(self) -> bool {
        matches!(self, Fault::Internal | Fault::TooManyRequests)
    }
}

/// Why the server ends a subscription; below 2500 the client does not come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Unsubscribed {
    Server = 2000,
    InsufficientState = 2500,
    Expired = 2501,
}

impl Unsubscribed {
    pub fn code(self) -> u32 {
        self as u32
    }

    pub fn reason(self) -> &'static str {
        match self {
            Unsubscribed::Server => "server unsubscribe",
            Unsubscribed::InsufficientState => "insufficient state",
            Unsubscribed::Expired => "subscription expired",
        }
    }
}

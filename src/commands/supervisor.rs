//! What systemd is told about a server, and the socket that it may hand over.
//!
//! The protocol is a datagram of `NAME=value` lines to the socket that `NOTIFY_SOCKET` names. Without it nobody is told.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use anyhow::{Context, ensure};
use listenfd::ListenFd;
use tokio_util::sync::CancellationToken;

/// How many connections may wait in the kernel, as for a socket of our own.
const BACKLOG: i32 = 4096;

/// Whoever has started this process and wants to hear of it.
pub(super) struct Supervisor {
    socket: Option<UnixDatagram>,
    /// Silence of this length and the process is killed.
    watchdog: Option<Duration>,
}

impl Supervisor {
    pub fn from_environment() -> anyhow::Result<Self> {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(Self { socket: None, watchdog: None }) };
        let wrong = "NOTIFY_SOCKET cannot be used";
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(&name),
        };
        let socket = UnixDatagram::unbound().context(wrong)?;
        socket.connect_addr(&address.context(wrong)?).context(wrong)?;
        // A supervisor that does not read must not stop the server.
        socket.set_nonblocking(true)?;
        let for_us = std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let within_us = std::env::var("WATCHDOG_USEC").ok().and_then(|value| value.parse().ok());
        let watchdog = within_us.filter(|_| for_us).map(Duration::from_micros);
        Ok(Self { socket: Some(socket), watchdog })
    }

    /// Tells one state, such as `READY=1`.
    pub fn tell(&self, state: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(state.as_bytes())
        {
            tracing::warn!(%error, state, "the supervisor could not be told");
        }
    }

    /// Says that the server lives, as often as the watchdog wants it, for as long as `lives` answers in time.
    pub async fn watch<F: Future<Output = ()>>(&self, lives: impl Fn() -> F, stop: CancellationToken) {
        let Some(within) = self.watchdog else { return };
        let mut ticks = tokio::time::interval(within / 3);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            match tokio::time::timeout(within / 3, lives()).await {
                Ok(()) => self.tell("WATCHDOG=1"),
                Err(_) => tracing::error!("the shards do not answer; the watchdog is not told"),
            }
        }
    }
}

/// The socket that was handed over, as `LISTEN_FDS` says; `None` when there is none. It stays open while the server is
/// replaced, so that whoever connects meanwhile waits instead of being refused.
pub(super) fn handed_over() -> anyhow::Result<Option<TcpListener>> {
    let mut handed = ListenFd::from_env();
    ensure!(handed.len() <= 1, "{} sockets were handed over (LISTEN_FDS); one is what is needed", handed.len());
    let listener =
        handed.take_tcp_listener(0).context("what was handed over (LISTEN_FDS) is no listening TCP socket")?;
    if let Some(listener) = &listener {
        listener.set_nonblocking(true)?;
        // Another `listen` only changes the bound.
        socket2::SockRef::from(listener).listen(BACKLOG)?;
    }
    Ok(listener)
}

//! The harness: real Redis, PostgreSQL, SMTP and Fanfare processes on private sockets and ports, and clients for them.
//!
//! Nothing is skipped: a test whose server program is missing fails and names the program. No process outlives the test
//! binary, whatever way it ends (see [`child::Child`]).

#![allow(dead_code, unused_imports, reason = "a kit: not every test area uses every tool of it")]

pub mod child;
pub mod client;
pub mod databases;
pub mod fanfare;
pub mod influx;
pub mod network;
pub mod postgres;
pub mod redis;
pub mod redis_groups;
pub mod smtp;
pub mod victoria;
pub mod webhook;

pub use client::{WebSocket, http, next_json, next_message, next_text, ws};
pub use databases::{TestDb, databases};
pub use fanfare::{Fanfare, Settings};
pub use network::Network;
pub use postgres::{Database, Postgres};
pub use redis::Redis;
pub use redis_groups::{Cluster, Sentinel};
pub use smtp::{Mail, Smtp};
pub use victoria::Victoria;
pub use webhook::{Webhook, WebhookRequest};

use std::future::Future;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

/// How long a test waits for anything before it fails. Long, since the machine may be busy with other builds.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `probe` answers `Some`; fails the test with `what` when that takes longer than [`PATIENCE`].
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut probe: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A port that was free a moment ago. Whoever binds it must cope with losing the race for it.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// A program in PATH or in one of `elsewhere`; its absence fails the test.
pub fn program(name: &str, elsewhere: &[PathBuf]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(elsewhere.iter().cloned())
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("the tests need the program `{name}`, which is neither in PATH nor in {elsewhere:?}"))
}

/// A temporary folder with a short path, since a unix socket's path has at most 107 bytes.
pub fn temp_dir(name: &str) -> tempfile::TempDir {
    tempfile::Builder::new().prefix(&format!("ff-{name}-")).tempdir_in("/tmp").expect("a temporary folder")
}

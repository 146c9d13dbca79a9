//! A real redis-server.

use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::child::{Child, Log};
use super::network::Network;
use super::{PATIENCE, eventually, free_port, program, temp_dir};

/// A redis-server of this test alone, on a TCP port and on a unix socket.
pub struct Redis {
    child: Child,
    port: u16,
    folder: TempDir,
    /// Whether it keeps its data in an append-only file.
    keeps: bool,
}

impl Redis {
    pub async fn start() -> Self {
        Self::start_as(false).await
    }

    /// One that keeps an append-only file: a restart finds what was there.
    pub async fn start_keeping() -> Self {
        Self::start_as(true).await
    }

    async fn start_as(keeps: bool) -> Self {
        let folder = temp_dir("redis");
        // Another process may take the port between the look and the bind: then this server ends, and we look again.
        for _ in 0..5 {
            let port = free_port();
            if let Some(child) = spawn(&folder, port, keeps, Log::default()).await {
                return Self { child, port, folder, keeps };
            }
        }
        panic!("redis-server did not start on any of five ports");
    }

    /// One that is reached through the links of a network, and over its unix socket as ever.
    pub async fn start_in(network: &Network) -> Self {
        let (folder, port) = (temp_dir("redis"), 6379);
        let mut command = network.command(&program("redis-server", &[]));
        command.args(["--bind", "0.0.0.0", "--protected-mode", "no"]);
        let child = spawn_as(command, &folder, port, false, Log::default()).await.expect("redis-server starts");
        Self { child, port, folder, keeps: false }
    }

    /// `redis://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// Ends the server at once; what it does not keep in a file is lost.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// Starts it again on the same port: empty, unless it keeps its data.
    pub async fn restart(&mut self) {
        self.child.kill();
        let log = self.child.log();
        self.child =
            spawn(&self.folder, self.port, self.keeps, log).await.expect("redis-server starts again on its port");
    }

    /// Freezes the server: connections stay open, nothing is answered.
    pub fn stop_signal(&self) {
        self.child.signal(Signal::SIGSTOP);
    }

    pub fn continue_signal(&self) {
        self.child.signal(Signal::SIGCONT);
    }

    /// Sends one command and answers the reply's first bytes, in Redis' own notation (`+OK`, `:1`, `$3…`).
    pub async fn command(&self, words: &[&str]) -> String {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
        let mut stream = UnixStream::connect(self.socket()).await.expect("redis socket");
        stream.write_all(&request).await.expect("write to redis");
        let mut reply = vec![0; 64 * 1024];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut reply)).await.expect("redis answers");
        reply.truncate(read.expect("read from redis"));
        String::from_utf8_lossy(&reply).trim_end().to_owned()
    }

    /// `PUBLISH`; answers how many subscribers Redis has handed the message to.
    pub async fn publish(&self, channel: &str, data: &str) -> usize {
        let reply = self.command(&["PUBLISH", channel, data]).await;
        reply.strip_prefix(':').and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("PUBLISH: {reply}"))
    }

    /// How many connections are subscribed to `channel`.
    pub async fn subscribers(&self, channel: &str) -> usize {
        let reply = self.command(&["PUBSUB", "NUMSUB", channel]).await;
        reply.rsplit(':').next().and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("NUMSUB: {reply}"))
    }
}

/// Starts the server and waits until it answers; `None` when it ended instead, as it does when the port is taken.
async fn spawn(folder: &TempDir, port: u16, keeps: bool, log: Log) -> Option<Child> {
    let mut command = Command::new(program("redis-server", &[]));
    command.args(["--bind", "127.0.0.1"]);
    spawn_as(command, folder, port, keeps, log).await
}

async fn spawn_as(mut command: Command, folder: &TempDir, port: u16, keeps: bool, log: Log) -> Option<Child> {
    let socket = folder.path().join("redis.sock");
    command.args(["--port", &port.to_string(), "--save", ""]);
    command.args(["--appendonly", if keeps { "yes" } else { "no" }]);
    command.arg("--unixsocket").arg(&socket).arg("--dir").arg(folder.path());
    let child = Child::start_logged("redis-server", &mut command, Signal::SIGKILL, Some(folder.path()), log);
    let child = std::sync::Mutex::new(child);
    // Asked over its own unix socket: on the port another server might answer.
    let ready = eventually("redis-server answers PING", || async {
        if child.lock().expect("lock").ended().is_some() {
            return Some(false);
        }
        let mut stream = UnixStream::connect(&socket).await.ok()?;
        stream.write_all(b"PING\r\n").await.ok()?;
        let mut reply = [0; 7];
        stream.read_exact(&mut reply).await.ok()?;
        (&reply == b"+PONG\r\n").then_some(true)
    })
    .await;
    ready.then(|| child.into_inner().expect("lock"))
}

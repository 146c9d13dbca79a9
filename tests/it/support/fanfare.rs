//! The real `fanfare` binary.

use std::process::{Command, ExitStatus};
use std::sync::Mutex;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::child::{Child, Log};
use super::{WebSocket, eventually, temp_dir, ws};

/// What a server is started with. Nothing of the caller's own environment reaches it but PATH and HOME.
#[derive(Clone, Default)]
pub struct Settings {
    env: Vec<(String, String)>,
    args: Vec<String>,
}

impl Settings {
    /// Broker in memory, SQLite in the data folder. Messages may be any JSON: most tests are about their way, not
    /// about what they say.
    pub fn new() -> Self {
        Self::default().env("FANFARE__CONTRACT__MESSAGES", "off")
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub fn redis(self, redis: &super::Redis) -> Self {
        self.env("REDIS_URL", redis.url())
    }

    pub fn database(self, url: &str) -> Self {
        self.env("DATABASE_URL", url)
    }
}

/// A running server with a data folder of its own.
pub struct Fanfare {
    child: Child,
    /// `127.0.0.1:PORT`
    address: String,
    settings: Settings,
    folder: TempDir,
}

/// A running worker.
pub struct Worker {
    child: Child,
    folder: TempDir,
}

impl Worker {
    /// Ends the process with no chance to finish anything.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// Kills it and starts it again on the same folder.
    pub fn again(&mut self, settings: &Settings) {
        self.child.kill();
        self.child = spawn_worker(settings, &self.folder);
    }
}

fn spawn_worker(settings: &Settings, folder: &TempDir) -> Child {
    let mut command = command(settings);
    command.args(["worker", "--data-dir"]).arg(folder.path());
    Child::start("fanfare worker", &mut command, Signal::SIGKILL, Some(folder.path()))
}

impl Fanfare {
    pub async fn start(settings: Settings) -> Self {
        Self::start_on(settings, temp_dir("data")).await
    }

    /// One whose data folder is somebody's choice; it is removed in the end.
    pub async fn start_on(settings: Settings, folder: TempDir) -> Self {
        let (child, address) = spawn(&settings, &folder, "127.0.0.1:0", Log::default()).await;
        Self { child, address, settings, folder }
    }

    /// Runs `fanfare` with `args` until it ends; answers the status and all that it printed.
    pub async fn run(settings: &Settings, args: &[&str]) -> (ExitStatus, String) {
        let mut child = Child::start("fanfare", command(settings).args(args), Signal::SIGKILL, None);
        let status = child.wait().await;
        // The readers finish a moment after the process.
        let log = child.log();
        eventually("the end of its output", async || log.whole().then_some(())).await;
        (status, log.text())
    }

    /// A `fanfare worker` beside servers on the same database. Dropping it ends it with no chance to finish anything.
    pub fn worker(settings: &Settings) -> Worker {
        let folder = temp_dir("worker");
        Worker { child: spawn_worker(settings, &folder), folder }
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `ws://127.0.0.1:PORT/path`
    pub fn ws_url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn data_dir(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub fn pid(&self) -> i32 {
        self.child.pid().as_raw()
    }

    /// A WebSocket client on `path`.
    pub async fn ws(&self, path: &str) -> WebSocket {
        ws(&self.ws_url(path)).await
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        self.child.log().text()
    }

    /// Ends the process with no chance to finish anything.
    pub fn kill9(&mut self) {
        self.child.kill();
    }

    /// Asks it to end (SIGTERM) and waits for that.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.child.signal(Signal::SIGTERM);
        self.child.wait().await
    }

    pub fn stop_signal(&self) {
        self.child.signal(Signal::SIGSTOP);
    }

    pub fn continue_signal(&self) {
        self.child.signal(Signal::SIGCONT);
    }

    /// Starts it again on the same port and data folder; ends it first when it still runs.
    pub async fn restart(&mut self) {
        self.child.kill();
        let log = self.child.log();
        let (child, address) = spawn(&self.settings, &self.folder, &self.address, log).await;
        self.child = child;
        self.address = address;
    }
}

async fn spawn(settings: &Settings, folder: &TempDir, listen: &str, log: Log) -> (Child, String) {
    let mut command = command(settings);
    command.args(["serve", "--listen", listen, "--data-dir"]).arg(folder.path()).args(&settings.args);
    log.clear();
    let child = Child::start_logged("fanfare", &mut command, Signal::SIGKILL, Some(folder.path()), log.clone());
    let child = Mutex::new(child);
    let address = eventually("fanfare prints the address it listens on", || async {
        if let Some(status) = child.lock().expect("lock").ended() {
            panic!("fanfare ended at start: {status}\n{}", log.text());
        }
        log.after("listening on http://").or_else(|| log.after("listening on https://"))
    })
    .await;
    (child.into_inner().expect("lock"), address.trim().to_owned())
}

fn command(settings: &Settings) -> Command {
    // Another build, such as an optimized one, where somebody names it.
    let binary = std::env::var_os("FANFARE_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_fanfare").into());
    let mut command = Command::new(binary);
    command.env_clear().env("RUST_BACKTRACE", "1");
    for name in ["PATH", "HOME"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.envs(settings.env.iter().map(|(name, value)| (name, value)));
    command
}

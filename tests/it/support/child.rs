//! A server process that cannot outlive the test binary.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child as Process, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::eventually;

/// Waits for the pipe from the test binary to end. The kernel closes it however the binary ends, even by SIGKILL, and
/// then this ends the server ($0, by signal $1) and removes its folder ($2). The word `done` calls it off. In a container
/// nobody may collect the ended server, so a zombie counts as gone.
const WATCH: &str = r#"
trap '' INT TERM HUP
read -r word
[ "$word" = done ] && exit 0
kill -CONT "$0"; kill "-$1" "$0"
turns=100
while [ $turns -gt 0 ] && kill -0 "$0" && ! grep -q '^State:.Z' "/proc/$0/status"; do sleep 0.05; turns=$((turns - 1)); done
[ -n "$2" ] && rm -rf -- "$2"
"#;

/// A running server. Dropping it ends the process; a watcher does so when nobody is left to drop it.
pub struct Child {
    name: &'static str,
    process: Process,
    signal: Signal,
    watch: Process,
    line: Option<ChildStdin>,
    log: Log,
}

/// What a process has printed, standard output and standard error together.
#[derive(Clone, Default)]
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    /// Outputs that have not come to their end.
    open: Arc<AtomicUsize>,
}

impl Child {
    /// Starts `command`. `signal` is how it is ended; `folder` is removed by the watcher when no drop can do so.
    pub fn start(name: &'static str, command: &mut Command, signal: Signal, folder: Option<&Path>) -> Self {
        Self::start_logged(name, command, signal, folder, Log::default())
    }

    /// The same, appending to a log that an earlier process began.
    pub fn start_logged(
        name: &'static str,
        command: &mut Command,
        signal: Signal,
        folder: Option<&Path>,
        log: Log,
    ) -> Self {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let mut watch = Command::new("sh")
            .args(["-c", WATCH, &process.id().to_string(), &signal.as_str()[3..]])
            .arg(folder.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh");
        log.read(process.stdout.take().expect("piped"));
        log.read(process.stderr.take().expect("piped"));
        let line = watch.stdin.take();
        Self { name, process, signal, watch, line, log }
    }

    pub fn log(&self) -> Log {
        self.log.clone()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id() as i32)
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap_or_else(|error| panic!("{signal} to {}: {error}", self.name));
    }

    /// The exit status, when the process has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("wait")
    }

    /// Waits for the process to end by itself.
    pub async fn wait(&mut self) -> ExitStatus {
        let process = Mutex::new(&mut self.process);
        eventually(&format!("{} ends", self.name), || async { process.lock().expect("lock").try_wait().expect("wait") })
            .await
    }

    /// Ends the process by its signal and waits for that.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            let _ = kill(self.pid(), Signal::SIGCONT);
            let _ = kill(self.pid(), self.signal);
            let _ = self.process.wait();
        }
        // From here on the number may belong to another process, so the watcher is told to keep its hands off.
        if let Some(mut line) = self.line.take() {
            let _ = line.write_all(b"done\n");
        }
        let _ = self.watch.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- what {} printed ----\n{}\n----", self.name, self.log.text());
        }
    }
}

impl Log {
    pub fn text(&self) -> String {
        self.lines.lock().expect("lock").join("\n")
    }

    /// The rest of the newest line that holds `mark`.
    pub fn after(&self, mark: &str) -> Option<String> {
        let lines = self.lines.lock().expect("lock");
        lines.iter().rev().find_map(|line| line.split_once(mark).map(|(_, rest)| rest.to_owned()))
    }

    /// Whether all that was printed is here: the process and its outputs have ended.
    pub fn whole(&self) -> bool {
        self.open.load(Ordering::SeqCst) == 0
    }

    pub fn clear(&self) {
        self.lines.lock().expect("lock").clear();
    }

    fn read(&self, source: impl std::io::Read + Send + 'static) {
        let log = self.clone();
        log.open.fetch_add(1, Ordering::SeqCst);
        std::thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                log.lines.lock().expect("lock").push(line);
            }
            log.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

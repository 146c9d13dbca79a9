//! A real SMTP server: aiosmtpd in a Python environment of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::child::{Child, Log};
use super::{eventually, free_port, program, temp_dir};

/// An SMTP server that keeps each mail it accepts. See `smtp_server.py` for what it can be told to refuse.
pub struct Smtp {
    child: Option<Child>,
    port: u16,
    login: Option<(String, String)>,
    folder: TempDir,
}

/// A mail as the server got it.
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    /// Headers and body as sent, encodings and all.
    pub raw: String,
}

static PYTHON: OnceCell<PathBuf> = OnceCell::const_new();

impl Smtp {
    pub async fn start() -> Self {
        let mut smtp = Self::down();
        smtp.restart().await;
        smtp
    }

    /// A server that takes mail only after this login.
    pub async fn start_with_login(user: &str, password: &str) -> Self {
        let mut smtp = Self { login: Some((user.into(), password.into())), ..Self::down() };
        smtp.restart().await;
        smtp
    }

    /// A server that has a port but does not run yet; [`Smtp::restart`] starts it.
    pub fn down() -> Self {
        Self { child: None, port: free_port(), login: None, folder: temp_dir("smtp") }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    pub fn stop(&mut self) {
        self.child = None;
    }

    pub async fn restart(&mut self) {
        self.stop();
        let python = PYTHON.get_or_init(python).await;
        let mut command = Command::new(python);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/smtp_server.py"));
        command.arg(self.port.to_string()).arg(self.folder.path());
        if let Some((user, password)) = &self.login {
            command.args([user, password]);
        }
        let log = Log::default();
        let folder = Some(self.folder.path());
        let mut child = Mutex::new(Child::start_logged("aiosmtpd", &mut command, Signal::SIGKILL, folder, log.clone()));
        eventually("the SMTP server listens", || async {
            if let Some(status) = child.lock().expect("lock").ended() {
                panic!("aiosmtpd ended: {status}\n{}", log.text());
            }
            log.after("listening on ")
        })
        .await;
        child.get_mut().expect("lock");
        self.child = Some(child.into_inner().expect("lock"));
    }

    /// Whether every message is answered with 451 from now on.
    pub fn busy(&self, busy: bool) {
        let mark = self.folder.path().join("busy");
        if busy { std::fs::write(mark, "") } else { std::fs::remove_file(mark) }.expect("busy");
    }

    /// All mails accepted so far, in no particular order.
    pub fn mails(&self) -> Vec<Mail> {
        let entries = std::fs::read_dir(self.folder.path()).expect("mail folder").flatten().map(|entry| entry.path());
        entries.filter(|path| path.extension().is_some_and(|end| end == "eml")).map(|path| Mail::read(&path)).collect()
    }

    /// Waits until the server has accepted `count` mails.
    pub async fn wait_for(&self, count: usize) -> Vec<Mail> {
        eventually(&format!("{count} mails arrive"), || async {
            let mails = self.mails();
            (mails.len() >= count).then_some(mails)
        })
        .await
    }
}

impl Mail {
    fn read(path: &Path) -> Self {
        let raw = String::from_utf8_lossy(&std::fs::read(path).expect("mail")).into_owned();
        let values = |name: &str| -> Vec<String> {
            raw.lines().filter_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned()).collect()
        };
        Self { from: values("X-Test-From:").join(""), to: values("X-Test-To:"), raw }
    }

    /// Each text part, decoded by Python's own mail reader: an independent judge of what we send. The subject is first.
    pub async fn texts(&self) -> Vec<String> {
        const READ: &str = "import email,email.policy,json,sys\n\
            m=email.message_from_bytes(sys.stdin.buffer.read(),policy=email.policy.default)\n\
            print(json.dumps([m['subject']]+[p.get_content() for p in m.walk() if p.get_content_maintype()=='text']))";
        let python = PYTHON.get_or_init(python).await;
        let mut child = Command::new(python)
            .args(["-c", READ])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("python");
        std::io::Write::write_all(&mut child.stdin.take().expect("piped"), self.raw.as_bytes()).expect("write");
        let output = child.wait_with_output().expect("python");
        serde_json::from_slice(&output.stdout).expect("a mail that Python can read")
    }
}

/// `FANFARE_TEST_PYTHON`, or the environment under `target/`, which is made when it is not there yet.
async fn python() -> PathBuf {
    if let Some(python) = std::env::var_os("FANFARE_TEST_PYTHON") {
        return python.into();
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder").to_owned();
    let folder = target.join("test-venv");
    let python = folder.join("bin/python");
    // Two test binaries may run at once; the second waits for the first one's environment.
    let lock = std::fs::File::create(target.join("test-venv.lock")).expect("lock file");
    lock.lock().expect("lock");
    let has_aiosmtpd = |python: &Path| {
        Command::new(python).args(["-c", "import aiosmtpd"]).output().is_ok_and(|output| output.status.success())
    };
    if !has_aiosmtpd(&python) {
        run(Command::new(program("python3", &[])).args(["-m", "venv"]).arg(&folder));
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "aiosmtpd==1.4.6"]));
    }
    python
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

//! A real PostgreSQL: one cluster for the whole test binary, a database of its own for each test.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::Signal;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::child::Child;
use super::{eventually, program, temp_dir};

/// PostgreSQL refuses to run as root, so then it runs as `nobody`.
const NOBODY: u32 = 65534;

/// A cluster on a unix socket in its own folder; it has no TCP port.
pub struct Postgres {
    child: Mutex<Child>,
    folder: TempDir,
    /// Settings of this cluster alone, `name=value`.
    settings: Vec<String>,
}

/// An empty database that no other test uses.
pub struct Database {
    pub url: String,
    pub name: String,
}

static SHARED: OnceCell<Postgres> = OnceCell::const_new();
static NEXT: AtomicU32 = AtomicU32::new(1);

impl Postgres {
    /// An empty database in the shared cluster, which is started by the first caller.
    pub async fn database() -> Database {
        SHARED.get_or_init(Self::start).await.create_database().await
    }

    /// A cluster of this test alone, for tests that end or freeze it.
    pub async fn start() -> Self {
        Self::start_with(Vec::new()).await
    }

    /// The same with settings of its own.
    pub async fn start_with(settings: Vec<String>) -> Self {
        let folder = temp_dir("pg");
        let data = folder.path().join("data");
        if is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("chown");
        }
        let mut initdb = command("initdb", folder.path());
        initdb.args(["--no-sync", "--auth=trust", "--username=fanfare", "--encoding=UTF8", "--locale=C.UTF-8", "-D"]);
        let output = initdb.arg(&data).output().expect("initdb");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        Self::over(folder, settings).await
    }

    /// Starts on the folder `data` that is in `folder` already.
    pub async fn over(folder: TempDir, settings: Vec<String>) -> Self {
        let child = Mutex::new(spawn(folder.path(), &settings));
        let cluster = Self { child, folder, settings };
        cluster.ready().await;
        cluster
    }

    /// Runs `program` as the user that the cluster runs as; answers what it printed, and fails the test when it fails.
    pub fn run(program: &mut Command) -> String {
        if is_root() {
            program.uid(NOBODY).gid(NOBODY);
        }
        let output = program.output().expect("a program of PostgreSQL");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{program:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// A folder that the user of the cluster may write to.
    pub fn own_folder(name: &str) -> TempDir {
        let folder = temp_dir(name);
        if is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("chown");
        }
        folder
    }

    pub async fn create_database(&self) -> Database {
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut connection = sqlx::PgConnection::connect(&self.url("postgres")).await.expect("postgres");
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("create database");
        connection.close().await.expect("close");
        Database { url: self.url(&name), name }
    }

    /// `postgres://fanfare@localhost/NAME?host=FOLDER`
    pub fn url(&self, database: &str) -> String {
        format!("postgres://fanfare@localhost/{database}?host={}", self.folder.path().display())
    }

    /// Ends the server at once, as a crash would.
    pub fn kill(&self) {
        self.child.lock().expect("lock").kill();
    }

    pub async fn restart(&self) {
        self.kill();
        *self.child.lock().expect("lock") = spawn(self.folder.path(), &self.settings);
        self.ready().await;
    }

    async fn ready(&self) {
        let options: sqlx::postgres::PgConnectOptions = self.url("postgres").parse().expect("url");
        eventually("PostgreSQL accepts a connection", || async {
            if let Some(status) = self.child.lock().expect("lock").ended() {
                panic!("postgres ended: {status}");
            }
            options.connect().await.ok()?.close().await.ok()
        })
        .await;
    }
}

fn spawn(folder: &Path, own: &[String]) -> Child {
    let mut postgres = command("postgres", folder);
    postgres.arg("-D").arg(folder.join("data")).arg("-k").arg(folder);
    // Durability against a power cut is not what the tests look at, and costs most of their time.
    for setting in ["listen_addresses=", "max_connections=300", "fsync=off", "full_page_writes=off"] {
        postgres.args(["-c", setting]);
    }
    for setting in own {
        postgres.args(["-c", setting]);
    }
    Child::start("postgres", &mut postgres, Signal::SIGQUIT, Some(folder))
}

fn command(name: &str, folder: &Path) -> Command {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    versions.reverse();
    let mut command = Command::new(program(name, &versions));
    command.current_dir(folder);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

//! What each command of the command line does.

mod backup;
mod supervisor; // systemd
mod user;

use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::auth::{MintedKey, Role, issue_token};
use crate::clock::Clock;
use crate::config::{Loaded, LogFormat, Overrides};
use crate::http::server;
use crate::queue::Queue;
use crate::series::Influx;
use crate::{contract, demo, telemetry};

use self::supervisor::{Supervisor, handed_over};
pub use backup::BackupCommand;
pub use user::UserCommand;

/// What the command line may say about where a server lives.
#[derive(clap::Args, Default)]
pub struct Place {
    /// Address and port, such as 127.0.0.1:8000; port 0 takes a free one.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Folder of the embedded database and of spools.
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

/// Reads the settings: defaults, `file`, the environment, then `place`.
pub fn load(file: Option<&Path>, place: Place) -> anyhow::Result<Loaded> {
    Loaded::read(file, std::env::vars(), Overrides { listen: place.listen, data_dir: place.data_dir })
}

/// Who the printed token is for, or what the printed API key may.
#[derive(clap::Args)]
pub struct TokenRequest {
    /// The caller's name, the token's `sub`.
    #[arg(long, required_unless_present = "api_key")]
    sub: Option<String>,
    /// Make an API key instead: a role, or scopes such as "events:write" or "subscribe:price:* publish:inventory:*".
    #[arg(long, value_name = "ROLE OR SCOPES", conflicts_with = "sub")]
    api_key: Option<String>,
    /// admin, manager or user.
    #[arg(long, default_value = "user")]
    role: Role,
    /// How long the token is valid, in seconds.
    #[arg(long, default_value_t = 86_400)]
    ttl_s: u64,
}

/// Serves until SIGINT or SIGTERM. The address in use is the first line on standard output.
pub fn serve(loaded: Loaded) -> anyhow::Result<()> {
    start_logging(&loaded)?;
    // A connection is a descriptor; the soft limit of most systems is meant for programs that have few.
    let descriptors = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(0);
    tracing::info!(descriptors, "starting");
    block_on(async {
        let listen = loaded.settings.server.listen;
        let scheme = if loaded.settings.server.tls_cert.is_some() { "https" } else { "http" };
        let (supervisor, handed) = (Supervisor::from_environment()?, handed_over()?);
        if let Some(handed) = &handed {
            loaded.settings.may_listen_on(handed.local_addr()?)?;
        }
        let app = App::build(loaded.settings).await?;
        let listener = match handed {
            Some(handed) => TcpListener::from_std(handed)?,
            None => server::bind(listen).with_context(|| format!("cannot listen on {listen}"))?,
        };
        say(&format!("listening on {scheme}://{}", listener.local_addr()?))?;
        let (stop, hub, ended) = (on_signal()?, app.hub(), CancellationToken::new());
        let supervised = async {
            supervisor.tell("READY=1\nSTATUS=serving");
            let lives = async || drop(hub.ledger().await);
            let watching = supervisor.watch(lives, ended.clone());
            let stopping = async {
                stop.cancelled().await;
                supervisor.tell("STOPPING=1\nSTATUS=streams are told to reconnect");
            };
            tokio::join!(watching, stopping);
        };
        let serving = async {
            app.serve(listener, stop.clone()).await;
            ended.cancel();
        };
        tokio::join!(serving, supervised);
        telemetry::flush(Duration::from_secs(2)).await;
        Ok(())
    })
}

/// Which document of the contract.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Document {
    Openapi,
    Asyncapi,
}

/// Prints it, as the server answers it.
pub fn contract(document: Document) -> anyhow::Result<()> {
    let document = if matches!(document, Document::Openapi) { contract::openapi() } else { contract::asyncapi() };
    say(&serde_json::to_string_pretty(document)?)
}

/// Works on the queue until SIGINT or SIGTERM.
pub fn worker(loaded: Loaded) -> anyhow::Result<()> {
    start_logging(&loaded)?;
    block_on(async { crate::app::work(loaded.settings, on_signal()?).await })
}

/// Brings the tables up to date, and InfluxDB's buckets and tasks where there is one, and ends.
pub fn migrate(loaded: Loaded) -> anyhow::Result<()> {
    start_logging(&loaded)?;
    block_on(async {
        let db = crate::app::open_database(&loaded.settings, &mut telemetry::Registry::default()).await?;
        say(&format!("the tables are up to date ({})", db.engine()))?;
        db.close().await;
        if let Some(at) = loaded.settings.influxdb.options()? {
            let influx = Influx::new(at, loaded.settings.series, Clock::system())?;
            let done = influx.set_up().await.context("InfluxDB (INFLUXDB_URL) cannot be set up")?;
            done.iter().try_for_each(|line| say(line))?;
            say("InfluxDB's buckets and tasks are up to date")?;
        }
        Ok(())
    })
}

/// What to do about work that nothing has helped.
#[derive(clap::Subcommand)]
pub enum DeadLetters {
    /// One line a letter: id, topic, attempts, the last error.
    List {
        /// Of this topic only, such as progress.
        #[arg(long)]
        topic: Option<String>,
        /// Letters with a greater id.
        #[arg(long, default_value_t = 0)]
        after: i64,
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Print one in full, as JSON.
    Show { id: i64 },
    /// Try one again, with all its attempts before it.
    Replay { id: i64 },
    /// Forget one.
    Discard { id: i64 },
}

/// Works on the database directly, so it needs no server.
pub fn dead_letters(loaded: Loaded, command: DeadLetters) -> anyhow::Result<()> {
    start_logging(&loaded)?;
    block_on(async {
        let mut registry = telemetry::Registry::default();
        let db = crate::app::open_database(&loaded.settings, &mut registry).await?;
        let queue = Queue::new(db.clone(), Clock::system(), loaded.settings.queue, &mut registry);
        let found = match command {
            DeadLetters::List { topic, after, limit } => {
                for letter in queue.list_dead(topic.as_deref(), after, limit).await? {
                    let error = letter.last_error.unwrap_or_default().replace(char::is_control, " ");
                    say(&format!("{}\t{}\t{}\t{error}", letter.id, letter.topic, letter.attempts))?;
                }
                Ok(())
            }
            DeadLetters::Show { id } => match queue.find_dead(id).await? {
                Some(letter) => say(&serde_json::to_string_pretty(&letter)?),
                None => Err(no_letter(id)),
            },
            DeadLetters::Replay { id } => queue.replay(id).await?.then_some(()).ok_or_else(|| no_letter(id)),
            DeadLetters::Discard { id } => queue.discard(id).await?.then_some(()).ok_or_else(|| no_letter(id)),
        };
        db.close().await;
        found
    })
}

fn no_letter(id: i64) -> anyhow::Error {
    anyhow::anyhow!("there is no dead letter {id}")
}

/// Prints a token signed with the configured secret, or a new API key and the entry by which a server knows it.
pub fn token(loaded: Loaded, request: TokenRequest) -> anyhow::Result<()> {
    let options = &loaded.settings.auth;
    if let Some(grant) = &request.api_key {
        let minted = MintedKey::mint(options, grant)?;
        say(&format!("key    {}\nentry  {}", minted.key.expose(), minted.entry))?;
        eprintln!("Add the entry to auth.api_keys (FANFARE__AUTH__API_KEYS, by comma). The key is not kept anywhere.");
        return Ok(());
    }
    let ttl = Duration::from_secs(request.ttl_s);
    let subject = request.sub.unwrap_or_default();
    say(&issue_token(options, &Clock::system(), &subject, request.role, ttl)?)
}

/// Accounts that log in with a password.
pub fn user(loaded: Loaded, command: UserCommand) -> anyhow::Result<()> {
    start_logging(&loaded)?;
    block_on(user::run(loaded.settings, command))
}

/// Backups of what lies in the data folder.
pub fn backup(loaded: Loaded, command: BackupCommand) -> anyhow::Result<()> {
    start_logging(&loaded)?;
    block_on(backup::run(loaded.settings, command))
}

pub fn check_config(loaded: Loaded) -> anyhow::Result<()> {
    say(loaded.print()?.trim_end())
}

pub fn demo(options: demo::DemoOptions) -> anyhow::Result<()> {
    block_on(demo::run(options))
}

/// How the process ends: with one line on standard error, whatever went wrong.
pub fn ended(done: anyhow::Result<()>) -> ExitCode {
    let Err(error) = done else { return ExitCode::SUCCESS };
    eprintln!("fanfare: {}", format!("{error:#}").replace('\n', " "));
    ExitCode::FAILURE
}

fn start_logging(loaded: &Loaded) -> anyhow::Result<()> {
    let log = &loaded.settings.log;
    let json = log.format == LogFormat::Json;
    let spec = telemetry::LogSpec { level: &log.level, json, audit_file: log.audit_file.as_deref() };
    telemetry::start(&spec, &loaded.settings.telemetry)
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("http").build()?.block_on(work)
}

/// A reader that has gone away is not an error of ours.
fn say(line: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Cancelled by the first SIGINT or SIGTERM.
fn on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let cancelled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        cancelled.cancel();
    });
    Ok(stop)
}

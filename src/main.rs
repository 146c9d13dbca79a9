//! The command line; what each command does stands in `fanfare::commands`.
use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use fanfare::commands::{self, Place};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A real-time streaming server: rows and events in, live feeds out.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// A TOML file; its keys go before the defaults, the environment before it.
    #[arg(long, global = true, env = "FANFARE_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve streams, the API and the page, with the workers inside.
    Serve(Place),
    /// Run the queue's workers alone, beside servers that share the database.
    Worker(Place),
    /// Bring the database's tables, and InfluxDB's buckets and tasks, up to date and end.
    Migrate(Place),
    /// List, show, replay or discard work that nothing has helped.
    #[command(subcommand)]
    DeadLetters(commands::DeadLetters),
    /// Print a token for a caller, or a new API key.
    Token(commands::TokenRequest),
    /// Accounts that log in with a password.
    #[command(subcommand)]
    User(commands::UserCommand),
    /// Backups of the embedded database, the history and its spool.
    #[command(subcommand)]
    Backup(commands::BackupCommand),
    /// Play a day of synthetic shop traffic against a running server.
    Demo(fanfare::demo::DemoOptions),
    /// Print what the server says of itself: its HTTP API, or its live feeds.
    Contract { document: commands::Document },
    /// Print the settings in force, secrets hidden, or say what is wrong with them.
    CheckConfig(Place),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let load = |place| commands::load(cli.config.as_deref(), place);
    commands::ended(match cli.command {
        Command::Serve(place) => load(place).and_then(commands::serve),
        Command::Worker(place) => load(place).and_then(commands::worker),
        Command::Migrate(place) => load(place).and_then(commands::migrate),
        Command::DeadLetters(it) => load(Place::default()).and_then(|loaded| commands::dead_letters(loaded, it)),
        Command::Token(request) => load(Place::default()).and_then(|it| commands::token(it, request)),
        Command::User(command) => load(Place::default()).and_then(|it| commands::user(it, command)),
        Command::Backup(command) => load(Place::default()).and_then(|it| commands::backup(it, command)),
        Command::Demo(options) => commands::demo(options),
        Command::Contract { document } => commands::contract(document),
        Command::CheckConfig(place) => load(place).and_then(commands::check_config),
    })
}

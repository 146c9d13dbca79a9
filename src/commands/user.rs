//! `fanfare user`: accounts in the database. Running servers see a change within a second.

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;

use super::say;
use crate::auth::{Accounts, Gate, MintedKey, Role};
use crate::clock::Clock;
use crate::config::Settings;
use crate::telemetry::Registry;

/// What to do with an account.
#[derive(clap::Subcommand)]
pub enum UserCommand {
    /// Add an account. The password is the first line of standard input.
    Add {
        /// What it logs in as, and the `sub` of its tokens.
        name: String,
        /// admin, manager or user.
        #[arg(long, default_value = "user")]
        role: Role,
        #[command(flatten)]
        password: PasswordSource,
        #[command(flatten)]
        place: DataDir,
    },
    /// Set a new password and end every log-in so far.
    Passwd {
        name: String,
        #[command(flatten)]
        password: PasswordSource,
        #[command(flatten)]
        place: DataDir,
    },
    /// Let an account log in no more, and end every log-in so far.
    Disable {
        name: String,
        #[command(flatten)]
        place: DataDir,
    },
    /// Let it log in again.
    Enable {
        name: String,
        #[command(flatten)]
        place: DataDir,
    },
    /// List the accounts.
    List {
        #[command(flatten)]
        place: DataDir,
    },
}

#[derive(clap::Args)]
pub struct PasswordSource {
    /// Make a password and print it, instead of reading one.
    #[arg(long)]
    generate: bool,
}

#[derive(clap::Args)]
pub struct DataDir {
    /// Folder of the embedded database.
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

pub(super) async fn run(mut settings: Settings, command: UserCommand) -> anyhow::Result<()> {
    let place = match &command {
        UserCommand::Add { place, .. }
        | UserCommand::Passwd { place, .. }
        | UserCommand::Disable { place, .. }
        | UserCommand::Enable { place, .. }
        | UserCommand::List { place } => place,
    };
    if let Some(data_dir) = &place.data_dir {
        settings.server.data_dir = data_dir.clone();
    }
    let mut registry = Registry::default();
    let db = crate::app::open_database(&settings, &mut registry).await?;
    let gate = Gate::new(&settings.auth, Clock::system(), &mut registry)?;
    let accounts = Accounts::new(db.clone(), gate, Clock::system(), settings.auth, Arc::new(|_| {}));
    match command {
        UserCommand::Add { name, role, password, .. } => {
            accounts.add(&name, &password.read()?, role).await?;
            say(&format!("{name} can log in"))?;
        }
        UserCommand::Passwd { name, password, .. } => {
            accounts.set_password(&name, &password.read()?).await?;
            say(&format!("{name} has a new password"))?;
        }
        UserCommand::Disable { name, .. } => {
            accounts.set_active(&name, false).await?;
            say(&format!("{name} can log in no more"))?;
        }
        UserCommand::Enable { name, .. } => {
            accounts.set_active(&name, true).await?;
            say(&format!("{name} can log in again"))?;
        }
        UserCommand::List { .. } => {
            for account in accounts.list().await? {
                let state = if account.is_active { "active" } else { "disabled" };
                say(&format!("{}\t{}\t{state}", account.name, account.role))?;
            }
        }
    }
    db.close().await;
    Ok(())
}

impl PasswordSource {
    fn read(&self) -> anyhow::Result<String> {
        if self.generate {
            // As random as a key; nobody types it, it goes into a password store.
            let minted = MintedKey::mint(&crate::auth::AuthOptions::default(), "user")?;
            let password = minted.key.expose().to_owned();
            say(&format!("password  {password}"))?;
            return Ok(password);
        }
        let input = std::io::stdin();
        if input.is_terminal() {
            eprintln!("password (it will be seen; better: fanfare user … < file, or --generate):");
        }
        let mut line = String::new();
        input.lock().read_line(&mut line).context("reading the password from standard input")?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

//! `fanfare backup`: the embedded database, the history and its spool, while a server runs; and back.
//!
//! A backup is a folder that is complete when it has its name: until then it is called `….partial`. Its manifest has the
//! size and the SHA-256 of each file. PostgreSQL has tools of its own (`deploy/backup/`), so with it only what a node keeps
//! in its data folder is in a backup.

mod folder; // what is in a data folder, and what is copied of it

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use self::folder::{Copied, copy_data, digest, is_in_use, sync_folder};
use super::say;
use crate::clock::Clock;
use crate::config::Settings;
use crate::db;

const MANIFEST: &str = "manifest.json";
const FORMAT: u32 = 1;

/// What to do with backups.
#[derive(clap::Subcommand)]
pub enum BackupCommand {
    /// Make one, check it, and forget the oldest.
    Create {
        /// The folder in which backups lie, each under its time.
        #[arg(long)]
        to: PathBuf,
        /// How many to keep there; 0: all.
        #[arg(long, default_value_t = 0)]
        keep: usize,
        /// Folder of the embedded database and of history.
        #[arg(long)]
        data_dir: Option<PathBuf>,
    },
    /// Check one: every file against the manifest, the databases page by page.
    Verify { backup: PathBuf },
    /// Put one in the place of what is there, which is moved aside. The server must not run.
    Restore {
        backup: PathBuf,
        /// Folder of the embedded database and of history.
        #[arg(long)]
        data_dir: Option<PathBuf>,
    },
}

#[derive(Debug, Deserialize, Serialize)]
struct Manifest {
    format: u32,
    version: String,
    created_at: DateTime<Utc>,
    /// Where the rows are: `sqlite`, in this backup; `postgres`, elsewhere.
    database: String,
    files: Vec<Copied>,
}

pub(super) async fn run(settings: Settings, command: BackupCommand) -> anyhow::Result<()> {
    match command {
        BackupCommand::Create { to, keep, data_dir } => {
            let made = create(&settings, data_dir.as_deref(), &to).await?;
            if keep > 0 {
                forget(&to, keep)?;
            }
            say(&made.display().to_string())
        }
        BackupCommand::Verify { backup } => {
            let manifest = verify(&backup).await?;
            say(&format!("{}: {} files, all as they were", backup.display(), manifest.files.len()))
        }
        BackupCommand::Restore { backup, data_dir } => {
            let target = data_dir.unwrap_or_else(|| settings.server.data_dir.clone());
            ensure!(
                settings.database.url.is_none() || verify(&backup).await?.database != "sqlite",
                "database.url (DATABASE_URL) names another database; unset it, or put fanfare.db there by hand"
            );
            restore(&backup, &target).await
        }
    }
}

async fn create(settings: &Settings, data_dir: Option<&Path>, to: &Path) -> anyhow::Result<PathBuf> {
    let data_dir = data_dir.unwrap_or(&settings.server.data_dir);
    let database = match settings.database.url.as_ref().map(|url| url.expose().to_owned()) {
        None => Some(data_dir.join("fanfare.db")),
        Some(url) => url.strip_prefix("sqlite:").map(|path| PathBuf::from(path.trim_start_matches("//"))),
    };
    let now = Clock::system().now();
    let done = to.join(now.format("%Y%m%dT%H%M%S%3fZ").to_string());
    let partial = done.with_extension("partial");
    fs::create_dir_all(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
    let files = copy_data(data_dir, database.as_deref(), &partial).await.inspect_err(|_| {
        let _ = fs::remove_dir_all(&partial);
    })?;
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").into(),
        created_at: now,
        database: if database.is_some() { "sqlite" } else { "postgres" }.into(),
        files,
    };
    fs::write(partial.join(MANIFEST), serde_json::to_vec_pretty(&manifest)?)?;
    fs::File::open(partial.join(MANIFEST))?.sync_all()?;
    verify(&partial).await?;
    sync_folder(&partial)?;
    fs::rename(&partial, &done)?;
    sync_folder(to)?;
    Ok(done)
}

async fn verify(backup: &Path) -> anyhow::Result<Manifest> {
    let manifest = backup.join(MANIFEST);
    let text = fs::read(&manifest).with_context(|| format!("{} is no backup", backup.display()))?;
    let manifest: Manifest = serde_json::from_slice(&text).context("the manifest cannot be read")?;
    ensure!(manifest.format == FORMAT, "format {} is not known here", manifest.format);
    for file in &manifest.files {
        let path = backup.join(file.inside()?);
        let now = digest(&path).with_context(|| format!("{} is missing", path.display()))?;
        ensure!(now == (file.size_bytes, file.sha256.clone()), "{} is not what it was", path.display());
        if path.extension().is_some_and(|end| end == "db") {
            db::check_file(&path).await?;
        }
    }
    Ok(manifest)
}

async fn restore(backup: &Path, data_dir: &Path) -> anyhow::Result<()> {
    let manifest = verify(backup).await?;
    fs::create_dir_all(data_dir)?;
    if is_in_use(data_dir)? {
        bail!("a server runs on {}; stop it first", data_dir.display());
    }
    let aside = data_dir.join(format!("before-restore-{}", Clock::system().now().format("%Y%m%dT%H%M%S%3fZ")));
    // The logs beside a database are part of it: left behind, they would be played into the restored one.
    for name in ["fanfare.db", "fanfare.db-wal", "fanfare.db-shm", "series"] {
        if data_dir.join(name).exists() {
            fs::create_dir_all(&aside)?;
            fs::rename(data_dir.join(name), aside.join(name))?;
        }
    }
    for file in &manifest.files {
        let (from, to) = (backup.join(file.inside()?), data_dir.join(file.inside()?));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(&from, &to).with_context(|| format!("cannot write {}", to.display()))?;
        fs::File::open(&to)?.sync_all()?;
    }
    sync_folder(data_dir)?;
    say(&format!("{} is as it was at {}", data_dir.display(), manifest.created_at.to_rfc3339()))?;
    if aside.exists() {
        say(&format!("what was there before is in {}", aside.display()))?;
    }
    Ok(())
}

/// Removes the oldest beyond `keep`, and what an interrupted run left. Names are times, so their order is the age.
fn forget(to: &Path, keep: usize) -> anyhow::Result<()> {
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(to)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let ours =
            name.len() >= 19 && name.as_bytes()[8] == b'T' && name.as_bytes()[..8].iter().all(u8::is_ascii_digit);
        if ours && name.ends_with(".partial") {
            fs::remove_dir_all(&path)?;
        } else if ours && path.join(MANIFEST).is_file() {
            found.push(path);
        }
    }
    found.sort();
    for old in &found[..found.len().saturating_sub(keep)] {
        fs::remove_dir_all(old)?;
    }
    Ok(())
}

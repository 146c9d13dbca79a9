//! What is in a data folder, and how it is copied while a server writes to it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::db;

/// A file of a backup.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Copied {
    /// Relative, in the backup as in the data folder.
    path: String,
    pub size_bytes: u64,
    pub sha256: String,
}

impl Copied {
    /// A manifest may come from anywhere; nothing outside the folder is touched on its word.
    pub fn inside(&self) -> anyhow::Result<&Path> {
        let path = Path::new(&self.path);
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        ensure!(plain && !self.path.is_empty(), "the manifest names {:?}", self.path);
        Ok(path)
    }
}

/// Copies databases and spools. The spool goes first: what leaves it meanwhile is in the history, which is copied after
/// it, and what is in both is one point all the same.
pub(super) async fn copy_data(data_dir: &Path, database: Option<&Path>, to: &Path) -> anyhow::Result<Vec<Copied>> {
    let mut names: Vec<PathBuf> = Vec::new();
    let series = data_dir.join("series");
    for spool in sorted(&series.join("spool"))? {
        let name = Path::new("series/spool").join(spool.file_name().unwrap_or_default());
        // How far the store has come, before the points: later it would promise what the copy does not have.
        for file in sorted(&spool)? {
            let file_name = file.file_name().unwrap_or_default();
            let is_head = file_name == "head";
            if !is_head && file.extension().is_none_or(|end| end != "points") {
                continue;
            }
            if copy(&file, &to.join(&name).join(file_name))? {
                names.push(name.join(file_name));
            }
        }
    }
    for letters in ["dead-letters.jsonl", "dead-letters.1.jsonl"] {
        let name = Path::new("series").join(letters);
        if copy(&data_dir.join(&name), &to.join(&name))? {
            names.push(name);
        }
    }
    let history = Path::new("series/series.db");
    let rows = Path::new("fanfare.db");
    let databases = [Some((data_dir.join(history), history)), database.map(|path| (path.to_owned(), rows))];
    for (from, name) in databases.into_iter().flatten() {
        if name == rows || from.is_file() {
            ensure!(from.is_file(), "there is no database at {}", from.display());
            fs::create_dir_all(to.join("series"))?;
            let copied = db::copy_file(&from, &to.join(name)).await;
            copied.with_context(|| format!("cannot copy {}", from.display()))?;
            File::open(to.join(name))?.sync_all()?;
            names.push(name.to_owned());
        }
    }
    let described = names.into_iter().map(|name| {
        let (size_bytes, sha256) = digest(&to.join(&name))?;
        Ok(Copied { path: name.to_str().context("a file name is not UTF-8")?.to_owned(), size_bytes, sha256 })
    });
    described.collect()
}

/// Whether a process has taken one of the spools, as every server does.
pub(super) fn is_in_use(data_dir: &Path) -> anyhow::Result<bool> {
    for spool in sorted(&data_dir.join("series/spool"))? {
        if let Ok(lock) = File::options().write(true).open(spool.join("lock"))
            && matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Size and SHA-256.
pub(super) fn digest(path: &Path) -> io::Result<(u64, String)> {
    let (mut file, mut hash, mut buffer, mut size) = (File::open(path)?, Sha256::new(), vec![0; 1 << 16], 0);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            let hex = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok((size, hex));
        }
        size += read as u64;
        hash.update(&buffer[..read]);
    }
}

/// Makes the names in a folder survive a power cut, those in the folders within too.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_folder(&path)?;
        }
    }
    File::open(folder)?.sync_all()
}

/// `head` sorts behind the numbers of the points, so it is put first. A folder that is not there has nothing in it.
fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort_by_key(|path| (!path.ends_with("head"), path.clone()));
    Ok(paths)
}

/// `false` when the file has gone: what was in it is in the store.
fn copy(from: &Path, to: &Path) -> io::Result<bool> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::copy(from, to) {
        Ok(_) => File::open(to)?.sync_all().map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

//! Which folder of the spool is this process's own.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// More processes than this on one data folder are a mistake.
const MOST: usize = 64;

/// Takes the first folder that no other process has, and adopts what is in those that nobody has.
pub fn take(spools: &Path) -> io::Result<(PathBuf, File)> {
    let mut own: Option<(PathBuf, File)> = None;
    for number in 0..MOST {
        let folder = spools.join(number.to_string());
        if own.is_some() && !folder.exists() {
            break;
        }
        fs::create_dir_all(&folder)?;
        let lock = File::options().write(true).create(true).truncate(false).open(folder.join("lock"))?;
        match (lock.try_lock(), &own) {
            (Err(TryLockError::WouldBlock), _) => {}
            (Err(TryLockError::Error(error)), _) => return Err(error),
            (Ok(()), None) => own = Some((folder, lock)),
            (Ok(()), Some((own, _))) => adopt(&folder, own)?,
        }
    }
    own.ok_or_else(|| io::Error::other("too many processes use this data folder"))
}

/// Moves the files of an orphaned folder behind those that are in `own`. How far they had been sent is forgotten, so
/// some of it is sent again.
fn adopt(orphan: &Path, own: &Path) -> io::Result<()> {
    // What has a lower number would count as sent.
    let read =
        File::open(own.join("head")).ok().and_then(|head| super::read_head(&head)).map_or(0, |head| head.segment);
    let found = segments(orphan)?;
    if found.is_empty() {
        return Ok(());
    }
    tracing::info!(files = found.len(), "points that another process left in its spool are taken over");
    let last = segments(own)?.last().copied().unwrap_or_default();
    for (next, id) in (last.max(read) + 1..).zip(found) {
        fs::rename(orphan.join(segment_name(id)), own.join(segment_name(next)))?;
    }
    match fs::remove_file(orphan.join("head")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub fn segment_name(id: u64) -> String {
    format!("{id:020}.points")
}

/// The numbers of the files, ascending.
pub fn segments(folder: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number: Option<u64> = name.to_str().and_then(|name| name.strip_suffix(".points")?.parse().ok());
        found.extend(number);
    }
    found.sort_unstable();
    Ok(found)
}

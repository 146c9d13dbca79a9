//! The embedded database as a file: copied while it is written to, and checked.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use super::DbError;

/// Writes all of the SQLite database `from`, as it is at one moment, to the new file `to`. Whoever writes to it meanwhile
/// is not kept waiting.
pub async fn copy_file(from: &Path, to: &Path) -> Result<(), DbError> {
    let mut source = open(from, false).await?;
    let to = to.to_str().ok_or_else(|| DbError::Url("the path of the copy is not UTF-8".into()))?;
    sqlx::query("VACUUM INTO $1").bind(to).execute(&mut source).await?;
    source.close().await?;
    Ok(())
}

/// Reads all of a SQLite file: its pages, its indexes, and what rows refer to.
pub async fn check_file(path: &Path) -> Result<(), DbError> {
    let mut file = open(path, true).await?;
    let wrongs: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut file).await?;
    if wrongs != ["ok"] {
        return Err(DbError::Url(format!("{} is damaged: {}", path.display(), wrongs.join("; "))));
    }
    let lost = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut file).await?;
    if !lost.is_empty() {
        return Err(DbError::Url(format!("{}: {} rows refer to nothing", path.display(), lost.len())));
    }
    file.close().await?;
    Ok(())
}

async fn open(path: &Path, immutable: bool) -> Result<SqliteConnection, DbError> {
    // A copy is nobody's else; so it is read without a log or a lock beside it.
    let options = SqliteConnectOptions::new().filename(path).read_only(immutable).immutable(immutable);
    Ok(options.connect().await?)
}

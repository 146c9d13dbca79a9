//! Points that the store refuses: kept on disk with the reason, for people to look at.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One refused point, or what the store said of points that it did not name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = RefusedPoint)]
pub struct DeadLetter {
    /// When it was refused.
    pub at: DateTime<Utc>,
    /// What the store said.
    pub reason: String,
    /// How many points this stands for.
    pub points: u64,
    /// In line protocol; `None` when the store did not say which points they were.
    pub line: Option<String>,
}

/// Two files of JSON lines, `dead-letters.jsonl` and the one before it, which goes when the first is full. Cloning shares them.
#[derive(Clone)]
pub struct DeadLetters(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    /// Of both files together.
    limit_bytes: u64,
}

impl DeadLetters {
    pub fn new(folder: PathBuf, limit_bytes: u64) -> Self {
        Self(Arc::new(Inner { folder, limit_bytes }))
    }

    pub(super) fn keep(&self, letter: &DeadLetter) -> io::Result<()> {
        let path = self.current();
        let mut line = serde_json::to_vec(letter)?;
        line.push(b'\n');
        let mut file = File::options().append(true).create(true).open(&path)?;
        if file.metadata()?.len() + line.len() as u64 > self.0.limit_bytes / 2 {
            std::fs::rename(&path, self.before())?;
            file = File::options().append(true).create(true).open(&path)?;
        }
        file.write_all(&line)
    }

    /// The newest first, up to `most`. A line that cannot be read, as a power cut may leave one, is passed over.
    pub fn list(&self, most: usize) -> io::Result<Vec<DeadLetter>> {
        let mut newest = VecDeque::new();
        for path in [self.before(), self.current()] {
            let file = match File::open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            for line in BufReader::new(file).split(b'\n') {
                if let Ok(letter) = serde_json::from_slice(&line?) {
                    newest.push_front(letter);
                    newest.truncate(most);
                }
            }
        }
        Ok(newest.into())
    }

    fn current(&self) -> PathBuf {
        self.0.folder.join("dead-letters.jsonl")
    }

    fn before(&self) -> PathBuf {
        self.0.folder.join("dead-letters.1.jsonl")
    }
}

//! The audit log: every line with target `security`, in a file of its own, whatever level the log has.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// The target of security events.
pub const TARGET: &str = "security";

/// A file that is appended to and can be opened anew. Cloning shares it.
#[derive(Clone)]
pub struct AuditFile(Arc<Inner>);

struct Inner {
    path: PathBuf,
    file: Mutex<File>,
}

impl AuditFile {
    /// For the server's user alone.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(Inner { path: path.to_owned(), file: Mutex::new(append(path)?) })))
    }

    /// Goes on in a new file under the same name, after the old one was moved away.
    pub fn reopen(&self) -> io::Result<()> {
        *self.0.file.lock().unwrap_or_else(PoisonError::into_inner) = append(&self.0.path)?;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

impl<'a> MakeWriter<'a> for AuditFile {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for AuditFile {
    /// One call a line, so that lines of several processes on one file do not mix.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.file.lock().unwrap_or_else(PoisonError::into_inner).write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

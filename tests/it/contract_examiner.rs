//! Schemathesis, which makes requests up from the document: no answer that the document does not allow.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Fanfare, Settings};

const KEY: &str = "key-of-an-admin-0123456789abcdef";

#[tokio::test(flavor = "multi_thread")]
async fn an_examiner_finds_nothing_wrong() {
    let settings = Settings::new()
        .env("FANFARE__CONTRACT__MESSAGES", "known")
        .env("FANFARE__AUTH__API_KEYS", format!("admin:{KEY}"))
        .env("FANFARE__RATE__PER_ADDRESS", "0")
        .env("FANFARE__RATE__PER_KEY", "0")
        .env("FANFARE__RATE__LOG_IN_PER_ADDRESS", "0")
        .env("FANFARE__RATE__LOG_IN_PER_ACCOUNT", "0");
    let server = Fanfare::start(settings).await;
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let python = std::env::var_os("FANFARE_TEST_PYTHON").map(PathBuf::from);
    let python = python.unwrap_or_else(|| target.join("test-venv/bin/python"));
    let examples = std::env::var("FANFARE_EXAMINER_EXAMPLES").unwrap_or_else(|_| "3".into());
    // Fuzzing and what follows from it are for whoever has the time.
    let phases = std::env::var("FANFARE_EXAMINER_PHASES").unwrap_or_else(|_| "examples,coverage".into());
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/schemathesis.toml");
    let url = server.url();
    let run = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(&python);
        let folder = tempfile::tempdir().unwrap();
        command
            .current_dir(&folder)
            .args(["-m", "schemathesis.cli", "--config-file"])
            .arg(config)
            .args([
                "run",
                &format!("{url}/openapi.json"),
                "--phases",
                &phases,
                "--max-examples",
                &examples,
                "--seed",
                "1",
            ])
            // From elsewhere: figures are open to callers on this machine.
            .args(["-H", &format!("X-API-Key: {KEY}"), "-H", "X-Forwarded-For: 203.0.113.1"])
            .stdin(Stdio::null());
        command.output().unwrap_or_else(|error| panic!("{}: {error}; `make test-setup` installs it", python.display()))
    });
    let output = run.await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

//! Each page of dashboards in a real browser, against a real server.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};

use tokio::sync::mpsc;

use crate::support::{Fanfare, Settings, program};

/// The script says what it wants done to the server, and goes on when it is done.
#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_true() {
    // Alerts that can go nowhere become dead letters at once.
    let settings = Settings::new()
        .env("FANFARE__ALERTS__WEBHOOK_URL", "http://127.0.0.1:9/")
        .env("FANFARE__ALERTS__ALLOW_PRIVATE", "true")
        .env("FANFARE__QUEUE__MAX_ATTEMPTS", "1");
    let mut server = Fanfare::start(settings).await;
    let mut script = node(&["e2e/boards.mjs", &server.url()]).spawn().expect("node");
    // Its end on our side ends the script and its browser, however this test ends.
    let mut done = script.stdin.take().expect("stdin");
    let (said, mut lines) = mpsc::channel(16);
    let stdout = BufReader::new(script.stdout.take().expect("stdout"));
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| said.blocking_send(line)));
    let mut printed = String::new();
    while let Some(line) = lines.recv().await {
        printed.push_str(&line);
        printed.push('\n');
        match line.strip_prefix("do:") {
            None => continue,
            Some("kill") => server.kill9(),
            Some("start") => server.restart().await,
            Some(unknown) => panic!("{unknown}\n{printed}"),
        }
        done.write_all(b"done\n").expect("the script listens");
    }
    script.stderr.take().expect("stderr").read_to_string(&mut printed).expect("text");
    let status = script.wait().expect("wait");
    assert!(status.success() && printed.contains("every page holds"), "{printed}\n{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_seen_is_subscribed_to() {
    let server = Fanfare::start(Settings::new().env("FANFARE__RATE__PER_ADDRESS", "5000")).await;
    let url = server.url();
    let run = move || node(&["e2e/rows.mjs", &url]).output().expect("node");
    let Output { status, stdout, stderr } = tokio::task::spawn_blocking(run).await.expect("joined");
    let printed = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success() && printed.contains("only what is seen is subscribed to"), "{printed}\n{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_looks_and_a_manager_changes() {
    let folder = crate::support::temp_dir("accounts");
    let settings = Settings::new()
        .env("SECRET_KEY", "a secret for tests, long enough: 0123456789")
        .env("FANFARE__RATE__PER_ADDRESS", "5000")
        .database(&format!("sqlite://{}", folder.path().join("accounts.db").display()));
    let mut accounts = Vec::new();
    for (name, role) in [("vera", "user"), ("max", "manager")] {
        let (status, printed) = Fanfare::run(&settings, &["user", "add", name, "--role", role, "--generate"]).await;
        assert!(status.success(), "{printed}");
        let password = printed.lines().find_map(|line| line.strip_prefix("password  ")).expect("a password");
        accounts.push(format!("{name}:{password}"));
    }
    let server = Fanfare::start(settings).await;
    let url = server.url();
    let run = move || node(&["e2e/roles.mjs", &url, &accounts[0], &accounts[1]]).output().expect("node");
    let Output { status, stdout, stderr } = tokio::task::spawn_blocking(run).await.expect("joined");
    let printed = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success() && printed.contains("roles hold"), "{printed}\n{}", server.log());
}

fn node(args: &[&str]) -> Command {
    let mut command = Command::new(program("node", &[]));
    command.current_dir("web").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

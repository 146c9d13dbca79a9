//! The page in a real browser, against a real server: what it shows is what the API was told, whatever happens between.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use tokio::sync::mpsc;

use crate::support::{Fanfare, Redis, Settings, program};

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_live_in_a_browser() {
    let server = Fanfare::start(Settings::new()).await;
    let (node, url) = (program("node", &[]), server.url());
    let run = move || Command::new(node).current_dir("web").args(["e2e/page.mjs", &url]).output().expect("node");
    let output = tokio::task::spawn_blocking(run).await.expect("joined");
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && printed.contains("live from end to end"), "{printed}");
}

/// The script says what it wants done to the servers, and goes on when it is done.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_loses_nothing_when_its_server_does() {
    let mut redis = Redis::start().await;
    let mut first = Fanfare::start(Settings::new().redis(&redis)).await;
    let other = Fanfare::start(Settings::new().redis(&redis)).await;
    let mut script = Command::new(program("node", &[]))
        .current_dir("web")
        .args(["e2e/recovery.mjs", &first.url(), &other.url()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node");
    // Its end on our side ends the script and its browser, however this test ends.
    let mut done = script.stdin.take().expect("stdin");
    let (said, mut lines) = mpsc::channel(16);
    let stdout = BufReader::new(script.stdout.take().expect("stdout"));
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| said.blocking_send(line)));
    let mut printed = String::new();
    while let Some(line) = lines.recv().await {
        printed.push_str(&line);
        printed.push('\n');
        let Some(wanted) = line.strip_prefix("do:") else { continue };
        match wanted {
            "kill first" => first.kill9(),
            "start first" => first.restart().await,
            "terminate first" => assert!(first.terminate().await.success(), "{}", first.log()),
            "freeze redis" => redis.stop_signal(),
            "thaw redis" => redis.continue_signal(),
            "restart redis" => redis.restart().await,
            unknown => panic!("{unknown}\n{printed}"),
        }
        done.write_all(b"done\n").expect("the script listens");
    }
    script.stderr.take().expect("stderr").read_to_string(&mut printed).expect("text");
    let status = script.wait().expect("wait");
    assert!(status.success() && printed.contains("nothing was lost"), "{printed}\n{}", first.log());
}

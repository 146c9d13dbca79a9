//! The page in a real browser, against a real server: what it shows is what the API was told.

use std::process::Command;

use crate::support::{Fanfare, Settings, program};

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_live_in_a_browser() {
    let server = Fanfare::start(Settings::new()).await;
    let (node, url) = (program("node", &[]), server.url());
    let run = move || Command::new(node).current_dir("web").args(["e2e/page.mjs", &url]).output().expect("node");
    let output = tokio::task::spawn_blocking(run).await.expect("joined");
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && printed.contains("live from end to end"), "{printed}");
}

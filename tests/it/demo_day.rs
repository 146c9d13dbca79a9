//! The demo against a real server: every feed shows something, and it ends cleanly.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::child::Child;
use crate::support::{Fanfare, Settings, eventually, free_port, http, next_json};

#[tokio::test]
async fn every_feed_shows_the_demo_and_ctrl_c_ends_it() {
    let server = Fanfare::start(Settings::new()).await;
    let mut sockets = Vec::new();
    for (path, types) in [
        ("/ws", &["system_notification"] as &[&str]),
        ("/ws/inventory", &["inventory_update", "stock_alert"]),
        ("/ws/price", &["price_update", "price_alert"]),
        ("/ws/progress", &["progress_update"]),
        ("/ws/match", &["batch_progress", "match_notification"]),
    ] {
        sockets.push((path, types, server.ws(path).await));
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.args(["demo", "--speed", "20000", "--url", &server.url()]).env_remove("FANFARE_TOKEN");
    let mut demo = Child::start("fanfare demo", &mut command, Signal::SIGKILL, None);
    for (path, types, socket) in &mut sockets {
        for wanted in *types {
            while next_json(socket).await["message_type"] != *wanted {}
        }
        println!("{path}: {types:?}");
    }
    demo.signal(Signal::SIGINT);
    assert!(demo.wait().await.success());
    eventually("the summary", || async { demo.log().after("interrupted: ") }).await;
    assert!(demo.log().text().contains("SYNTHETIC"));
    let page: serde_json::Value =
        http().get(format!("{}/api/v1/inventory?limit=1000", server.url())).send().await.unwrap().json().await.unwrap();
    let items = page["items"].as_array().unwrap();
    assert_eq!(items.len(), 40);
    assert!(items.iter().all(|item| item["sku"].as_str().unwrap().starts_with("DEMO-")));
}

#[tokio::test]
async fn without_a_server_the_demo_says_so_in_one_line() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let (status, printed) = Fanfare::run(&Settings::new(), &["demo", "--url", &url]).await;
    assert!(!status.success());
    let complaints: Vec<_> = printed.lines().filter(|line| line.starts_with("fanfare:")).collect();
    assert!(complaints.len() == 1 && complaints[0].contains("no Fanfare server answers at"), "{printed}");
}

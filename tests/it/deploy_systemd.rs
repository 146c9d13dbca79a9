//! What systemd is told, and the socket that it hands over.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::net::UnixDatagram;

use crate::support::child::Child;
use crate::support::{Fanfare, PATIENCE, Settings, eventually, free_port, program, temp_dir};

async fn next(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 512];
    let read = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("told in time").expect("recv");
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

#[tokio::test]
async fn a_supervisor_hears_of_readiness_of_life_and_of_the_end() {
    let folder = temp_dir("notify");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("bind");
    let settings = Settings::new().env("NOTIFY_SOCKET", path.display().to_string()).env("WATCHDOG_USEC", "600000");
    let mut server = Fanfare::start(settings).await;
    assert!(next(&socket).await.starts_with("READY=1"));
    // It is ready when it says so.
    assert_eq!(reqwest::get(format!("{}/health/ready", server.url())).await.expect("ready").status(), 200);
    for _ in 0..3 {
        assert_eq!(next(&socket).await, "WATCHDOG=1");
    }
    // A process that hangs says nothing.
    server.stop_signal();
    while tokio::time::timeout(Duration::from_millis(800), next(&socket)).await.is_ok() {}
    server.continue_signal();
    assert_eq!(next(&socket).await, "WATCHDOG=1");
    let ended = tokio::spawn(async move { server.terminate().await });
    while !next(&socket).await.starts_with("STOPPING=1") {}
    assert!(ended.await.expect("joined").success());
}

#[tokio::test]
async fn a_watchdog_of_another_process_and_an_abstract_socket_are_understood() {
    let name = format!("fanfare-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let socket = std::os::unix::net::UnixDatagram::bind_addr(&address).expect("bind");
    socket.set_nonblocking(true).expect("nonblocking");
    let socket = UnixDatagram::from_std(socket).expect("socket");
    let settings = Settings::new().env("NOTIFY_SOCKET", format!("@{name}"));
    let mut server = Fanfare::start(settings.env("WATCHDOG_USEC", "100000").env("WATCHDOG_PID", "1")).await;
    assert!(next(&socket).await.starts_with("READY=1"));
    server.terminate().await;
    assert!(next(&socket).await.starts_with("STOPPING=1"), "no WATCHDOG=1 in between");
}

#[tokio::test]
async fn a_socket_that_is_handed_over_is_served() {
    let (folder, port) = (temp_dir("data"), free_port());
    let activate = |listen: &str| {
        let mut activate = Command::new(program("systemd-socket-activate", &[]));
        activate
            .env_clear()
            .args(["--listen", listen, env!("CARGO_BIN_EXE_fanfare"), "serve", "--data-dir"])
            .arg(folder.path());
        Child::start("systemd-socket-activate", &mut activate, Signal::SIGTERM, None)
    };
    let child = activate(&format!("127.0.0.1:{port}"));
    let url = format!("http://127.0.0.1:{port}/health");
    // The first connection starts the server, and waits for it.
    let health = eventually("it answers", async || reqwest::get(&url).await.ok()).await;
    assert_eq!(health.status(), 200);
    assert!(child.log().text().contains(&format!("listening on http://127.0.0.1:{port}")), "{}", child.log().text());
    drop(child);

    // Whoever opens the socket, an open server is on loopback only.
    let mut child = activate(&format!("0.0.0.0:{}", free_port()));
    let log = child.log();
    eventually("the socket is there", async || {
        let port = log.text().split("0.0.0.0:").nth(1)?.chars().take_while(char::is_ascii_digit).collect::<String>();
        tokio::net::TcpStream::connect(format!("127.0.0.1:{port}")).await.ok()
    })
    .await;
    assert!(!child.wait().await.success());
    eventually("the reason", async || log.text().contains("loopback only").then_some(())).await;
}

//! A disk that is full: writes are refused with a reason, everything else goes on, and nothing acknowledged is lost.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tempfile::TempDir;

use crate::chaos_nodes::Writer;
use crate::stream_model::client::{Client, Mode};
use crate::stream_recovery::ledger;
use crate::stream_ws::publish;
use crate::support::{Fanfare, Settings, http, next_json, temp_dir};

/// A small file system of its own, in memory.
struct Disk(PathBuf);

impl Disk {
    fn mount(folder: &TempDir, megabytes: u32) -> Self {
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).status();
        assert!(mounted.expect("the program `mount`").success(), "this test mounts a small disk, which needs root");
        Self(folder.path().to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a server that is being killed still has files open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_loses_none() {
    let folder = temp_dir("small");
    let _disk = Disk::mount(&folder, 10);
    let ballast = folder.path().join("ballast");
    std::fs::write(&ballast, vec![0; 3 << 20]).expect("room for it");
    let mut server = Fanfare::start_on(Settings::new(), folder).await;
    let address = Arc::new(Mutex::new(server.address().to_owned()));
    let mode = Mode { category: None, paced: false };
    let (client, mut writer) = (Client::start(mode, address), Writer::new());
    let mut others = server.ws("/ws").await;

    let refusal = loop {
        if let Err(refusal) = writer.create(&server.url(), 9_900).await {
            break refusal;
        }
        assert!(writer.tried < 900, "10 MB take no 900 items of 10 kB");
    };
    assert!(refusal.starts_with("507 "), "{refusal}");
    assert!(refusal.contains("disk"), "a reason: {refusal}");
    // It is refused again and again, and the server stays what it is: what needs no disk works.
    for _ in 0..20 {
        let _ = writer.create(&server.url(), 9_900).await;
    }
    assert_eq!(http().get(format!("{}/health", server.url())).send().await.expect("an answer").status(), 200);
    publish(&server, "system:notifications", "{\"message_type\":\"n\",\"n\":1}").await;
    assert_eq!(next_json(&mut others).await["n"], json!(1));

    std::fs::remove_file(&ballast).expect("it is there");
    writer.create(&server.url(), 9_900).await.expect("there is room again");
    let rows = writer.rows(&server.url()).await;
    client.settles_at(&rows).await.expect("what was acknowledged was told");
    ledger(&server).await;
    server.kill9();
    server.restart().await;
    assert_eq!(writer.rows(&server.url()).await, rows);
}

//! Several real redis-servers as one: a primary with a replica under a sentinel, and a cluster.

use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::child::Child;
use super::{PATIENCE, eventually, free_port, program, temp_dir};

/// One server of a group.
struct Member {
    child: Child,
    port: u16,
}

impl Member {
    async fn start(folder: &Path, port: u16, more: &[&str]) -> Self {
        let own = folder.join(port.to_string());
        std::fs::create_dir_all(&own).expect("a folder");
        let mut command = Command::new(program("redis-server", &[]));
        // A sentinel takes its settings from a file that it rewrites, which comes first.
        command.args(more).args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(&own);
        if !more.contains(&"--sentinel") {
            command.args(["--save", "", "--appendonly", "no"]);
        }
        let child = Child::start("redis-server", &mut command, Signal::SIGKILL, None);
        let member = Self { child, port };
        eventually("redis-server answers", || async { member.ask(&["PING"]).await.contains("PONG").then_some(()) })
            .await;
        member
    }

    /// Sends one command and answers what comes back, in Redis' own notation; empty when the server is away.
    async fn ask(&self, words: &[&str]) -> String {
        ask(self.port, words).await
    }
}

async fn ask(port: u16, words: &[&str]) -> String {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(&request).await?;
        let mut reply = vec![0; 64 * 1024];
        let length = stream.read(&mut reply).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&reply[..length]).trim_end().to_owned())
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("redis answers").unwrap_or_default()
}

/// A primary, its replica, and a sentinel that makes the replica primary when the primary is gone.
pub struct Sentinel {
    primary: Member,
    replica: Member,
    sentinel: Member,
    _folder: TempDir,
}

impl Sentinel {
    pub async fn start() -> Self {
        let folder = temp_dir("sentinel");
        let primary = Member::start(folder.path(), free_port(), &[]).await;
        let of = format!("127.0.0.1 {}", primary.port);
        let replica = Member::start(folder.path(), free_port(), &["--replicaof", &of]).await;
        eventually("the replica follows", || async {
            replica.ask(&["INFO", "replication"]).await.contains("master_link_status:up").then_some(())
        })
        .await;
        let settings = folder.path().join("sentinel.conf");
        let text = format!(
            "sentinel monitor main {of} 1\nsentinel down-after-milliseconds main 500\n\
             sentinel failover-timeout main 3000\n"
        );
        std::fs::write(&settings, text).expect("the sentinel's settings");
        let settings = settings.to_str().expect("a path");
        let sentinel = Member::start(folder.path(), free_port(), &[settings, "--sentinel"]).await;
        eventually("the sentinel knows the replica", || async {
            sentinel.ask(&["SENTINEL", "replicas", "main"]).await.contains(&replica.port.to_string()).then_some(())
        })
        .await;
        Self { primary, replica, sentinel, _folder: folder }
    }

    pub fn url(&self) -> String {
        format!("redis-sentinel://127.0.0.1:{}?sentinelServiceName=main", self.sentinel.port)
    }

    /// Ends the primary at once and waits until the replica has its place.
    pub async fn fail_over(&mut self) {
        self.primary.child.kill();
        eventually("the replica is the primary", || async {
            self.replica.ask(&["ROLE"]).await.contains("master").then_some(())
        })
        .await;
    }
}

/// Three primaries that share the slots.
pub struct Cluster {
    members: Vec<Member>,
    _folder: TempDir,
}

impl Cluster {
    pub async fn start() -> Self {
        let folder = temp_dir("cluster");
        let mut members = Vec::new();
        while members.len() < 3 {
            // The bus listens 10,000 above the port.
            let port = free_port();
            if port > 55_000 {
                continue;
            }
            let settings = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
            members.push(Member::start(folder.path(), port, &settings).await);
        }
        let mut create = Command::new(program("redis-cli", &[]));
        create.args(["--cluster", "create"]).args(members.iter().map(|member| format!("127.0.0.1:{}", member.port)));
        let created = create.arg("--cluster-yes").output().expect("redis-cli");
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
        let cluster = Self { members, _folder: folder };
        eventually("every member sees the cluster", || async {
            for member in &cluster.members {
                if !member.ask(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok") {
                    return None;
                }
            }
            Some(())
        })
        .await;
        cluster
    }

    pub fn url(&self) -> String {
        let [first, rest @ ..] = &self.members[..] else { panic!("members") };
        let rest: Vec<String> = rest.iter().map(|member| format!("node=127.0.0.1:{}", member.port)).collect();
        format!("redis-cluster://127.0.0.1:{}?{}", first.port, rest.join("&"))
    }

    /// Moves the slot of `key`, with what is in it, to another member; answers the ports it has left and come to.
    pub async fn move_slot_of(&self, key: &str) -> (u16, u16) {
        let slot = self.members[0].ask(&["CLUSTER", "KEYSLOT", key]).await[1..].to_owned();
        let mut from = None;
        for member in &self.members {
            let owns = member.ask(&["CLUSTER", "COUNTKEYSINSLOT", &slot]).await;
            let reply = member.ask(&["EXISTS", key]).await;
            if !reply.starts_with("-MOVED") && owns.starts_with(':') {
                from = Some(member);
            }
        }
        let from = from.expect("the owner");
        let to = self.members.iter().find(|member| member.port != from.port).expect("another");
        let (from_id, to_id) = (id(from).await, id(to).await);
        expect_ok(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await;
        expect_ok(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await;
        loop {
            let keys = from.ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).await;
            let keys: Vec<&str> = keys.lines().skip(1).filter(|line| !line.starts_with('$')).collect();
            if keys.is_empty() {
                break;
            }
            for key in keys {
                let port = to.port.to_string();
                let moved = from.ask(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]).await;
                assert!(moved.starts_with("+OK") || moved.starts_with("+NOKEY"), "MIGRATE {key}: {moved}");
            }
        }
        for member in [to, from].into_iter().chain(&self.members) {
            expect_ok(member, &["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).await;
        }
        (from.port, to.port)
    }
}

async fn id(member: &Member) -> String {
    let reply = member.ask(&["CLUSTER", "MYID"]).await;
    reply.lines().nth(1).expect("an id").to_owned()
}

async fn expect_ok(member: &Member, words: &[&str]) {
    let reply = member.ask(words).await;
    assert_eq!(reply, "+OK", "{words:?}");
}

//! Measures a WebSocket fan-out server from outside: `run` publishes stamped messages and counts what arrives where and
//! when; `idle` measures memory; `floor` is the physical floor to compare with. Plain ws:// only.

#![allow(clippy::disallowed_methods, reason = "threads of its own: nothing here runs on an async runtime")]

mod clients; // the connections: one thread, one poller
mod floor; // what the kernel alone costs
mod frames; // just enough of RFC 6455 for a client
mod process; // CPU time and memory of the server, from /proc
mod publish; // where messages come from
mod report; // table, JSON, HTML

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand};

use crate::clients::{Clients, Counts};
use crate::publish::{Publisher, Way};
use crate::report::Report;

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Connect, publish, count.
    Run(Load),
    /// Connect, wait, and report the memory of the server; nothing is published.
    Idle(Load),
    /// Serve as the floor: upgrades on PORT, newline-ended messages to fan out on PORT + 1.
    Floor {
        #[arg(long, default_value_t = 9100)]
        port: u16,
    },
}

#[derive(Args, Clone)]
pub struct Load {
    /// host:port of the server.
    #[arg(long, default_value = "127.0.0.1:8000")]
    pub server: String,
    /// Path and query of the stream; %I% is the connection's number, %M% that modulo 1000.
    #[arg(long, default_value = "/ws/price")]
    pub path: String,
    /// Sent as `Authorization: Bearer`.
    #[arg(long)]
    pub token: Option<String>,
    /// A further request header, "Name: value".
    #[arg(long)]
    pub header: Vec<String>,
    /// The first message of each connection, such as the commands of a Centrifuge client.
    #[arg(long)]
    pub say: Option<String>,
    #[arg(long, default_value_t = 1000)]
    pub connections: usize,
    /// Handshakes under way at once.
    #[arg(long, default_value_t = 256)]
    pub burst: usize,
    /// Source addresses 127.0.0.1 to 127.0.0.K, to go past one address's ports; 0: the system's choice.
    #[arg(long, default_value_t = 0)]
    pub sources: u8,
    /// How messages are published: `http` (POST /api/publish at the server), `redis=HOST:PORT` or `floor=HOST:PORT`.
    #[arg(long, default_value = "http")]
    pub publish: Way,
    #[arg(long, default_value = "price:updates")]
    pub channel: String,
    /// Messages per second; without it a closed loop.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Closed loop: messages under way at once.
    #[arg(long, default_value_t = 16)]
    pub window: u64,
    #[arg(long, default_value_t = 1000)]
    pub messages: u64,
    /// The message: %STAMP% (needed), %N% its number, %M% the number modulo 1000, %PAD%.
    #[arg(long, default_value = r#"{"message_type":"load","ts":"%STAMP%","pad":"%PAD%"}"#)]
    pub payload: String,
    #[arg(long, default_value_t = 72)]
    pub pad_bytes: usize,
    /// Deliveries a message should have; without it one a connection.
    #[arg(long)]
    pub expect: Option<u64>,
    /// Latency is taken on one connection in so many.
    #[arg(long, default_value_t = 10)]
    pub sample: usize,
    /// The first so many connections never read.
    #[arg(long, default_value_t = 0)]
    pub frozen: usize,
    /// Seconds without a delivery after which the run ends.
    #[arg(long, default_value_t = 5.0)]
    pub stall_s: f64,
    /// Seconds to wait once all are connected (and, for `idle`, before memory is read).
    #[arg(long, default_value_t = 1.0)]
    pub settle_s: f64,
    /// Process of the server; its threads and children are counted with it.
    #[arg(long)]
    pub pid: Option<u32>,
    #[arg(long, default_value = "run")]
    pub label: String,
    /// Write the figures as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Write a page with the latency histogram and deliveries over time.
    #[arg(long)]
    pub html: Option<PathBuf>,
}

fn main() -> Result<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    match Cli::parse().command {
        Command::Run(load) => measure(&load, true),
        Command::Idle(load) => measure(&load, false),
        Command::Floor { port } => floor::serve(port),
    }
}

fn measure(load: &Load, publishing: bool) -> Result<()> {
    ensure!(load.payload.contains("%STAMP%"), "--payload must contain %STAMP%");
    ensure!(load.frozen < load.connections, "--frozen must leave somebody who reads");
    let before = process::sample(load.pid);
    let counts = Arc::new(Counts::default());
    let begun = Instant::now();
    let mut clients = Clients::connect(load, counts.clone())?;
    let connecting = begun.elapsed();
    let connected = process::sample(load.pid);
    clients.pump(Duration::from_secs_f64(load.settle_s))?;
    let settled = process::sample(load.pid);
    let mut report = Report::new(load, connecting, before, connected, settled);
    if publishing {
        let publisher = Publisher::start(load.clone(), counts)?;
        let run = clients.receive(load, &publisher)?;
        report.finish(load, run, publisher.finish()?, settled, process::sample(load.pid), clients.lost());
    }
    report.write(load)
}

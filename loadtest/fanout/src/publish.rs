//! Where messages come from: one connection, paced or in a closed loop.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::Load;
use crate::clients::{Counts, now_ns};

#[derive(Clone, Debug)]
pub enum Way {
    Http,
    Redis(String),
    Floor(String),
}

impl FromStr for Way {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "http" => Ok(Self::Http),
            Some(("redis", address)) => Ok(Self::Redis(address.into())),
            Some(("floor", address)) => Ok(Self::Floor(address.into())),
            _ => Err("is http, redis=HOST:PORT or floor=HOST:PORT".into()),
        }
    }
}

pub struct Publisher {
    thread: JoinHandle<Result<u64>>,
    stop: Arc<AtomicBool>,
    /// Sent so far.
    pub sent: Arc<AtomicU64>,
    pub done: Arc<AtomicBool>,
}

impl Publisher {
    pub fn start(load: Load, counts: Arc<Counts>) -> Result<Self> {
        let address = match &load.publish {
            Way::Http => load.server.clone(),
            Way::Redis(address) | Way::Floor(address) => address.clone(),
        };
        let socket = TcpStream::connect(&address).with_context(|| format!("publishing to {address}"))?;
        socket.set_nodelay(true)?;
        let (stop, sent, done) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let answers = socket.try_clone()?;
        let refused = Arc::new(AtomicBool::new(false));
        let noted = refused.clone();
        std::thread::spawn(move || watch(answers, &noted));
        let (halt, count, over) = (stop.clone(), sent.clone(), done.clone());
        let thread = std::thread::spawn(move || {
            let result = publish(&load, socket, &counts, &halt, &count, &refused);
            over.store(true, Ordering::Release);
            result.map(|()| count.load(Ordering::Acquire))
        });
        Ok(Self { thread, stop, sent, done })
    }

    /// Ends it; answers how many messages it sent.
    pub fn finish(self) -> Result<u64> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().map_err(|_| anyhow!("the publisher failed"))?
    }
}

/// Reads the answers away; the first refusal is shown and ends the run.
fn watch(mut answers: TcpStream, refused: &AtomicBool) {
    let mut buffer = vec![0; 65_536];
    while let Ok(read @ 1..) = answers.read(&mut buffer) {
        let text = &buffer[..read];
        let http_error = text.starts_with(b"HTTP/1.1 ") && !text.starts_with(b"HTTP/1.1 2");
        if (http_error || text.starts_with(b"-")) && !refused.swap(true, Ordering::Relaxed) {
            eprintln!("refused: {}", String::from_utf8_lossy(&text[..read.min(500)]));
        }
    }
}

fn publish(
    load: &Load,
    mut socket: TcpStream,
    counts: &Counts,
    stop: &AtomicBool,
    sent: &AtomicU64,
    refused: &AtomicBool,
) -> Result<()> {
    let pad = "x".repeat(load.pad_bytes);
    let readers = (load.connections - load.frozen) as u64;
    let each = load.expect.unwrap_or(readers).max(1);
    let begun = Instant::now();
    for number in 0..load.messages {
        match load.rate {
            Some(rate) => {
                let due = Duration::from_secs_f64(number as f64 / rate);
                std::thread::sleep(due.saturating_sub(begun.elapsed()));
            }
            None => {
                let (room, mut waits) = (|| counts.delivered.load(Ordering::Acquire) / each + load.window, 0);
                while number >= room() && !stop.load(Ordering::Acquire) {
                    waits += 1;
                    // At first only out of the way: who sleeps at once publishes in bursts, and bursts are cheaper.
                    if waits <= 20 {
                        std::thread::yield_now();
                    } else {
                        std::thread::sleep(Duration::from_micros(50));
                    }
                }
            }
        }
        if stop.load(Ordering::Acquire) || refused.load(Ordering::Relaxed) {
            break;
        }
        let message = load
            .payload
            .replace("%PAD%", &pad)
            .replace("%M%", &(number % 1000).to_string())
            .replace("%N%", &number.to_string())
            .replace("%STAMP%", &format!("@T{:020}", now_ns()));
        socket.write_all(&request(load, &message))?;
        sent.fetch_add(1, Ordering::Release);
    }
    Ok(())
}

fn request(load: &Load, message: &str) -> Vec<u8> {
    let bytes = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    match &load.publish {
        Way::Floor(_) => format!("{message}\n").into_bytes(),
        Way::Redis(_) => format!("*3\r\n{}{}{}", bytes("PUBLISH"), bytes(&load.channel), bytes(message)).into_bytes(),
        Way::Http => {
            let body = format!("{{\"channel\":\"{}\",\"data\":{message}}}", load.channel);
            let token = load.token.as_ref().map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
            format!(
                "POST /api/publish HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n{token}Content-Length: {}\r\n\r\n{body}",
                load.server,
                body.len()
            )
            .into_bytes()
        }
    }
}

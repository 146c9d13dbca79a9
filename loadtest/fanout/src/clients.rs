//! The connections: one thread, one poller, one buffer.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use memchr::memmem;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use crate::floor::KEY;
use crate::publish::Publisher;
use crate::{Load, frames};

/// What the publisher looks at.
#[derive(Default)]
pub struct Counts {
    pub delivered: AtomicU64,
}

#[derive(PartialEq, Eq)]
enum State {
    Connecting,
    Upgrading,
    Open,
    Frozen,
    Closed,
}

struct Client {
    socket: TcpStream,
    state: State,
    /// The beginning of a frame whose rest has not arrived.
    held: Vec<u8>,
    /// What comes are server-sent events.
    events: bool,
}

pub struct Clients {
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    buffer: Vec<u8>,
    counts: Arc<Counts>,
    open: usize,
    closed: usize,
    sample: usize,
    latency: Histogram<u64>,
    last: Instant,
}

/// What arrived.
pub struct Run {
    pub delivered: u64,
    pub wall: Duration,
    pub latency: Histogram<u64>,
    /// Deliveries in each tenth of a second.
    pub over_time: Vec<u64>,
}

/// Nanoseconds since the program began: publisher and clients share one clock.
pub fn now_ns() -> u64 {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    BEGUN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

impl Clients {
    /// Opens all connections, `burst` at a time.
    pub fn connect(load: &Load, counts: Arc<Counts>) -> Result<Self> {
        let server = load.server.to_socket_addrs()?.next().context("the server's address")?;
        let mut this = Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            clients: Vec::with_capacity(load.connections),
            buffer: vec![0; 1 << 20],
            counts,
            open: 0,
            closed: 0,
            sample: load.sample.max(1),
            latency: Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?,
            last: Instant::now(),
        };
        let mut shown = Instant::now();
        let patience = Instant::now() + Duration::from_secs(60);
        while this.open + this.closed < load.connections {
            while this.clients.len() < load.connections && this.clients.len() < this.open + this.closed + load.burst {
                this.dial(load, server)?;
            }
            this.turn(load, Duration::from_millis(100))?;
            ensure!(Instant::now() < patience, "{} of {} connections after a minute", this.open, load.connections);
            if shown.elapsed() > Duration::from_millis(500) {
                shown = Instant::now();
                eprint!("\r{} of {} connected ", this.open, load.connections);
            }
        }
        eprintln!("\r{} of {} connected ", this.open, load.connections);
        ensure!(this.closed == 0, "{} connections were refused", this.closed);
        for client in this.clients.iter_mut().take(load.frozen) {
            client.state = State::Frozen;
            this.poll.registry().deregister(&mut client.socket)?;
        }
        Ok(this)
    }

    fn dial(&mut self, load: &Load, server: SocketAddr) -> Result<()> {
        let number = self.clients.len();
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if load.sources > 0 && server.is_ipv4() {
            let source = 1 + (number % load.sources as usize) as u8;
            socket.bind(&SocketAddr::from(([127, 0, 0, source], 0)).into())?;
        }
        match socket.connect(&server.into()) {
            Err(error) if error.raw_os_error() != Some(115) => return Err(error.into()),
            _ => {}
        }
        let mut socket = TcpStream::from_std(socket.into());
        self.poll.registry().register(&mut socket, Token(number), Interest::READABLE | Interest::WRITABLE)?;
        self.clients.push(Client { socket, state: State::Connecting, held: Vec::new(), events: false });
        Ok(())
    }

    /// Reads for a while without publishing.
    pub fn pump(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.turn_reading(Duration::from_millis(20))?;
        }
        Ok(())
    }

    /// Reads until everything that was sent is there, or nothing comes any more.
    pub fn receive(&mut self, load: &Load, publisher: &Publisher) -> Result<Run> {
        self.counts.delivered.store(0, Ordering::Release);
        self.latency.reset();
        let begun = Instant::now();
        self.last = begun;
        let (mut over_time, mut seen, mut shown) = (Vec::new(), 0, Instant::now());
        let readers = (load.connections - load.frozen) as u64;
        loop {
            self.turn_reading(Duration::from_millis(20))?;
            let delivered = self.counts.delivered.load(Ordering::Acquire);
            let slot = begun.elapsed().as_millis() as usize / 100;
            over_time.resize(over_time.len().max(slot + 1), 0);
            over_time[slot] += delivered - seen;
            seen = delivered;
            if shown.elapsed() > Duration::from_millis(500) {
                shown = Instant::now();
                let sent = publisher.sent.load(Ordering::Acquire);
                eprint!("\r{sent} of {} sent, {delivered} deliveries ", load.messages);
            }
            let sent = publisher.sent.load(Ordering::Acquire);
            let all = publisher.done.load(Ordering::Acquire) && delivered >= sent * load.expect.unwrap_or(readers);
            if all || self.last.elapsed() > Duration::from_secs_f64(load.stall_s) {
                eprintln!("\r{sent} of {} sent, {delivered} deliveries ", load.messages);
                let wall = self.last - begun;
                return Ok(Run { delivered, wall, latency: self.latency.clone(), over_time });
            }
        }
    }

    /// Connections that ended before their time.
    pub fn lost(&self) -> usize {
        self.closed
    }

    fn turn_reading(&mut self, wait: Duration) -> Result<()> {
        self.poll_events(wait)?;
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            self.readable(event.token().0);
        }
        self.events = events;
        Ok(())
    }

    fn turn(&mut self, load: &Load, wait: Duration) -> Result<()> {
        self.poll_events(wait)?;
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let number = event.token().0;
            if self.clients[number].state == State::Connecting && event.is_writable() {
                self.upgrade(load, number)?;
            }
            if event.is_readable() || event.is_read_closed() {
                self.readable(number);
            }
        }
        self.events = events;
        Ok(())
    }

    fn poll_events(&mut self, wait: Duration) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn upgrade(&mut self, load: &Load, number: usize) -> Result<()> {
        let mut request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n",
            load.path.replace("%I%", &number.to_string()).replace("%M%", &(number % 1000).to_string()),
            load.server
        );
        for header in
            load.header.iter().cloned().chain(load.token.iter().map(|token| format!("Authorization: Bearer {token}")))
        {
            request.push_str(&header);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        let client = &mut self.clients[number];
        if let Some(error) = client.socket.take_error()? {
            bail!("connection {number}: {error}");
        }
        let mut request = request.into_bytes();
        if let Some(first) = &load.say {
            request.extend(frames::text(first.as_bytes()));
        }
        client.socket.write_all(&request)?;
        client.state = State::Upgrading;
        Ok(())
    }

    fn readable(&mut self, number: usize) {
        loop {
            let client = &mut self.clients[number];
            if matches!(client.state, State::Connecting | State::Frozen | State::Closed) {
                return;
            }
            let held = client.held.len();
            self.buffer[..held].copy_from_slice(&client.held);
            match client.socket.read(&mut self.buffer[held..]) {
                Ok(0) => return self.close(number),
                Ok(read) => {
                    self.received(number, held + read);
                    if held + read < self.buffer.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.close(number),
            }
        }
    }

    fn received(&mut self, number: usize, end: usize) {
        let mut at = 0;
        let buffer = std::mem::take(&mut self.buffer);
        if self.clients[number].state == State::Upgrading
            && let Some(head) = memmem::find(&buffer[..end], b"\r\n\r\n")
        {
            at = head + 4;
            self.clients[number].events = buffer.starts_with(b"HTTP/1.1 200");
            if self.clients[number].events || buffer.starts_with(b"HTTP/1.1 101") {
                self.clients[number].state = State::Open;
                self.open += 1;
            } else {
                eprintln!("\nrefused: {}", String::from_utf8_lossy(&buffer[..end.min(300)]));
                self.close(number);
            }
        }
        if self.clients[number].state == State::Open {
            let sampled = number.is_multiple_of(self.sample);
            let now = if sampled { now_ns() } else { 0 };
            let next = if self.clients[number].events { frames::next_event } else { frames::next };
            while let Some((first, begin, length)) = next(&buffer[at..end]) {
                let payload = &buffer[at + begin..at + begin + length];
                at += begin + length;
                match first & 0x0F {
                    9 => _ = self.clients[number].socket.write(&frames::control(10, payload)),
                    8 => {
                        self.close(number);
                        break;
                    }
                    // A ping of the Centrifuge protocol.
                    _ if payload == b"{}" => _ = self.clients[number].socket.write(&frames::text(b"{}")),
                    // Compressed: counted, but not looked into, as that would be the client's work.
                    _ if first & 0x40 != 0 => {
                        self.counts.delivered.fetch_add(1, Ordering::AcqRel);
                        self.last = Instant::now();
                    }
                    // What others publish, and the server's own notices, bear no stamp and do not count.
                    _ => {
                        if let Some(stamp) = memmem::find(payload, b"@T") {
                            self.counts.delivered.fetch_add(1, Ordering::AcqRel);
                            self.last = Instant::now();
                            if sampled {
                                self.latency.saturating_record(now.saturating_sub(stamp_at(payload, stamp + 2)));
                            }
                        }
                    }
                }
            }
        }
        let client = &mut self.clients[number];
        client.held.clear();
        client.held.extend_from_slice(&buffer[at.min(end)..end]);
        if client.held.is_empty() {
            client.held = Vec::new();
        }
        self.buffer = buffer;
    }

    fn close(&mut self, number: usize) {
        let client = &mut self.clients[number];
        if client.state == State::Open {
            self.open -= 1;
        }
        if client.state != State::Closed {
            client.state = State::Closed;
            self.closed += 1;
            let _ = self.poll.registry().deregister(&mut client.socket);
            let _ = client.socket.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// When the message was published: the twenty digits at `begin`.
fn stamp_at(payload: &[u8], begin: usize) -> u64 {
    let digits = payload.get(begin..begin + 20).and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

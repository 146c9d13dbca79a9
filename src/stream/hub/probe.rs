//! One shard driven by hand over real loopback sockets, in the caller's thread: what benches time and count.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use bytes::Bytes;
use mio::Events;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

use super::shard::Shard;
use super::{Beginning, Hub, HubOptions, Peer};
use crate::stream::audience::Watch;
use crate::stream::publication::Kind;
use crate::stream::{Audience, AudienceSpec, Channel, Publication, Sink, StreamMetrics, Tags};
use crate::wire::{Close, Incoming};

/// A hub of one shard and the clients' ends of its connections.
pub struct Probe {
    hub: Hub,
    shard: Shard,
    events: Events,
    runtime: Runtime,
    clients: Vec<TcpStream>,
    scratch: Vec<u8>,
}

struct Silent;

impl Peer for Silent {
    fn message(&mut self, _: Incoming<'_>, _: &mut Vec<Bytes>) -> Result<(), Close> {
        Ok(())
    }
}

impl Probe {
    /// Connects one client for each of `specs`.
    pub fn new(specs: Vec<AudienceSpec>) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().build()?;
        let options = HubOptions { shards: 1, ..HubOptions::default() };
        let (hub, mut shards) = Hub::assemble(options, StreamMetrics::default())?;
        let shard = shards.pop().ok_or(std::io::ErrorKind::NotFound)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut probe = Self {
            hub,
            shard,
            events: Events::with_capacity(64),
            runtime,
            clients: Vec::new(),
            scratch: vec![0; 1 << 20],
        };
        let mut shared: Vec<Arc<Audience>> = Vec::new();
        for spec in specs {
            let audience = match shared.iter().find(|audience| *audience.spec == spec) {
                Some(audience) => audience.clone(),
                None => {
                    let watch = |channel| Watch::new(probe.hub.activate(channel), Arc::new(Notify::new()));
                    let audience = Arc::new(Audience::new(spec.clone(), spec.channels.iter().map(watch).collect()));
                    shared.push(audience.clone());
                    audience
                }
            };
            let client = TcpStream::connect(listener.local_addr()?)?;
            let (socket, _) = listener.accept()?;
            socket.set_nonblocking(true)?;
            let (nowhere, ticket) = (audience.share_marks(Vec::new()), probe.hub.next_ticket());
            let (marks, from) = (nowhere.clone(), nowhere);
            let beginning = Beginning { ticket, marks, from, backlog: Vec::new(), books: Vec::new(), user: None };
            let ticket = probe.runtime.block_on(probe.hub.connect(audience, Box::new(Silent), beginning));
            probe.runtime.block_on(ticket.adopt(socket, Vec::new()));
            probe.shard.step(&mut probe.events);
            probe.clients.push(client);
        }
        Ok(probe)
    }

    /// From the broker's hand-over of `count` publications to the end of the writes. What is measured.
    #[inline(never)]
    pub fn deliver(&mut self, channel: &Channel, data: &Bytes, count: usize) {
        for _ in 0..count {
            let publication = Publication::new(channel.clone(), Kind::Data, data.clone(), Tags::new(), None);
            self.runtime.block_on(self.hub.deliver(Arc::new(publication)));
        }
        self.shard.step(&mut self.events);
    }

    /// Empties the clients' ends; answers how many bytes there were.
    pub fn drain(&mut self) -> std::io::Result<usize> {
        let mut total = 0;
        for client in &mut self.clients {
            client.set_nonblocking(true)?;
            while let Ok(read @ 1..) = client.read(&mut self.scratch) {
                total += read;
            }
        }
        Ok(total)
    }

    /// Deliveries so far.
    pub fn delivered(&self) -> u64 {
        self.hub.metrics().delivered.get()
    }
}

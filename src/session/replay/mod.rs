//! A client that begins in the past: it gets what was recorded, spaced as it was and divided by its speed, and slides
//! into the live stream where record and stream meet.
//!
//! Until then its socket belongs to a task, not to a shard: the task waits where the client does not read, so a replay
//! needs no queue. The seam is a resumption like any other: the record is read to its end between two turns of whoever
//! writes it, and the client's place is taken behind exactly that.

mod socket; // written with back-pressure
mod wish; // where to begin and how fast

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::socket::{Ended, Socket};
pub(super) use self::wish::{Travel, wrong};
use super::upgrade::{Sessions, adopt};
use crate::clock::Clock;
use crate::http::Problem;
use crate::stream::{Audience, Joining, Missed, Node, OnGap, Peer, Record, Recorded, Ticket};
use crate::telemetry::{Registry, name};
use crate::wire::{Close, Incoming, Reading};

/// Messages that are read from the record at once.
const PAGE: usize = 500;
/// Bytes that are written together.
const WRITE_BYTES: usize = 64 << 10;
/// A seam that could not be had is looked for again after this, so many times before the client is told of a gap.
const PAUSE: Duration = Duration::from_millis(50);
const SEAMS: usize = 5;
/// How long the record may fail before the client is sent away.
const PATIENCE: Duration = Duration::from_secs(10);

/// What replays need; cloning shares it.
#[derive(Clone)]
pub struct Replays {
    record: Arc<dyn Record>,
    clock: Clock,
    stop: CancellationToken,
    running: Gauge,
    sent: Counter,
}

impl Replays {
    /// Replays end when `stop` is cancelled: their clients are told to come again.
    pub fn new(record: Arc<dyn Record>, clock: Clock, stop: CancellationToken, registry: &mut Registry) -> Self {
        let (running, sent) = (Gauge::default(), Counter::default());
        registry.register(name::REPLAYS, "Clients that are in the past", running.clone());
        registry.register(name::REPLAYED, "Messages of the past that were sent", sent.clone());
        Self { record, clock, stop, running, sent }
    }
}

/// One client in the past.
pub(super) struct Replay {
    parts: Replays,
    node: Node,
    audience: Arc<Audience>,
    peer: Box<dyn Peer>,
    user: Arc<str>,
    from_ms: i64,
    speed: f64,
    /// The last of the record that it has been offered.
    number: i64,
}

impl Replay {
    /// Finds the place in the record, so that a client that cannot be served is told so in the handshake.
    pub async fn prepare(
        sessions: &Sessions,
        audience: Arc<Audience>,
        travel: &Travel,
        peer: Box<dyn Peer>,
        user: Arc<str>,
    ) -> Result<Box<Self>, Problem> {
        let Some(parts) = sessions.replays().cloned() else {
            return Err(wrong("from", "is not offered: this server keeps no record"));
        };
        let (from_ms, speed) = (travel.begins_ms(parts.clock.now())?, travel.speed());
        let number = parts.record.begin(from_ms).await.map_err(|error| {
            tracing::warn!(error = %format!("{error:#}"), "the record cannot be read");
            Problem::unavailable("the record cannot be read now; try again", 2)
        })?;
        let node = sessions.node().clone();
        Ok(Box::new(Self { parts, node, audience, peer, user, from_ms, speed, number }))
    }

    /// Plays until the client is live or gone; `first` is what it sent right behind its request.
    pub async fn run(self: Box<Self>, stream: TcpStream, first: Vec<u8>) {
        let running = self.parts.running.clone();
        running.inc();
        // Whatever ended it, the socket is closed and the place in the limits given back.
        let _ = self.travel(stream, first).await;
        running.dec();
    }

    async fn travel(mut self: Box<Self>, stream: TcpStream, mut first: Vec<u8>) -> Result<(), Ended> {
        let peer = std::mem::replace(&mut self.peer, Box::new(Nobody));
        let form = self.audience.spec().form;
        let reading = Reading {
            max_message_bytes: self.node.hub().options().max_message_bytes,
            deflated: form.deflate.is_some(),
        };
        let mut socket = Socket::new(stream, peer, self.node.hub().options(), reading, self.parts.stop.clone());
        socket.hear(&mut first).await?;
        if form.positioned {
            let notice = json!({ "message_type": "replay", "from_ms": self.from_ms, "speed": self.speed });
            socket.write(&form.dialect.encode(notice.to_string().as_bytes())).await?;
        }
        let (began, mut trials, mut failing) = (Instant::now(), 0, None);
        loop {
            let page = self.parts.record.after(&self.audience.spec().channels, self.number, PAGE).await;
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(error = %format!("{error:#}"), "the record cannot be read");
                    let since = *failing.get_or_insert_with(Instant::now);
                    if since.elapsed() > PATIENCE {
                        return Err(socket.close(Close::Restart).await);
                    }
                    socket.wait(Instant::now() + PAUSE).await?;
                    continue;
                }
            };
            failing = None;
            let end = page.len() < PAGE;
            let empty = page.is_empty();
            self.play(&mut socket, page, Some(began)).await?;
            socket.may_stay().await?;
            if !end || !(empty || self.has_caught_up(began)) {
                continue;
            }
            match self.join(&mut socket, trials).await? {
                Some(ticket) => {
                    let (stream, _, rest) = socket.into_parts();
                    adopt(ticket, stream, rest).await;
                    return Ok(());
                }
                None => trials += 1,
            }
            socket.wait(Instant::now() + PAUSE).await?;
        }
    }

    /// Sends what passes the filter, each at its time; without `began` at once.
    async fn play(&mut self, socket: &mut Socket, page: Vec<Recorded>, began: Option<Instant>) -> Result<(), Ended> {
        let (audience, mut out) = (self.audience.clone(), BytesMut::new());
        let spec = audience.spec();
        for entry in page {
            self.number = entry.number;
            if !spec.filter.passes(&entry.publication) {
                continue;
            }
            if let Some(began) = began {
                let due = began + self.after(entry.at_ms);
                if due > Instant::now() {
                    socket.write(&out.split()).await?;
                    socket.wait(due).await?;
                }
            }
            out.extend_from_slice(entry.publication.frame(spec.form, self.node.hub().metrics()));
            self.parts.sent.inc();
            if out.len() >= WRITE_BYTES {
                socket.write(&out.split()).await?;
            }
        }
        socket.write(&out).await
    }

    /// How long after the replay's begin something of that time is due.
    fn after(&self, at_ms: i64) -> Duration {
        let past_ms = u64::try_from(at_ms.saturating_sub(self.from_ms)).unwrap_or(0);
        Duration::from_millis(past_ms).div_f64(self.speed)
    }

    /// Whether what happens now would be due by now.
    fn has_caught_up(&self, began: Instant) -> bool {
        began.elapsed() >= self.after(self.parts.clock.now_ms())
    }

    /// Plays the record to its end and takes the place behind it. `None`: not yet.
    async fn join(&mut self, socket: &mut Socket, trial: usize) -> Result<Option<Ticket>, Ended> {
        let channels = self.audience.spec().channels.clone();
        let seam = match self.parts.record.seam(&channels, self.number, PAGE).await {
            Ok(Some(seam)) => seam,
            Ok(None) => return Ok(None),
            Err(error) => {
                tracing::warn!(error = %format!("{error:#}"), "no seam between record and stream");
                return Ok(None);
            }
        };
        self.play(socket, seam.rest, None).await?;
        let joining = Joining {
            since: seam.as_of.iter().map(|(_, position)| position.clone()).collect(),
            not_before: seam.as_of,
            // A client that was so slow that the history has gone on meanwhile goes on in the record.
            on_gap: if trial < SEAMS { OnGap::Refuse } else { OnGap::Announce },
            user: Some(self.user.clone()),
            ..Joining::default()
        };
        let peer = socket.lend_peer(Box::new(Nobody));
        match self.node.connect(self.audience.clone(), peer, joining).await {
            Ok(ticket) => Ok(Some(ticket)),
            Err(Missed { peer, .. }) => {
                drop(socket.lend_peer(peer));
                Ok(None)
            }
        }
    }
}

/// In the place of a peer that is elsewhere.
struct Nobody;

impl Peer for Nobody {
    fn message(&mut self, _: Incoming<'_>, _: &mut Vec<Bytes>) -> Result<(), Close> {
        Ok(())
    }
}

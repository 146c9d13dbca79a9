//! The task of one connection: commands in order, and what happens by time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::Channels;
use super::connect::Who;
use super::peer::{Input, Signs};
use super::poll::PollSub;
use super::rules::Asking;
use crate::auth::Identity;
use crate::stream::{Client, ShownInfo};
use crate::wire::Close;
use crate::wire::centrifuge::{
    Command, ConnectRequest, Disconnect, Encoding, Error, Fault, Push, Reply, Unsubscribe, Unsubscribed,
};

/// How often a client is written down anew where a map tells who is there.
pub(super) const RENEW: Duration = Duration::from_secs(27);

/// Why a command has no result.
pub(super) enum Failed {
    /// The answer says so.
    Fault(Fault),
    /// The connection ends.
    End(Disconnect),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Disconnect> for Failed {
    fn from(why: Disconnect) -> Self {
        Self::End(why)
    }
}

/// One channel of the connection.
pub(super) struct Sub {
    pub id: u64,
    /// By the server's wish.
    pub server_side: bool,
    /// When its token ends, in milliseconds since 1970.
    pub ends_at_ms: Option<i64>,
    pub info: Option<Arc<ShownInfo>>,
    /// The keys that it tracks, where it is one of those.
    pub poll: Option<PollSub>,
}

pub(super) struct Session {
    pub channels: Channels,
    pub client: Client,
    pub name: String,
    pub encoding: Encoding,
    pub signs: Arc<Signs>,
    /// Who the handshake showed, if anybody.
    pub shown: Option<Identity>,
    /// Once it has connected.
    pub who: Option<Who>,
    pub subs: HashMap<String, Sub>,
    pub next_sub: u64,
    /// Keys that it tracks, on all channels.
    pub tracked: Arc<AtomicUsize>,
    /// Maps that the client catches up with by pages, and since when.
    pub paging: HashMap<String, Instant>,
    /// When it is to be written down anew where maps tell who is there.
    pub renews_at: Option<Instant>,
    /// A connect that was answered with an error is the last command.
    pub failed: bool,
    pub queue: mpsc::WeakSender<Input>,
    /// Its name for `/emulation`, where commands come that way.
    pub emulated: Option<String>,
    /// What back ends may call it by.
    pub session: Option<String>,
    opened: Instant,
    /// Commands that may come now, and as of when.
    budget: (f64, Instant),
}

/// What a session begins with.
pub(super) struct Line {
    pub client: Client,
    pub encoding: Encoding,
    pub signs: Arc<Signs>,
    pub shown: Option<Identity>,
    pub emulated: Option<String>,
    pub queue: mpsc::WeakSender<Input>,
}

impl Session {
    pub fn new(channels: Channels, line: Line) -> Self {
        let Line { client, encoding, signs, shown, emulated, queue } = line;
        let now = Instant::now();
        let most = f64::from(channels.0.options.max_commands_per_s);
        let named = || (encoding == Encoding::Bare).then(|| uuid::Uuid::new_v4().to_string());
        Self {
            session: emulated.clone().or_else(named),
            name: client.name(),
            channels,
            client,
            encoding,
            signs,
            shown,
            who: None,
            subs: HashMap::new(),
            next_sub: 1,
            tracked: Arc::default(),
            paging: HashMap::new(),
            renews_at: None,
            failed: false,
            queue,
            emulated,
            opened: now,
            budget: (most, now),
        }
    }

    /// Until the connection ends, one way or the other.
    pub async fn run(mut self, mut inputs: mpsc::Receiver<Input>, first: Option<String>) {
        let mut revocations = self.channels.0.sessions.gate().watch_revocations();
        let mut end = match first {
            Some(request) => self.connect_one_way(request.as_bytes()).await.err(),
            None => None,
        };
        while end.is_none() {
            let due = self.next_due();
            let signs = self.signs.clone();
            let step = tokio::select! {
                input = inputs.recv() => match input {
                    Some(input) => self.input(input).await,
                    None => break,
                },
                () = tokio::time::sleep(due) => self.on_time().await,
                () = signs.look.notified() => Ok(()),
                revocation = revocations.recv() => match (revocation, self.identity()) {
                    (Ok(revocation), Some(identity)) if revocation.concerns(identity) => Err(Disconnect::InvalidToken),
                    (Err(RecvError::Lagged(_)), Some(identity)) => {
                        let holds = self.channels.0.sessions.gate().revocations().holds(identity);
                        if holds { Err(Disconnect::InvalidToken) } else { Ok(()) }
                    }
                    _ => Ok(()),
                },
            };
            end = match step {
                Ok(()) => self.forget_evicted().await.err(),
                Err(why) => Some(why),
            };
        }
        if let Some(why) = end {
            self.client.close(Close::Channels(why), None).await;
        }
        self.channels.0.known.remove(&self.name);
        for name in self.subs.keys() {
            self.leave_maps(name).await;
        }
    }

    async fn input(&mut self, input: Input) -> Result<(), Disconnect> {
        self.forget_evicted().await?;
        match input {
            Input::Frame(frame) => {
                self.signs.taken(frame.len());
                self.frame(&frame).await
            }
            Input::Order(order) => self.order(order).await,
        }
    }

    async fn frame(&mut self, frame: &[u8]) -> Result<(), Disconnect> {
        if self.encoding == Encoding::Bare {
            return if self.who.is_some() { Err(Disconnect::BadRequest) } else { self.connect_one_way(frame).await };
        }
        for command in self.encoding.commands(frame).map_err(|_| Disconnect::BadRequest)? {
            self.spend()?;
            if self.failed {
                return Err(Disconnect::BadRequest);
            }
            if command.id == 0 && command.send.is_none() {
                if !self.signs.pong() {
                    return Err(Disconnect::BadRequest);
                }
                continue;
            }
            if self.who.is_none() != command.connect.is_some() {
                return Err(Disconnect::BadRequest);
            }
            self.command(command).await?;
        }
        Ok(())
    }

    /// As many as come in a second may come at once.
    fn spend(&mut self) -> Result<(), Disconnect> {
        let most = f64::from(self.channels.0.options.max_commands_per_s);
        let (left, since) = self.budget;
        let left = (left + since.elapsed().as_secs_f64() * most).min(most);
        if left < 1.0 {
            return Err(Disconnect::TooManyRequests);
        }
        self.budget = (left - 1.0, Instant::now());
        Ok(())
    }

    async fn command(&mut self, command: Command) -> Result<(), Disconnect> {
        let id = command.id;
        let result = if let Some(request) = command.connect {
            self.connect(id, request).await
        } else if let Some(request) = command.subscribe {
            self.subscribe(id, request).await
        } else if let Some(request) = command.unsubscribe {
            self.unsubscribe(id, &request.channel).await
        } else if let Some(request) = command.publish {
            self.publish(id, request).await
        } else if let Some(request) = command.presence {
            self.presence(id, &request.channel).await
        } else if let Some(request) = command.presence_stats {
            self.presence_stats(id, &request.channel).await
        } else if let Some(request) = command.history {
            self.history(id, request).await
        } else if command.ping.is_some() {
            Err(Fault::NotAvailable.into())
        } else if command.send.is_some() {
            Err(Disconnect::NotAvailable.into())
        } else if command.rpc.is_some() {
            Err(Fault::MethodNotFound.into())
        } else if let Some(request) = command.refresh {
            self.refresh(id, &request.token).await
        } else if let Some(request) = command.sub_refresh {
            self.sub_refresh(id, request).await
        } else {
            Err(Disconnect::BadRequest.into())
        };
        match result {
            Ok(()) => Ok(()),
            Err(Failed::End(why)) => Err(why),
            Err(Failed::Fault(fault)) => {
                self.failed |= self.who.is_none();
                self.reply(Reply { id, error: Some(error(fault)), ..Reply::default() }).await;
                Ok(())
            }
        }
    }

    pub async fn reply(&self, reply: Reply) {
        self.client.send(self.encoding.reply(&reply)).await;
    }

    pub fn push_frame(&self, push: Push) -> Bytes {
        self.encoding.reply(&Reply { push: Some(push), ..Reply::default() })
    }

    pub fn identity(&self) -> Option<&Identity> {
        self.who.as_ref().and_then(|who| who.identity.as_ref())
    }

    pub fn asking(&self, channel: &str) -> Asking<'_> {
        let open = self.is_open();
        Asking {
            identity: self.who.as_ref().and_then(|who| who.with_rights(open)),
            user: self.who.as_ref().map_or("", |who| &who.user),
            open,
            subscribed: self.subs.contains_key(channel),
        }
    }

    pub fn is_open(&self) -> bool {
        self.channels.0.sessions.gate().is_open()
    }

    /// The hub has ended them, and told the client. To what the server has put it on it cannot come back by itself.
    async fn forget_evicted(&mut self) -> Result<(), Disconnect> {
        let evicted = self.signs.evicted();
        if evicted.is_empty() {
            return Ok(());
        }
        let mut server_side = false;
        let gone = self.subs.iter().filter(|(_, sub)| evicted.contains(&sub.id)).map(|(name, _)| name.clone());
        for name in gone.collect::<Vec<_>>() {
            server_side |= self.subs.remove(&name).is_some_and(|sub| sub.server_side);
            self.leave_maps(&name).await;
        }
        if server_side { Err(Disconnect::InsufficientState) } else { Ok(()) }
    }

    /// Until the next thing that happens by itself.
    fn next_due(&self) -> Duration {
        let Some(who) = &self.who else {
            let stale = Duration::from_millis(self.channels.0.options.stale_after_ms);
            return stale.saturating_sub(self.opened.elapsed());
        };
        let grace = self.channels.0.options.expired_after_ms as i64;
        let ends = self.subs.values().filter_map(|sub| sub.ends_at_ms).chain(who.ends_at_ms);
        let now = self.channels.0.clock.now_ms();
        let left = ends.min().map_or(3_600_000, |at| at.saturating_add(grace).saturating_sub(now).clamp(0, 3_600_000));
        let renewal = self.renews_at.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
        Duration::from_millis(left as u64).min(renewal)
    }

    async fn on_time(&mut self) -> Result<(), Disconnect> {
        if self.who.is_none() {
            let stale = Duration::from_millis(self.channels.0.options.stale_after_ms);
            return if self.opened.elapsed() >= stale { Err(Disconnect::Stale) } else { Ok(()) };
        };
        if self.renews_at.is_some_and(|at| at <= Instant::now()) {
            self.renew_on_maps().await;
        }
        let Some(who) = &self.who else { return Ok(()) };
        let grace = self.channels.0.options.expired_after_ms as i64;
        let now = self.channels.0.clock.now_ms();
        let over = |at: Option<i64>| at.is_some_and(|at| at.saturating_add(grace) <= now);
        if over(who.ends_at_ms) {
            return Err(Disconnect::Expired);
        }
        let ended = self.subs.iter().filter(|(_, sub)| over(sub.ends_at_ms));
        let ended: Vec<(String, bool)> = ended.map(|(name, sub)| (name.clone(), sub.server_side)).collect();
        for (name, server_side) in ended {
            if server_side {
                return Err(Disconnect::SubscriptionExpired);
            }
            self.take_off(&name, Unsubscribed::Expired.code(), Unsubscribed::Expired.reason()).await;
        }
        Ok(())
    }

    /// Ends a subscription and tells the client why.
    pub async fn take_off(&mut self, channel: &str, code: u32, reason: &str) {
        let Some(sub) = self.subs.remove(channel) else { return };
        let unsubscribe = Some(Unsubscribe { code, reason: reason.to_owned() });
        let push = Push { channel: channel.to_owned(), unsubscribe, ..Push::default() };
        self.client.unsubscribe(sub.id, self.push_frame(push)).await;
        self.leave_maps(channel).await;
    }

    async fn connect_one_way(&mut self, request: &[u8]) -> Result<(), Disconnect> {
        let request: ConnectRequest = serde_json::from_slice(request).map_err(|_| Disconnect::BadRequest)?;
        match self.connect(0, request).await {
            Ok(()) => Ok(()),
            Err(Failed::End(why)) => Err(why),
            Err(Failed::Fault(Fault::TokenExpired | Fault::Expired)) => Err(Disconnect::Expired),
            Err(Failed::Fault(Fault::TooManyRequests)) => Err(Disconnect::TooManyRequests),
            Err(Failed::Fault(Fault::PermissionDenied)) => Err(Disconnect::PermissionDenied),
            Err(Failed::Fault(_)) => Err(Disconnect::Internal),
        }
    }

    pub fn connected(&self) {
        self.signs.connected.store(true, Ordering::Relaxed);
    }
}

pub(super) fn error(fault: Fault) -> Error {
    Error { code: fault.code(), message: fault.message().to_owned(), temporary: fault.temporary() }
}

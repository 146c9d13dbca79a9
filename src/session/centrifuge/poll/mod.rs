//! Shared poll: clients name keys, one node asks a back end for all of them at once, and each client is told what has
//! changed of its own.
//!
//! A channel is polled on every node that has somebody on it. Whatever its back end says is told in that order: the
//! channel's voice is held from when it is taken in until it is on its way to the last client.

mod backend; // what a back end is asked, and answers
mod commands; // what clients ask
mod options;
mod rounds; // when it is asked
mod signature;
mod state; // who tracks what, and has what of it

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dashmap::DashMap;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::{Notify, Semaphore, mpsc};

pub use options::{PollMode, PollOptions, SharedPollOptions};
pub use state::PollItem;

use self::backend::Caller;
use self::signature::Signatures;
use self::state::{Counts, Most, State, Wanted};
use super::Channels;
use super::map::SubscriptionType;
use super::peer::Signs;
use crate::clock::Clock;
use crate::http::outbound;
use crate::stream::{Channel, Client, Publication, PublishError};
use crate::telemetry::{Registry, name};
use crate::wire::centrifuge::{Encoding, Event, Fault, Unsubscribed, event_frame};

/// What other nodes have been told that waits to be read; one more is lost, and the next round brings it.
const ROOM: usize = 4_096;

/// The channels of this node that are polled. Cloning shares them.
#[derive(Clone)]
pub(super) struct Polls(Arc<Inner>);

struct Inner {
    channels: DashMap<Channel, Arc<Polled>>,
    caller: Caller,
    signatures: Signatures,
    /// Requests to back ends that may begin now.
    permits: Semaphore,
    next: AtomicU64,
    clock: Clock,
    requests: Family<[(&'static str, &'static str); 1], Counter>,
    items: Family<[(&'static str, &'static str); 1], Counter>,
    deliveries: Counter,
    /// What the nodes are told of keys, once somebody here wants it.
    ear: OnceLock<mpsc::Sender<Arc<Publication>>>,
}

/// One channel.
struct Polled {
    channel: Channel,
    options: PollOptions,
    state: Mutex<State<Line>>,
    voice: tokio::sync::Mutex<()>,
    wake: Notify,
}

/// How a client is reached.
#[derive(Clone)]
pub(super) struct Line {
    pub client: Client,
    pub encoding: Encoding,
    pub signs: Arc<Signs>,
    /// The session's number for the subscription.
    pub sub: u64,
}

/// A client's place on a channel; it ends with the value.
pub(super) struct PollSub {
    id: u64,
    of: Arc<Polled>,
}

/// How nodes tell one another of a key.
#[derive(Serialize, Deserialize)]
struct Envelope {
    shared_poll: Sent,
}

#[derive(Serialize, Deserialize)]
struct Sent {
    key: String,
    data: Box<RawValue>,
    version: u64,
    epoch: String,
}

impl Polls {
    pub fn new(options: &SharedPollOptions, clock: Clock, registry: &mut Registry) -> Self {
        let (requests, items, deliveries) = (Family::default(), Family::default(), Counter::default());
        registry.register(name::POLL_REQUESTS, "Requests to back ends that are polled, by outcome", requests.clone());
        registry.register(name::POLL_ITEMS, "What back ends have said of keys, by what became of it", items.clone());
        registry.register(name::POLL_DELIVERIES, "Changes of keys, times clients that were told", deliveries.clone());
        // Every request has its own bound.
        let client = outbound::client(options.allow_private, Duration::from_secs(3_600));
        let client = client.inspect_err(|error| tracing::error!(%error, "back ends cannot be polled")).ok();
        let key = options.hmac_secret_key.as_ref().and_then(|secret| outbound::signing_key(secret.expose()));
        Self(Arc::new(Inner {
            channels: DashMap::new(),
            caller: Caller { client, key, allow_private: options.allow_private },
            signatures: Signatures::new(options),
            permits: Semaphore::new(options.concurrency_limit.clamp(1, Semaphore::MAX_PERMITS)),
            next: AtomicU64::new(1),
            clock,
            requests,
            items,
            deliveries,
            ear: OnceLock::new(),
        }))
    }

    /// A place for a client, and the epoch that its versions are of.
    fn enter(
        &self,
        channel: &Channel,
        options: &PollOptions,
        line: Line,
        tracked: Arc<AtomicUsize>,
    ) -> (PollSub, String) {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        // Held until the client is on it: a channel that nobody is on may go at any time.
        let entry = self.0.channels.entry(channel.clone()).or_insert_with(|| {
            let state = Mutex::new(State::new(options.mode, options.keep_latest_data));
            let (channel, options) = (channel.clone(), options.clone());
            let polled = Arc::new(Polled { channel, options, state, voice: Default::default(), wake: Notify::new() });
            tokio::spawn(self.clone().run(polled.clone()));
            polled
        });
        let mut state = entry.state();
        let encoding = line.encoding;
        state.enter(id, line, encoding, tracked);
        (PollSub { id, of: entry.clone() }, state.epoch.clone())
    }

    /// Takes in what is said of keys, and tells whoever tracks them.
    async fn settle(&self, polled: &Polled, items: Vec<PollItem>, epoch: &str, published: bool) {
        let _voice = polled.voice.lock().await;
        let (restarted, out, counts) = {
            let mut state = polled.state();
            let restarted = state.restarts(epoch);
            let (out, counts) = state.settle(polled.channel.as_str(), items, published);
            (restarted, out, counts)
        };
        self.count(counts);
        for (line, mut frames) in out {
            let all = match frames.len() {
                1 => frames.swap_remove(0),
                _ => frames
                    .iter()
                    .fold(BytesMut::new(), |mut all, frame| {
                        all.extend_from_slice(frame);
                        all
                    })
                    .freeze(),
            };
            line.client.send(all).await;
        }
        for line in restarted.into_iter().flatten() {
            let frame: Bytes = event_frame(
                line.encoding,
                polled.channel.as_str(),
                Event::Unsubscribe(Unsubscribed::InsufficientState),
            );
            // Before the client can know it, and come back.
            line.signs.evict(line.sub);
            line.client.unsubscribe(line.sub, frame).await;
        }
    }

    fn count(&self, counts: Counts) {
        let Counts { changed, unchanged, removed, ignored, told } = counts;
        let all = [("changed", changed), ("unchanged", unchanged), ("removed", removed), ("ignored", ignored)];
        for (result, count) in all.into_iter().filter(|(_, count)| *count > 0) {
            self.0.items.get_or_create(&[("result", result)]).inc_by(count);
        }
        self.0.deliveries.inc_by(told);
    }

    /// Where the channel's subscribers of this node hear what other nodes were told.
    fn ear(&self) -> mpsc::Sender<Arc<Publication>> {
        let ear = self.0.ear.get_or_init(|| {
            let (ear, mut heard) = mpsc::channel::<Arc<Publication>>(ROOM);
            let polls = self.clone();
            tokio::spawn(async move {
                while let Some(publication) = heard.recv().await {
                    polls.heard(&publication).await;
                }
            });
            ear
        });
        ear.clone()
    }

    async fn heard(&self, publication: &Publication) {
        let Some(polled) = self.0.channels.get(&publication.channel).map(|polled| polled.clone()) else { return };
        match serde_json::from_slice::<Envelope>(&publication.data) {
            Ok(Envelope { shared_poll: Sent { key, data, version, epoch } }) => {
                let data = Some(Bytes::from(String::from(Box::<str>::from(data))));
                self.settle(&polled, vec![PollItem { key, data, version, removed: false }], &epoch, true).await;
            }
            Err(error) => {
                tracing::warn!(%error, channel = %publication.channel, "what was published there is no key that is polled for");
            }
        }
    }
}

impl Polled {
    fn state(&self) -> MutexGuard<'_, State<Line>> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn most(&self) -> Most {
        let PollOptions { max_keys_per_connection: of_connection, max_keys: of_channel, .. } = self.options;
        Most { of_connection, of_channel }
    }
}

impl Drop for PollSub {
    fn drop(&mut self) {
        self.of.state().leave(self.id);
        self.of.wake.notify_one();
    }
}

impl Channels {
    /// Tells a key's new data to whoever tracks it. 108: the channel is not polled, or has no versions.
    pub async fn poll_publish(&self, name: &str, key: String, data: Bytes, of: (u64, String)) -> Result<(), Fault> {
        let (channel, options) = self.options_of(name)?;
        let versioned = options.shared_poll.mode == PollMode::Versioned;
        if options.subscription_type != SubscriptionType::SharedPoll || !versioned {
            return Err(Fault::NotAvailable);
        }
        let (version, epoch) = of;
        if version == 0 {
            return Err(Fault::BadRequest);
        }
        if options.shared_poll.publish_enabled && self.node().broker().is_shared() {
            let data: Box<RawValue> = serde_json::from_slice(&data).map_err(|_| Fault::BadRequest)?;
            let envelope = Envelope { shared_poll: Sent { key, data, version, epoch } };
            let envelope = serde_json::to_vec(&envelope).map_err(|_| Fault::BadRequest)?;
            return self.node().tell(&channel, envelope.into()).await.map_err(|error| match error {
                PublishError::NotJson(_) => Fault::BadRequest,
                PublishError::Unavailable(_) => {
                    tracing::warn!(%error, %channel, "a key could not be told to all nodes");
                    Fault::Internal
                }
            });
        }
        let polls = &self.0.polls;
        let polled = polls.0.channels.get(&channel).map(|polled| polled.clone());
        if let Some(polled) = polled {
            polls
                .settle(&polled, vec![PollItem { key, data: Some(data), version, removed: false }], &epoch, true)
                .await;
        }
        Ok(())
    }
}

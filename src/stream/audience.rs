//! An audience: the connections that are to get exactly the same bytes. Filters run once an audience, not once a client.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, OnceLock};

use tokio::sync::{Mutex, Notify, mpsc};

use super::line::Line;
use super::outbox::Marks;
use super::{Channel, Filter, FoldRule, HistoryOptions, Mark, Publication, WhenFull};
use crate::wire::Form;
use crate::wire::centrifuge::Delta;

/// What makes two subscribers equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AudienceSpec {
    /// The label in metrics.
    pub feed: &'static str,
    pub form: Form,
    pub channels: Vec<Channel>,
    pub filter: Filter,
    pub pace: Pace,
    /// What the one channel is called to these subscribers, where that is not its own name.
    pub alias: Option<Channel>,
    /// The server has put them on it. After a gap they cannot come back by themselves, so it is their session that is told.
    pub by_server: bool,
}

/// How messages may become fewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pace {
    pub when_full: WhenFull,
    /// Messages of one key in this time become one. 0: every message is sent.
    pub interval_ms: u32,
    pub folds: &'static [FoldRule],
}

/// One spec, shared by all its connections. While it lives, its channels are subscribed at the broker.
pub struct Audience {
    pub(super) id: u64,
    pub(super) spec: Arc<AudienceSpec>,
    pub(super) watches: Vec<Watch>,
    /// The last marks that were given out: connections that begin at the same place share them.
    marks: SyncMutex<Marks>,
}

impl Audience {
    pub(super) fn new(spec: AudienceSpec, watches: Vec<Watch>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { id, spec: Arc::new(spec), watches, marks: SyncMutex::new(Arc::new([])) }
    }

    /// Has what is published on its channels told within the process, too. A channel keeps the first ear that it is given.
    pub fn overhear(&self, ear: mpsc::Sender<Arc<Publication>>) {
        for watch in &self.watches {
            let _ = watch.active.ear.set(ear.clone());
        }
    }

    pub fn spec(&self) -> &AudienceSpec {
        &self.spec
    }

    pub(super) fn share_marks(&self, marks: Vec<Mark>) -> Marks {
        let mut last = self.marks.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if **last != *marks {
            *last = marks.into();
        }
        last.clone()
    }
}

/// A channel that somebody on this node listens to.
pub(super) struct ActiveChannel {
    pub channel: Channel,
    /// Small and stable while the channel is active: the shards index by it.
    pub id: u64,
    /// Connections a shard has, or is about to have, on this channel: where a publication must go.
    pub on_shard: Box<[AtomicU32]>,
    /// The same by form, and which of these are more than none: what is worth encoding before the shards are told.
    on_form: [AtomicU32; Form::COUNT],
    forms: AtomicU32,
    /// Who listens within the process.
    pub ear: OnceLock<mpsc::Sender<Arc<Publication>>>,
    /// Audiences that hold this channel.
    watchers: AtomicUsize,
    /// Whether the broker has confirmed the subscription; held across the broker call, so that nobody asks twice.
    pub subscribed: Mutex<bool>,
    /// Held while a publication is handed to the shards, and while a connection takes its place between two of them.
    pub line: Mutex<Line>,
}

/// The forms in which publications come as patches: JSON and Protobuf.
const PATCHED: u32 = 0b1001 << (Form::CHANNELS + Delta::Patch as usize);
const _: () = assert!(Form::COUNT <= u32::BITS as usize);

impl ActiveChannel {
    pub fn new(channel: Channel, shards: usize, history: HistoryOptions) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            channel,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            on_shard: (0..shards).map(|_| AtomicU32::new(0)).collect(),
            on_form: [const { AtomicU32::new(0) }; Form::COUNT],
            forms: AtomicU32::new(0),
            ear: OnceLock::new(),
            watchers: AtomicUsize::new(0),
            subscribed: Mutex::new(false),
            line: Mutex::new(Line::new(history)),
        }
    }

    /// One more connection wants this form.
    pub fn enter(&self, form: Form) {
        self.on_form[form.index()].fetch_add(1, Ordering::SeqCst);
        self.forms.fetch_or(1 << form.index(), Ordering::SeqCst);
    }

    pub fn leave(&self, form: Form) {
        let (count, bit) = (&self.on_form[form.index()], 1 << form.index());
        if count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.forms.fetch_and(!bit, Ordering::SeqCst);
            // Somebody came in between.
            if count.load(Ordering::SeqCst) > 0 {
                self.forms.fetch_or(bit, Ordering::SeqCst);
            }
        }
    }

    /// The forms that are wanted, a bit each by [`Form::index`].
    pub fn forms(&self) -> u32 {
        self.forms.load(Ordering::Relaxed)
    }

    pub fn wants_patches(&self) -> bool {
        self.forms() & PATCHED != 0
    }

    pub fn watched(&self) -> bool {
        self.watchers.load(Ordering::SeqCst) > 0
    }
}

/// Keeps a channel subscribed at the broker; the last one to go wakes whoever unsubscribes idle channels.
pub(super) struct Watch {
    pub active: Arc<ActiveChannel>,
    idle: Arc<Notify>,
}

impl Watch {
    pub fn new(active: Arc<ActiveChannel>, idle: Arc<Notify>) -> Self {
        active.watchers.fetch_add(1, Ordering::SeqCst);
        Self { active, idle }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.active.watchers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.idle.notify_one();
        }
    }
}

//! Whether a shard sleeps: a wake-up is a system call, so it is only paid for when somebody sleeps, and never left out
//! when something has arrived. The model check includes this very file with loom's atomics in place of the real ones.

use super::sync::{AtomicBool, Ordering, fence};

pub(super) struct Sleep {
    asleep: AtomicBool,
}

impl Sleep {
    pub fn new() -> Self {
        Self { asleep: AtomicBool::new(false) }
    }

    /// Behind putting something into the queue: whether the sleeper must be woken.
    pub fn must_wake(&self) -> bool {
        // Pairs with the fence in `may_sleep`: either we see it asleep, or it sees our command.
        fence(Ordering::SeqCst);
        self.asleep.swap(false, Ordering::SeqCst)
    }

    /// Says that the shard is about to sleep. `false`: something has arrived, do not.
    pub fn may_sleep(&self, nothing_waits: impl FnOnce() -> bool) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if nothing_waits() {
            return true;
        }
        self.awake();
        false
    }

    pub fn awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }
}

//! The limiter's memory: bounded whatever is thrown at it.
//!
//! Two generations a shard. A caller that is seen moves to the young one; when that is full it becomes the old one, and
//! what was old is forgotten. So the least recently seen go first, in constant time. To be forgotten by the choice of
//! others costs them a flood as large as the bound; it gives the forgotten one a fresh start and nothing else.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard};

use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;

const SHARDS: usize = 16;

/// Theoretical arrival times by caller.
pub(super) struct BoundedStore {
    shards: Vec<Mutex<Generations>>,
    hasher: RandomState,
    /// Of one generation of one shard.
    most: usize,
}

#[derive(Default)]
struct Generations {
    young: HashMap<u128, Nanos>,
    old: HashMap<u128, Nanos>,
}

impl BoundedStore {
    pub fn new(max_keys: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::new(), most: (max_keys / SHARDS / 2).max(1) }
    }

    fn each(&self) -> impl Iterator<Item = MutexGuard<'_, Generations>> {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

impl StateStore for BoundedStore {
    type Key = u128;

    fn measure_and_replace<T, F, E>(&self, key: &u128, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let shard = &self.shards[self.hasher.hash_one(key) as usize % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let before = shard.young.get(key).or_else(|| shard.old.get(key)).copied();
        let (result, after) = match f(before) {
            Ok((result, after)) => (Ok(result), Some(after)),
            // Who is refused is remembered all the more.
            Err(error) => (Err(error), before),
        };
        if let Some(after) = after {
            shard.young.insert(*key, after);
            if shard.young.len() >= self.most {
                shard.old = std::mem::take(&mut shard.young);
            }
        }
        result
    }
}

impl ShrinkableKeyedStateStore<u128> for BoundedStore {
    fn retain_recent(&self, drop_below: Nanos) {
        for mut shard in self.each() {
            shard.young.retain(|_, at| *at > drop_below);
            shard.old.retain(|_, at| *at > drop_below);
        }
    }

    fn shrink_to_fit(&self) {
        for mut shard in self.each() {
            shard.young.shrink_to_fit();
            shard.old.shrink_to_fit();
        }
    }

    fn len(&self) -> usize {
        self.each().map(|shard| shard.young.len() + shard.old.len()).sum()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;
    use governor::middleware::NoOpMiddleware;
    use governor::{Quota, RateLimiter};

    use super::*;

    type Limiter = RateLimiter<u128, BoundedStore, FakeRelativeClock, NoOpMiddleware<Nanos>>;

    #[test]
    fn a_million_addresses_take_bounded_memory_and_a_known_one_stays_limited() {
        const MOST: usize = 20_000;
        let clock = FakeRelativeClock::default();
        let quota = Quota::per_minute(NonZeroU32::new(5).unwrap());
        let limiter: Limiter = RateLimiter::new(quota, BoundedStore::new(MOST), clock.clone());
        let (loud, mut admitted) = (7_u128, 0);
        for address in 1_000_000..2_000_000_u128 {
            assert!(limiter.check_key(&address).is_ok());
            if address % 100 == 0 {
                admitted += usize::from(limiter.check_key(&loud).is_ok());
            }
        }
        assert!(limiter.len() <= MOST, "{}", limiter.len());
        assert_eq!(admitted, 5, "the flood of others does not make it forget the one that keeps coming");
        let capacity: usize =
            limiter.into_state_store().each().map(|shard| shard.young.capacity() + shard.old.capacity()).sum();
        assert!(capacity <= 3 * MOST, "{capacity}");
    }

    #[test]
    fn what_is_as_good_as_new_is_forgotten_by_the_clock() {
        let clock = FakeRelativeClock::default();
        let quota = Quota::per_minute(NonZeroU32::new(60).unwrap());
        let limiter: Limiter = RateLimiter::new(quota, BoundedStore::new(10_000), clock.clone());
        clock.advance(Duration::from_secs(100));
        for address in 0..1000 {
            assert!(limiter.check_key(&address).is_ok());
        }
        limiter.retain_recent();
        assert_eq!(limiter.len(), 1000);
        clock.advance(Duration::from_secs(5));
        limiter.retain_recent();
        limiter.shrink_to_fit();
        assert_eq!(limiter.len(), 0);
    }
}

//! How many connections there may be, in all and from one address.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use dashmap::DashMap;
use serde::Deserialize;

/// Bounds on WebSocket connections.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitOptions {
    /// Open connections on this node. One more gets 503.
    pub max_connections: usize,
    /// Open connections from one address (an IPv6 /64 counts as one). One more gets 429. 0: no bound.
    pub max_connections_per_address: usize,
    /// Messages that one client may send in a second. More closes it with 3013. 0: no bound.
    pub messages_per_second: u32,
    /// Whether a WebSocket without credentials is let in to show them in its first message. Off, only `?auth=message` is.
    pub first_message: bool,
    /// How long that first message may take.
    pub first_message_ms: u64,
}

impl Default for LimitOptions {
    fn default() -> Self {
        Self {
            max_connections: 1_000_000,
            max_connections_per_address: 0,
            messages_per_second: 100,
            first_message: false,
            first_message_ms: 5_000,
        }
    }
}

/// Which bound was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    Node,
    Address,
}

/// Counts connections. An address is in the map only while it has one, so the map is no larger than the first bound.
pub struct Limits {
    options: LimitOptions,
    open: AtomicUsize,
    by_address: DashMap<IpAddr, usize>,
}

impl Limits {
    pub fn new(options: LimitOptions) -> Arc<Self> {
        Arc::new(Self { options, open: AtomicUsize::new(0), by_address: DashMap::new() })
    }

    pub fn options(&self) -> &LimitOptions {
        &self.options
    }

    /// Takes a place; it is given back when the answer is dropped.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Result<Held, Full> {
        let address = network(address);
        if self.open.fetch_add(1, Ordering::SeqCst) >= self.options.max_connections {
            self.open.fetch_sub(1, Ordering::SeqCst);
            return Err(Full::Node);
        }
        let most = self.options.max_connections_per_address;
        if most > 0 {
            let mut count = self.by_address.entry(address).or_insert(0);
            if *count >= most {
                drop(count);
                self.open.fetch_sub(1, Ordering::SeqCst);
                return Err(Full::Address);
            }
            *count += 1;
        }
        Ok(Held { limits: self.clone(), address })
    }
}

/// A connection's place in the limits.
pub struct Held {
    limits: Arc<Limits>,
    address: IpAddr,
}

impl Held {
    pub fn options(&self) -> &LimitOptions {
        &self.limits.options
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.limits.open.fetch_sub(1, Ordering::SeqCst);
        if self.limits.options.max_connections_per_address > 0 {
            if let Some(mut count) = self.limits.by_address.get_mut(&self.address) {
                *count -= 1;
            }
            self.limits.by_address.remove_if(&self.address, |_, count| *count == 0);
        }
    }
}

/// How many messages a client has sent in this second.
#[derive(Default)]
pub(super) struct Rate {
    second: u32,
    count: u32,
}

impl Rate {
    /// Whether one more is within the bound.
    pub fn take(&mut self, most: u32, now: Instant) -> bool {
        static START: OnceLock<Instant> = OnceLock::new();
        let second = now.saturating_duration_since(*START.get_or_init(|| now)).as_secs() as u32;
        if second != self.second {
            *self = Self { second, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        most == 0 || self.count <= most
    }
}

/// One subscriber line has a whole IPv6 /64, so that is what counts as an address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_bound_and_the_next_one_begins_anew() {
        let (mut rate, now) = (Rate::default(), Instant::now());
        assert!((0..5).all(|_| rate.take(5, now)) && !rate.take(5, now));
        assert!(rate.take(5, now + std::time::Duration::from_secs(1)));
        assert!((0..1000).all(|_| rate.take(0, now)));
    }

    #[test]
    fn places_are_counted_and_given_back() {
        let limits =
            Limits::new(LimitOptions { max_connections: 3, max_connections_per_address: 2, ..LimitOptions::default() });
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let held = [limits.take(address).unwrap(), limits.take("::ffff:10.0.0.1".parse().unwrap()).unwrap()];
        assert_eq!(limits.take(address).err(), Some(Full::Address));
        let _other = limits.take("2001:db8::1".parse().unwrap()).unwrap();
        assert_eq!(limits.take("10.0.0.2".parse().unwrap()).err(), Some(Full::Node));
        drop(held);
        let _again = limits.take("2001:db8::2".parse().unwrap()).unwrap();
        assert_eq!(limits.take("2001:db8::3".parse().unwrap()).err(), Some(Full::Address));
        assert_eq!(limits.by_address.len(), 1);
    }
}

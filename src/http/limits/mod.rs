//! How much callers may ask for: by client address without a valid credential, otherwise by key or user; this node's own
//! count (governor), and that of all nodes where they share a Redis. No bound in open mode.

mod options;
mod redis;
mod store;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock, MonotonicClock};
use governor::{Quota, RateLimiter};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::{Problem, guard};
use crate::auth::{Gate, Identity, Proof};
use crate::telemetry::{Registry, name};

pub use options::RateOptions;

/// How often what has become as good as new is forgotten.
const SWEEP: Duration = Duration::from_secs(30);

type Label = [(&'static str, &'static str); 1];

/// Counts requests. Cloning shares it.
#[derive(Clone)]
pub struct Limits(Arc<Inner>);

struct Inner {
    address: Class,
    key: Class,
    user: Class,
    log_in_address: Class,
    log_in_account: Class,
    shared: Option<redis::Shared>,
    refused: Family<Label, Counter>,
    remembered: Family<Label, Gauge>,
}

/// Callers of one kind.
struct Class {
    name: &'static str,
    /// `None`: no bound.
    bound: Option<(Quota, RateLimiter<u128, store::BoundedStore, MonotonicClock>)>,
}

/// What kind of requests a layer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The API: 429 for who asks too much.
    Api,
    /// Posts of events: 503, since their client drops what gets a 4xx and sends again what gets a 5xx.
    Events,
    /// Streams: whoever shows a valid credential is let pass, since all reconnect at once after a restart; the bounds on
    /// connections hold instead.
    Streams,
    /// Log-ins and refreshes: by address, and stricter.
    LogIn,
}

/// The state of [`limit`].
#[derive(Clone)]
pub struct Limited {
    limits: Limits,
    gate: Gate,
    policy: Policy,
}

impl Limits {
    /// Fails when a Redis is given and cannot be reached.
    pub async fn new(options: &RateOptions, redis_url: Option<&str>, registry: &mut Registry) -> Result<Self, String> {
        let (refused, remembered, fallbacks) = (Family::default(), Family::default(), Counter::default());
        registry.register(
            name::RATE_LIMITED,
            "Requests refused for asking too much, by kind of caller",
            refused.clone(),
        );
        registry.register(name::RATE_LIMIT_KEYS, "Callers that the limiter remembers, by kind", remembered.clone());
        let help = "Requests that this node alone counted because Redis did not answer";
        registry.register(name::RATE_LIMIT_FALLBACKS, help, fallbacks.clone());
        let shared = match redis_url {
            Some(url) => {
                Some(redis::Shared::connect(url, Duration::from_millis(options.redis_timeout_ms), fallbacks).await?)
            }
            None => None,
        };
        let class = |name, per_minute| Class::new(name, per_minute, options.max_keys);
        Ok(Self(Arc::new(Inner {
            address: class("address", options.per_address),
            key: class("key", options.per_key),
            user: class("user", options.per_user),
            log_in_address: class("log_in_address", options.log_in_per_address),
            log_in_account: class("log_in_account", options.log_in_per_account),
            shared,
            refused,
            remembered,
        })))
    }

    /// The state for a layer of one policy.
    pub fn on(&self, policy: Policy, gate: &Gate) -> Limited {
        Limited { limits: self.clone(), gate: gate.clone(), policy }
    }

    /// Counts one log-in to an account; how long to wait when there were too many.
    pub async fn log_in_to(&self, account: &str) -> Result<(), Duration> {
        self.check(&self.0.log_in_account, hashed(account)).await
    }

    /// Forgets what says nothing any more, until `stop`.
    pub async fn sweep(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(SWEEP) => {}
            }
            let inner = &self.0;
            for class in [&inner.address, &inner.key, &inner.user, &inner.log_in_address, &inner.log_in_account] {
                if let Some((_, limiter)) = &class.bound {
                    limiter.retain_recent();
                    limiter.shrink_to_fit();
                    let remembered = i64::try_from(limiter.len()).unwrap_or(i64::MAX);
                    inner.remembered.get_or_create(&[("caller", class.name)]).set(remembered);
                }
            }
        }
        if let Some(shared) = &self.0.shared {
            shared.stop().await;
        }
    }

    /// This node's count first: who has used up all here has used up all everywhere, and a flood stays off Redis.
    async fn check(&self, class: &Class, key: u128) -> Result<(), Duration> {
        let Some((quota, limiter)) = &class.bound else { return Ok(()) };
        let mut wait = match limiter.check_key(&key) {
            Ok(()) => Duration::ZERO,
            Err(until) => until.wait_time_from(MonotonicClock.now()).max(Duration::from_millis(1)),
        };
        if wait.is_zero()
            && let Some(shared) = &self.0.shared
        {
            wait = shared.wait(class.name, key, *quota).await.unwrap_or_default();
        }
        if wait.is_zero() {
            return Ok(());
        }
        self.0.refused.get_or_create(&[("caller", class.name)]).inc();
        Err(wait)
    }

    /// Counts a request of a caller that is known, or of an address.
    async fn count(&self, policy: Policy, caller: Option<&Identity>, address: IpAddr) -> Result<(), Duration> {
        let inner = &self.0;
        match (policy, caller.map(|identity| (&identity.proof, &identity.subject))) {
            (Policy::LogIn, _) => self.check(&inner.log_in_address, network(address)).await,
            (Policy::Streams, Some(_)) | (_, Some((Proof::Open, _))) => Ok(()),
            (_, Some((Proof::ApiKey, subject))) => self.check(&inner.key, hashed(subject)).await,
            (_, Some((Proof::Token { .. }, subject))) => self.check(&inner.user, hashed(subject)).await,
            (_, None) => self.check(&inner.address, network(address)).await,
        }
    }
}

impl Class {
    fn new(name: &'static str, per_minute: u32, max_keys: usize) -> Self {
        let quota = NonZeroU32::new(per_minute).map(Quota::per_minute);
        let limiter = |quota| RateLimiter::new(quota, store::BoundedStore::new(max_keys), MonotonicClock);
        Self { name, bound: quota.map(|quota| (quota, limiter(quota))) }
    }
}

/// Middleware: finds out who is calling, for the guards behind it too, and refuses who asks too much.
pub async fn limit(State(limited): State<Limited>, mut request: Request, next: Next) -> Response {
    let Limited { limits, gate, policy } = limited;
    if gate.is_open() {
        return next.run(request).await;
    }
    let in_url = match policy {
        Policy::Streams => guard::InUrl::StreamToken,
        Policy::Events => guard::InUrl::EventKey,
        Policy::Api | Policy::LogIn => guard::InUrl::Nothing,
    };
    let caller = guard::Caller::of(&gate, &mut request, in_url).await;
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let address = peer.map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |ConnectInfo(peer)| peer.ip());
    if let Err(wait) = limits.count(policy, caller.known(), address).await {
        return refusal(policy, wait).into_response();
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// 429, or 503 where a 429 would lose what was sent.
pub(super) fn refusal(policy: Policy, wait: Duration) -> Problem {
    let wait_s = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    match policy {
        Policy::Events => Problem::unavailable("too many requests; try again later", wait_s),
        _ => Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "too many requests; try again later")
            .with_header(header::RETRY_AFTER, HeaderValue::from(wait_s)),
    }
}

/// One subscriber line has a whole IPv6 /64, so that is what counts as an address.
fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        IpAddr::V6(v6) => u128::from(v6) & !u128::from(u64::MAX),
    }
}

/// Subjects come in all lengths; what is kept of them does not.
fn hashed(subject: &str) -> u128 {
    Sha256::digest(subject.as_bytes()).iter().take(16).fold(0, |key, byte| (key << 8) | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_counts_as_one_address() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}

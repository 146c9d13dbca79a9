//! How the services are that this one stands on.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::Serialize;

/// A service that takes longer to say how it is counts as down.
const PROBE_WITHIN: Duration = Duration::from_secs(2);

/// Asks one service how it is. `Ok` and `Err` carry a short text for operators, fit for an open endpoint: no addresses,
/// no passwords.
pub struct Probe {
    name: &'static str,
    mandatory: bool,
    ask: Box<dyn Fn() -> Answer + Send + Sync>,
}

type Answer = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

impl Probe {
    /// A service without which this one cannot work.
    pub fn mandatory<F, A>(name: &'static str, ask: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<String, String>> + Send + 'static,
    {
        Self { name, mandatory: true, ask: Box::new(move || Box::pin(ask())) }
    }

    /// A service whose loss costs a function, but not the server.
    pub fn optional<F, A>(name: &'static str, ask: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<String, String>> + Send + 'static,
    {
        Self { mandatory: false, ..Self::mandatory(name, ask) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServiceState {
    Up,
    Down,
}

/// What one service answered.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ServiceHealth {
    #[serde(skip)]
    pub name: &'static str,
    pub status: ServiceState,
    pub mandatory: bool,
    pub latency_ms: f64,
    pub detail: String,
}

/// What all services answered, in the order of the probes.
#[derive(Clone, Debug)]
pub struct Report {
    pub services: Vec<ServiceHealth>,
}

impl Report {
    /// Each service, and whether it answers.
    pub fn services_up(&self) -> impl Iterator<Item = (&'static str, bool)> {
        self.services.iter().map(|service| (service.name, service.status == ServiceState::Up))
    }

    /// Whether every mandatory service is up.
    pub fn is_ready(&self) -> bool {
        self.services.iter().all(|service| service.status == ServiceState::Up || !service.mandatory)
    }

    /// `healthy`, `degraded` when only optional services are down, or `unhealthy`.
    pub fn status(&self) -> &'static str {
        match self.is_ready() {
            false => "unhealthy",
            true if self.services.iter().any(|service| service.status == ServiceState::Down) => "degraded",
            true => "healthy",
        }
    }
}

pub(super) async fn check(probes: &[Probe]) -> Report {
    Report { services: join_all(probes.iter().map(ask)).await }
}

async fn ask(probe: &Probe) -> ServiceHealth {
    let started = Instant::now();
    let (status, detail) = match tokio::time::timeout(PROBE_WITHIN, (probe.ask)()).await {
        Ok(Ok(detail)) => (ServiceState::Up, detail),
        Ok(Err(detail)) => (ServiceState::Down, detail),
        Err(_) => (ServiceState::Down, format!("no answer within {} s", PROBE_WITHIN.as_secs())),
    };
    // Microseconds are as exact as anybody needs.
    let latency_ms = started.elapsed().as_micros() as f64 / 1000.0;
    ServiceHealth { name: probe.name, status, mandatory: probe.mandatory, latency_ms, detail }
}

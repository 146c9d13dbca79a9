//! Alerts by e-mail and webhook, from the durable queue.
//!
//! A feed queues an alert under [`ALERT`] in the transaction of its row. The first worker turns it into one delivery
//! a recipient and webhook, each with its own retries, so that a webhook that fails repeats no mail. A delivery is made
//! at least once; its id is the same in every attempt.

mod alert; // what is told, and its wording
mod mail;
mod options;
mod sql;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::alert::Alert;
pub use self::mail::{Letter, Mailer};
pub use self::options::{AlertOptions, AlertOptionsError, Security, SmtpOptions};
use self::webhook::Webhooks;
use crate::clock::Clock;
use crate::db::Db;
use crate::queue::{Handler, Item, Outcome, Queue, Work};
use crate::tasks::Tasks;
use crate::telemetry::{Registry, name};

/// The topic of alerts, as feeds queue them.
pub const ALERT: &str = "alert";
/// The topic of single deliveries.
pub const DELIVERY: &str = "alert_delivery";

/// Sends alerts on. Cloning shares it.
#[derive(Clone)]
pub struct Alerts {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    clock: Clock,
    targets: Vec<Target>,
    cooldown: Duration,
    mailer: Option<Mailer>,
    webhooks: Webhooks,
    delivered: Family<Labels, Counter>,
}

/// Where one delivery goes.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Target {
    Mail(String),
    Webhook(String),
}

#[derive(Debug, Deserialize, Serialize)]
struct Delivery {
    delivery_id: Uuid,
    target: Target,
    alert: Alert,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    target: &'static str,
    outcome: &'static str,
}

impl Target {
    fn label(&self) -> &'static str {
        match self {
            Self::Mail(_) => "mail",
            Self::Webhook(_) => "webhook",
        }
    }
}

impl Alerts {
    pub fn new(
        db: Db,
        clock: Clock,
        options: &AlertOptions,
        smtp: &SmtpOptions,
        registry: &mut Registry,
    ) -> Result<Self, AlertOptionsError> {
        options.check(smtp)?;
        let delivered = Family::default();
        registry.register(
            name::ALERTS_DELIVERED,
            "Alerts by target (mail, webhook, none) and outcome (delivered, retried, dead, suppressed, logged)",
            delivered.clone(),
        );
        let mails = options.to.iter().cloned().map(Target::Mail);
        let webhooks = options.webhook_url.iter().cloned().map(Target::Webhook);
        let inner = Inner {
            db,
            clock,
            targets: mails.chain(webhooks).collect(),
            cooldown: Duration::from_secs(options.cooldown_s),
            mailer: Mailer::new(smtp)?,
            webhooks: Webhooks::new(options)?,
            delivered,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Works until the group ends: one task sends alerts on, one delivers.
    pub fn spawn(&self, queue: &Queue, tasks: &Tasks) {
        let (alerts, work, stop) = (self.clone(), queue.clone(), tasks.stop());
        tasks.spawn("alerts", async move { work.run(ALERT, FanOut(alerts), stop).await });
        let (alerts, work, stop) = (self.clone(), queue.clone(), tasks.stop());
        tasks.spawn("alert deliveries", async move { work.run(DELIVERY, Deliver(alerts), stop).await });
    }

    fn count(&self, target: &'static str, outcome: &'static str) {
        self.inner.delivered.get_or_create(&Labels { target, outcome }).inc();
    }
}

/// Turns an alert into its deliveries.
struct FanOut(Alerts);

impl Handler for FanOut {
    async fn handle(&self, item: &Item) -> Outcome {
        let alert: Alert = match item.parse() {
            Ok(alert) => alert,
            Err(outcome) => return outcome,
        };
        let inner = &self.0.inner;
        let now = inner.clock.now();
        if !inner.cooldown.is_zero() {
            let since = now - inner.cooldown;
            match sql::begin_cooldown(&inner.db, &alert.cooldown_key(), item.id, now, since).await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::debug!(kind = alert.kind, sku = alert.sku, "alert suppressed by its cooldown");
                    self.0.count("none", "suppressed");
                    return Outcome::Done;
                }
                Err(error) => return Outcome::Retry(error.to_string()),
            }
        }
        if inner.targets.is_empty() {
            tracing::warn!(
                kind = alert.kind,
                sku = alert.sku,
                title = alert.title,
                "alert; no recipient is configured"
            );
            self.0.count("none", "logged");
            return Outcome::Done;
        }
        let deliveries = inner.targets.iter().map(|target| {
            let delivery = Delivery { delivery_id: Uuid::now_v7(), target: target.clone(), alert: alert.clone() };
            Work::new(DELIVERY, &delivery)
        });
        Outcome::Then(deliveries.collect())
    }
}

/// Makes one delivery.
struct Deliver(Alerts);

impl Handler for Deliver {
    async fn handle(&self, item: &Item) -> Outcome {
        let Delivery { delivery_id, target, alert } = match item.parse() {
            Ok(delivery) => delivery,
            Err(outcome) => return outcome,
        };
        let inner = &self.0.inner;
        let (now, delivery_id) = (inner.clock.now(), delivery_id.to_string());
        let outcome = match (&target, &inner.mailer) {
            (Target::Mail(to), Some(mailer)) => mailer.deliver(&alert, to, &delivery_id, now).await,
            // Queued by a server that has a mail server configured; a worker of its own may not.
            (Target::Mail(_), None) => Outcome::Retry("no mail server is configured here".into()),
            (Target::Webhook(url), _) => inner.webhooks.deliver(&alert, url, &delivery_id, now).await,
        };
        let label = match &outcome {
            Outcome::Done | Outcome::Then(_) => "delivered",
            Outcome::Retry(_) => "retried",
            Outcome::Dead(_) => "dead",
        };
        self.0.count(target.label(), label);
        outcome
    }
}

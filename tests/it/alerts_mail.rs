//! Alerts by e-mail, to a real SMTP server.

use std::time::Duration;

use chrono::DateTime;
use fanfare::alerts::{ALERT, AlertOptions, Alerts, DELIVERY, Security, SmtpOptions};
use fanfare::auth::Secret;
use fanfare::clock::Clock;
use fanfare::queue::{Queue, QueueOptions};
use fanfare::tasks::Tasks;
use fanfare::telemetry::Registry;
use serde_json::{Value, json};

use crate::queue_work::metric;
use crate::support::{Smtp, TestDb, databases, eventually};

/// Workers that send alerts on, with pauses so short that a test can wait for them.
pub struct Bench {
    pub queue: Queue,
    pub clock: Clock,
    registry: Registry,
    tasks: Tasks,
}

impl Bench {
    pub fn start(test: &TestDb, options: AlertOptions, smtp: SmtpOptions) -> Self {
        let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let mut registry = Registry::default();
        let queue_options = QueueOptions { poll_ms: 10, backoff_initial_ms: 1_000, ..QueueOptions::default() };
        let queue = Queue::new(test.db.clone(), clock.clone(), queue_options, &mut registry);
        let alerts = Alerts::new(test.db.clone(), clock.clone(), &options, &smtp, &mut registry).unwrap();
        let tasks = Tasks::new();
        alerts.spawn(&queue, &tasks);
        Self { queue, clock, registry, tasks }
    }

    pub async fn alert(&self, alert: Value) {
        self.queue.push(ALERT, &alert).await.unwrap();
    }

    pub fn count(&self, target: &str, outcome: &str) -> u64 {
        metric(&self.registry, &format!(r#"alerts_delivered_total{{target="{target}",outcome="{outcome}"}}"#))
    }

    pub async fn wait_for(&self, target: &str, outcome: &str, count: u64) {
        eventually(&format!("{target} {outcome} {count}"), || async {
            (self.count(target, outcome) >= count).then_some(())
        })
        .await;
    }

    /// Waits until an attempt has failed, and lets the pause after it pass.
    pub async fn pass_pause(&self, target: &str, retried: u64) {
        self.wait_for(target, "retried", retried).await;
        let line = format!(r#"queue_items_finished_total{{topic="{DELIVERY}",outcome="retried"}}"#);
        eventually("the pause is written down", || async { (metric(&self.registry, &line) >= retried).then_some(()) })
            .await;
        self.clock.advance(Duration::from_secs(60));
    }

    pub async fn end(self) {
        assert!(self.tasks.drain(Duration::from_secs(10)).await.is_empty(), "the workers end in time");
    }
}

fn to(recipients: &[&str]) -> AlertOptions {
    AlertOptions { to: recipients.iter().map(|it| (*it).to_owned()).collect(), ..AlertOptions::default() }
}

fn by(smtp: &Smtp) -> SmtpOptions {
    SmtpOptions {
        host: Some(smtp.host().into()),
        port: Some(smtp.port()),
        from: Some("ファンファーレ <alerts@shop.example>".into()),
        security: Security::None,
        ..SmtpOptions::default()
    }
}

fn low(sku: &str) -> Value {
    json!({
        "kind": "stock_low", "title": "在庫わずか", "sku": sku, "item_id": 7, "name": "<b>緑茶</b> & \"tea\"",
        "figures": {"stock_quantity": 3, "min_stock_level": 10}, "at": "2027-01-15T08:00:00Z",
    })
}

#[tokio::test]
async fn each_recipient_gets_a_mail_in_both_languages() {
    let smtp = Smtp::start_with_login("fanfare", "correct horse").await;
    for test in databases().await {
        let options =
            SmtpOptions { user: Some("fanfare".into()), password: Some(Secret::new("correct horse")), ..by(&smtp) };
        let before = smtp.mails().len();
        let bench = Bench::start(&test, to(&["a@shop.example", "Böb <b@shop.example>"]), options);
        bench.alert(low("TEA-1")).await;
        let mails = smtp.wait_for(before + 2).await;
        let mut recipients: Vec<_> = mails.iter().flat_map(|mail| mail.to.clone()).collect();
        recipients.sort();
        recipients.dedup();
        assert_eq!(recipients, ["a@shop.example", "b@shop.example"]);
        for mail in &mails {
            assert_eq!(mail.from, "alerts@shop.example");
            assert!(mail.raw.contains("Auto-Submitted: auto-generated"), "{}", mail.raw);
            let [subject, text, html] = mail.texts().await.try_into().unwrap();
            assert_eq!(subject, "在庫が少なくなっています · Stock is low: TEA-1");
            assert!(text.contains("商品名 · Item: <b>緑茶</b> & \"tea\"") && text.contains("最低在庫 · Minimum: 10"));
            assert!(html.contains("&lt;b&gt;緑茶&lt;/b&gt; &amp; &quot;tea&quot;") && !html.contains("<b>緑茶"));
        }
        bench.wait_for("mail", "delivered", 2).await;
        bench.end().await;
    }
}

#[tokio::test]
async fn a_mail_waits_for_a_server_that_is_down_or_busy() {
    for test in databases().await {
        let mut smtp = Smtp::down();
        let bench = Bench::start(&test, to(&["a@shop.example"]), by(&smtp));
        bench.alert(low("TEA-1")).await;
        bench.pass_pause("mail", 1).await;
        bench.pass_pause("mail", 2).await;
        smtp.busy(true);
        smtp.restart().await;
        bench.pass_pause("mail", 3).await;
        smtp.busy(false);
        bench.clock.advance(Duration::from_secs(60));
        bench.wait_for("mail", "delivered", 1).await;
        assert_eq!(smtp.mails().len(), 1, "once");
        bench.end().await;
    }
}

#[tokio::test]
async fn a_rejected_recipient_is_a_dead_letter_and_does_not_keep_the_others_from_their_mail() {
    let smtp = Smtp::start().await;
    for test in databases().await {
        let before = smtp.mails().len();
        let bench = Bench::start(&test, to(&["reject-550@shop.example", "a@shop.example"]), by(&smtp));
        bench.alert(low("TEA-1")).await;
        bench.wait_for("mail", "dead", 1).await;
        assert_eq!(smtp.wait_for(before + 1).await.last().unwrap().to, ["a@shop.example"]);
        let dead =
            eventually("a dead letter", || async { bench.queue.list_dead(None, 0, 9).await.unwrap().pop() }).await;
        assert_eq!(dead.payload["target"]["mail"], "reject-550@shop.example");
        assert!(dead.last_error.unwrap().contains("told to refuse"));
        bench.end().await;
    }
}

#[tokio::test]
async fn neither_a_wrong_password_nor_a_server_without_tls_loses_a_mail_or_shows_it() {
    let smtp = Smtp::start_with_login("fanfare", "correct horse").await;
    let wrong = SmtpOptions { user: Some("fanfare".into()), password: Some(Secret::new("wrong")), ..by(&smtp) };
    let starttls = SmtpOptions { security: Security::Starttls, ..by(&smtp) };
    for (test, options) in databases().await.iter().zip([wrong, starttls]) {
        let bench = Bench::start(test, to(&["a@shop.example"]), options);
        bench.alert(low("TEA-1")).await;
        for attempt in 1..=2 {
            bench.pass_pause("mail", attempt).await;
        }
        assert!(smtp.mails().is_empty());
        assert_eq!(bench.count("mail", "dead"), 0);
        bench.end().await;
    }
}

#[tokio::test]
async fn alerts_of_one_kind_about_one_sku_are_throttled() {
    let smtp = Smtp::start().await;
    for test in databases().await {
        let before = smtp.mails().len();
        let bench = Bench::start(&test, to(&["a@shop.example"]), by(&smtp));
        bench.alert(low("TEA-1")).await;
        bench.wait_for("mail", "delivered", 1).await;
        bench.alert(low("TEA-1")).await;
        bench.wait_for("none", "suppressed", 1).await;
        bench.alert(low("TEA-2")).await;
        bench.wait_for("mail", "delivered", 2).await;
        bench.alert(json!({"kind": "stock_out", "sku": "TEA-1"})).await;
        bench.wait_for("mail", "delivered", 3).await;
        bench.clock.advance(Duration::from_secs(15 * 60));
        bench.alert(low("TEA-1")).await;
        bench.wait_for("mail", "delivered", 4).await;
        assert_eq!(bench.count("none", "suppressed"), 1);
        assert_eq!(smtp.mails().len(), before + 4);
        bench.end().await;
    }
}

#[tokio::test]
async fn without_recipients_an_alert_is_counted_and_a_broken_one_is_kept() {
    for test in databases().await {
        let bench = Bench::start(&test, AlertOptions::default(), SmtpOptions::default());
        bench.alert(low("TEA-1")).await;
        bench.wait_for("none", "logged", 1).await;
        bench.alert(json!({"no": "kind"})).await;
        let dead =
            eventually("a dead letter", || async { bench.queue.list_dead(None, 0, 9).await.unwrap().pop() }).await;
        assert!(dead.last_error.unwrap().contains("kind"));
        bench.end().await;
    }
}

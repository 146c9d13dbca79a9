//! Alerts by webhook, to a real HTTP server.

use std::process::Command;

use fanfare::alerts::{AlertOptions, SmtpOptions};
use fanfare::auth::Secret;
use serde_json::{Value, json};

use crate::alerts_mail::Bench;
use crate::support::{Webhook, WebhookRequest, databases, eventually, program};

const SECRET: &str = "a webhook secret, 0123456789abcdef";

fn to(hooks: &[&Webhook]) -> AlertOptions {
    AlertOptions {
        webhook_url: hooks.iter().map(|hook| hook.url().to_owned()).collect(),
        webhook_secret: Some(Secret::new(SECRET)),
        allow_private: true,
        ..AlertOptions::default()
    }
}

fn header<'a>(request: &'a WebhookRequest, name: &str) -> &'a str {
    request.headers.get(name).unwrap_or_else(|| panic!("{name}")).to_str().unwrap()
}

/// What Python's hmac makes of the same bytes: a receiver's view of the signature.
fn signature_by_python(timestamp: &str, body: &str) -> String {
    let script = "import hmac,sys; print(hmac.new(sys.argv[1].encode(), (sys.argv[2]+'.'+sys.argv[3]).encode(), 'sha256').hexdigest())";
    let output = Command::new(program("python3", &[])).args(["-c", script, SECRET, timestamp, body]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_webhook_is_signed_and_tried_again_with_the_same_delivery_id() {
    for test in databases().await {
        let mut hook = Webhook::start().await;
        hook.answer(&[503, 429]);
        let bench = Bench::start(&test, to(&[&hook]), SmtpOptions::default());
        let alert = json!({"kind": "price_change", "sku": "TEA-1", "name": "緑茶", "new_price": 148});
        bench.alert(alert.clone()).await;
        let mut ids = Vec::new();
        for attempt in 1..=3 {
            let request = hook.next().await;
            let body = std::str::from_utf8(&request.body).unwrap();
            assert_eq!(serde_json::from_str::<Value>(body).unwrap(), alert);
            assert_eq!(header(&request, "content-type"), "application/json");
            assert_eq!(header(&request, "x-fanfare-event"), "price_change");
            let timestamp = header(&request, "x-fanfare-timestamp");
            assert_eq!(timestamp, bench.clock.now().timestamp().to_string());
            let signature = header(&request, "x-fanfare-signature").strip_prefix("sha256=").unwrap();
            assert_eq!(signature, signature_by_python(timestamp, body));
            ids.push(header(&request, "x-fanfare-delivery").to_owned());
            if attempt < 3 {
                bench.pass_pause("webhook", attempt).await;
            }
        }
        ids.dedup();
        assert_eq!(ids.len(), 1, "{ids:?}");
        bench.wait_for("webhook", "delivered", 1).await;
        bench.end().await;
        assert_eq!(hook.waiting(), 0);
    }
}

#[tokio::test]
async fn a_webhook_that_is_gone_or_points_elsewhere_is_a_dead_letter_and_the_others_hear_once() {
    for test in databases().await {
        let (mut gone, mut moved, mut good) = (Webhook::start().await, Webhook::start().await, Webhook::start().await);
        gone.answer(&[410]);
        moved.answer(&[307]);
        let bench = Bench::start(&test, to(&[&gone, &moved, &good]), SmtpOptions::default());
        bench.alert(json!({"kind": "stock_low", "sku": "TEA-1"})).await;
        for hook in [&mut gone, &mut moved, &mut good] {
            hook.next().await;
        }
        bench.wait_for("webhook", "dead", 2).await;
        bench.wait_for("webhook", "delivered", 1).await;
        let mut dead = eventually("two dead letters", || async {
            let dead = bench.queue.list_dead(None, 0, 9).await.unwrap();
            (dead.len() == 2).then_some(dead)
        })
        .await;
        dead.sort_by_key(|letter| letter.last_error.clone());
        assert!(dead[0].last_error.as_ref().unwrap().contains("307"), "{dead:?}");
        assert!(dead[1].last_error.as_ref().unwrap().contains("410"), "{dead:?}");
        assert_eq!(gone.waiting() + moved.waiting() + good.waiting(), 0, "no redirect is followed, nothing repeated");

        // The operator has put it right and replays the dead letter.
        assert_eq!(dead[1].payload["target"]["webhook"], gone.url());
        assert!(bench.queue.replay(dead[1].id).await.unwrap());
        gone.next().await;
        bench.wait_for("webhook", "delivered", 2).await;
        bench.end().await;
    }
}

#[tokio::test]
async fn a_receiver_that_never_answers_is_a_failed_attempt() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    for test in databases().await {
        let options = AlertOptions {
            webhook_url: vec![url.clone()],
            allow_private: true,
            webhook_timeout_ms: 200,
            ..AlertOptions::default()
        };
        let bench = Bench::start(&test, options, SmtpOptions::default());
        bench.alert(json!({"kind": "stock_low", "sku": "TEA-1"})).await;
        bench.wait_for("webhook", "retried", 1).await;
        bench.end().await;
    }
}

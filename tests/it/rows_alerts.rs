//! From a sale to a mail and a webhook, through the whole server.

use serde_json::{Value, json};

use crate::support::{Fanfare, Settings, Smtp, Webhook, http};

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_that_leaves_little_reaches_mail_and_webhook() {
    let (smtp, mut webhook) = (Smtp::start().await, Webhook::start().await);
    let settings = Settings::new()
        .env("SMTP_HOST", smtp.host())
        .env("SMTP_PORT", smtp.port().to_string())
        .env("FROM_EMAIL", "Shop <shop@example.com>")
        .env("FANFARE__SMTP__SECURITY", "none")
        .env("FANFARE__ALERTS__TO", "buyer@example.com")
        .env("FANFARE__ALERTS__WEBHOOK_URL", webhook.url())
        .env("FANFARE__ALERTS__ALLOW_PRIVATE", "true");
    let server = Fanfare::start(settings).await;
    let url = format!("{}/api/v1/inventory", server.url());
    let item = json!({"sku": "TEA-1", "name": "緑茶", "stock_quantity": 12, "min_stock_level": 10});
    let item: Value = http().post(&url).json(&item).send().await.unwrap().json().await.unwrap();
    let adjust = format!("{url}/{}/adjust", item["id"]);
    let answer = http().post(adjust).json(&json!({"delta": -3})).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mails = smtp.wait_for(1).await;
    assert_eq!(mails.len(), 1);
    let texts = mails[0].texts().await.join("\n");
    assert!(texts.contains("TEA-1") && texts.contains("緑茶"), "{texts}");
    let told = webhook.next().await;
    let body: Value = serde_json::from_slice(&told.body).expect("json");
    let text = body.to_string();
    assert!(text.contains("stock_low") && text.contains("TEA-1"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_refused_in_one_line() {
    let long = "0123456789abcdef0123456789abcdef";
    let cases: [(&str, &str, &[&str], &str); 7] = [
        ("SECRET_KEY", "short", &["serve"], "SECRET_KEY"),
        ("REDIS_URL", "redis://127.0.0.1:1", &["serve"], "Redis"),
        ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none", &["serve"], "DATABASE_URL"),
        ("DATABASE_URL", "mysql://x", &["migrate"], "sqlite://"),
        ("FANFARE__STREAM__SHARD", "1", &["check-config"], "shard"),
        ("FANFARE__ALERTS__TO", "x@example.com", &["serve"], "SMTP_HOST"),
        ("LOG_LEVEL", "warn", &["serve", "--listen", "0.0.0.0:0"], "loopback"),
    ];
    for (name, value, args, word) in cases {
        let folder = crate::support::temp_dir("refused");
        let settings = Settings::new()
            .env(name, value)
            .env("FANFARE__REDIS__CONNECT_TIMEOUT_MS", "1000")
            .env("FANFARE__DATABASE__ACQUIRE_TIMEOUT_MS", "1000")
            .env("FANFARE__SERVER__DATA_DIR", folder.path().to_string_lossy());
        let (status, printed) = Fanfare::run(&settings, args).await;
        assert!(!status.success(), "{name}={value}: {printed}");
        let refusals: Vec<&str> = printed.lines().filter(|line| line.contains("fanfare: ")).collect();
        assert!(refusals.len() == 1 && refusals[0].contains(word), "{name}={value}: {printed}");
    }
    let settings = Settings::new().env("SECRET_KEY", long);
    let (status, printed) = Fanfare::run(&settings, &["check-config"]).await;
    assert!(status.success() && !printed.contains(long) && printed.contains("secret_key = \"***\""), "{printed}");
    let (status, token) = Fanfare::run(&settings, &["token", "--sub", "me"]).await;
    assert!(status.success() && token.matches('.').count() == 2, "{token}");
}

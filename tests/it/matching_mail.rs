//! The day's mails over a real SMTP server, on both engines.

use fanfare::args;
use fanfare::clock::Clock;
use serde_json::{Value, json};

use crate::matching_kit::{call, get, job, post, run_batch, start, user};
use crate::support::{Postgres, Settings, Smtp, databases, eventually, http};

#[tokio::test(flavor = "multi_thread")]
async fn each_user_gets_one_mail_a_day_and_can_end_them() {
    for url in [None, Some(Postgres::database().await.url)] {
        let smtp = Smtp::start().await;
        let settings = url.iter().fold(Settings::new(), |settings, url| settings.database(url));
        let settings = settings
            .env("SMTP_HOST", smtp.host())
            .env("SMTP_PORT", smtp.port().to_string())
            .env("FROM_EMAIL", "Jobs <jobs@example.com>")
            .env("FANFARE__SMTP__SECURITY", "none")
            .env("FANFARE__QUEUE__BACKOFF_INITIAL_MS", "200");
        let server = start(settings).await;
        for n in 1..=20 {
            post(&server, "/api/v2/jobs", job(n)).await;
        }
        post(&server, "/api/v2/users", user(1)).await;
        let mut english = user(2);
        english["language"] = json!("en");
        let english = post(&server, "/api/v2/users", english).await;
        let mut silent = user(3);
        silent["email_opt_in"] = json!(false);
        post(&server, "/api/v2/users", silent).await;
        let mut gone = user(4);
        gone["email"] = json!("reject-550-gone@example.com");
        let gone = post(&server, "/api/v2/users", gone).await;
        run_batch(&server, "daily_matching").await;
        // The server says "not now" at first: the mails wait.
        smtp.busy(true);
        assert_eq!(run_batch(&server, "email_generation").await["total"], 3);
        eventually("a first attempt", async || {
            let list = get(&server, "/api/v2/email?state=queued").await;
            (list["emails"][0]["attempts"].as_i64() > Some(0)).then_some(())
        })
        .await;
        smtp.busy(false);
        let mails = smtp.wait_for(2).await;
        for mail in &mails {
            let texts = mail.texts().await;
            let japanese = mail.to == ["user-1@example.com"];
            assert_eq!(texts.len(), 3, "subject, text and HTML");
            assert!(texts[0].contains(if japanese { "本日のおすすめ求人" } else { "Jobs for you today" }), "{texts:?}");
            assert!(texts[1].contains("カフェの店員を募集します") && texts[2].contains("<li>"));
            assert!(mail.raw.contains("List-Unsubscribe-Post: List-Unsubscribe=One-Click"), "{}", mail.raw);
        }
        eventually("both are marked as sent", async || {
            let list = get(&server, "/api/v2/email?state=sent").await;
            (list["pagination"]["total_items"] == 2).then_some(())
        })
        .await;
        let bounced = get(&server, &format!("/api/v2/users/{}", gone["id"])).await;
        assert!(bounced["bounced_at"].is_string(), "the server refused the address for good: {bounced}");
        assert_eq!(run_batch(&server, "email_generation").await["total"], 2, "nothing goes there any more");
        assert_eq!(get(&server, "/api/v2/email").await["pagination"]["total_items"], 3, "one a day");

        let preview = get(&server, &format!("/api/v2/email/preview/{}", english["id"])).await;
        let text = preview["text"].as_str().unwrap();
        let link = text.split("Stop these mails: ").nth(1).unwrap().trim();
        let path = link.split_once(":8000").unwrap().1;
        let page = http().get(format!("{}{path}", server.url())).send().await.unwrap();
        assert!(page.text().await.unwrap().contains("<form method=\"post\""));
        let user_path = format!("/api/v2/users/{}", english["id"]);
        assert_eq!(get(&server, &user_path).await["email_opt_in"], true, "looking ends nothing");
        assert_eq!(http().post(format!("{}{path}", server.url())).send().await.unwrap().status(), 200);
        assert_eq!(get(&server, &user_path).await["email_opt_in"], false);

        let bounce = json!({"email": "user-1@example.com", "reason": "550 no such user"});
        assert_eq!(call(&server, "POST", "/api/v2/email/bounces", bounce).await.0, 204);
        assert_eq!(get(&server, "/api/v2/email?state=bounced").await["pagination"]["total_items"], 2);
        assert_eq!(run_batch(&server, "email_generation").await["total"], 0, "nobody is left who takes mail");
        let nobody = json!({"email": "nobody@example.com"});
        assert_eq!(call(&server, "POST", "/api/v2/email/bounces", nobody).await.0, 404);
        assert_eq!(call(&server, "GET", "/api/v2/email/preview/999", Value::Null).await.0, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recommended_on_another_day_is_not_mailed() {
    for test in databases().await {
        let smtp = Smtp::start().await;
        let settings = Settings::new()
            .database(&test.url)
            .env("SMTP_HOST", smtp.host())
            .env("SMTP_PORT", smtp.port().to_string())
            .env("FROM_EMAIL", "Jobs <jobs@example.com>")
            .env("FANFARE__SMTP__SECURITY", "none");
        let server = start(settings).await;
        for n in 1..=3 {
            post(&server, "/api/v2/jobs", job(n)).await;
        }
        for n in 1..=2 {
            post(&server, "/api/v2/users", user(n)).await;
        }
        run_batch(&server, "daily_matching").await;
        let (now, sql) = (Clock::system().now(), "UPDATE recommendations SET created_at = $2 WHERE user_id = $1");
        let old = get(&server, "/api/v2/users?keyword=user-1").await["users"][0]["id"].as_i64().unwrap();
        assert_eq!(test.db.execute(sql, args![old, now - chrono::TimeDelta::hours(25)]).await.unwrap(), 1);
        run_batch(&server, "email_generation").await;
        let mails = smtp.wait_for(1).await;
        assert_eq!(mails[0].to, ["user-2@example.com"]);
        assert_eq!(get(&server, "/api/v2/email").await["pagination"]["total_items"], 1);
    }
}

//! The harness itself: each server starts, answers and ends.

use sqlx::{Connection, Executor};

use crate::support::{Fanfare, Postgres, Redis, Settings, Smtp, Webhook, http};

#[tokio::test]
async fn redis_starts_freezes_ends_and_comes_back() {
    let mut redis = Redis::start().await;
    assert_eq!(redis.command(&["SET", "a", "1"]).await, "+OK");
    assert_eq!(redis.publish("inventory:updates", "{}").await, 0);
    redis.stop_signal();
    redis.continue_signal();
    assert_eq!(redis.command(&["GET", "a"]).await, "$1\r\n1");
    redis.restart().await;
    assert_eq!(redis.command(&["GET", "a"]).await, "$-1");
    assert_eq!(redis.subscribers("inventory:updates").await, 0);
}

#[tokio::test]
async fn each_test_gets_its_own_database() {
    let (one, two) = (Postgres::database().await, Postgres::database().await);
    assert_ne!(one.name, two.name);
    let mut connection = sqlx::PgConnection::connect(&one.url).await.unwrap();
    connection.execute("CREATE TABLE here (id int)").await.unwrap();
    let mut connection = sqlx::PgConnection::connect(&two.url).await.unwrap();
    assert!(connection.execute("SELECT * FROM here").await.is_err());
}

#[tokio::test]
async fn a_cluster_of_ones_own_survives_a_crash() {
    let cluster = Postgres::start().await;
    let database = cluster.create_database().await;
    cluster.kill();
    assert!(sqlx::PgConnection::connect(&database.url).await.is_err());
    cluster.restart().await;
    sqlx::PgConnection::connect(&database.url).await.unwrap();
}

#[tokio::test]
async fn the_mail_server_starts_late() {
    let mut smtp = Smtp::down();
    smtp.restart().await;
    assert!(smtp.mails().is_empty());
}

#[tokio::test]
async fn the_webhook_answers_as_told() {
    let mut hook = Webhook::start().await;
    hook.answer(&[503]);
    let client = http();
    assert_eq!(client.post(hook.url()).body("one").send().await.unwrap().status(), 503);
    assert_eq!(client.post(hook.url()).body("two").send().await.unwrap().status(), 200);
    assert_eq!(hook.next().await.body, "one");
    assert_eq!(hook.next().await.body, "two");
}

#[tokio::test]
async fn fanfare_comes_back_on_its_port_with_its_rows_and_ends_when_asked() {
    let mut server = Fanfare::start(Settings::new()).await;
    let (client, items) = (http(), format!("{}/api/v1/inventory", server.url()));
    let item = serde_json::json!({"sku": "KEEP-1", "name": "kept"});
    assert_eq!(client.post(&items).json(&item).send().await.unwrap().status(), 201);
    server.kill9();
    assert!(client.get(&items).send().await.is_err());
    server.restart().await;
    let page: serde_json::Value = client.get(&items).send().await.unwrap().json().await.unwrap();
    assert_eq!(page["items"][0]["sku"], "KEEP-1");
    assert!(server.terminate().await.success(), "{}", server.log());
}

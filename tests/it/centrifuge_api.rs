//! What back ends do to channels and connections, on whatever node these are.

use serde_json::{Value, json};

use crate::centrifuge_kit::{API_KEY, Client, Kind, server};
use crate::support::{Fanfare, Redis, Settings, eventually};

async fn api(fanfare: &Fanfare, method: &str, body: Value) -> Value {
    let request = reqwest::Client::new().post(format!("{}/api/{method}", fanfare.url())).header("x-api-key", API_KEY);
    let answer = request.json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

#[tokio::test]
async fn orders_reach_connections_of_other_nodes() {
    let redis = Redis::start().await;
    let near = server(Settings::new().redis(&redis), "").await;
    let far = server(Settings::new().redis(&redis), "").await;
    let mut client = Client::connected(Kind::Js, &far, "ann").await;
    let mut spared = Client::connected(Kind::Python, &far, "bob").await;

    let order = json!({"user": "ann", "channel": "private:x"});
    assert_eq!(api(&near, "subscribe", order.clone()).await, json!({"result": {}}));
    assert_eq!(client.event("server subscribed").await["channel"], "private:x");
    api(&near, "publish", json!({"channel": "private:x", "data": {"n": 1}})).await;
    assert_eq!(client.event("server publication").await["data"]["n"], 1);
    api(&near, "unsubscribe", order).await;
    assert_eq!(client.event("server unsubscribed").await["channel"], "private:x");

    api(&near, "disconnect", json!({"user": "ann", "disconnect": {"code": 4501, "reason": "come not again"}})).await;
    let end = client.event("disconnected").await;
    assert_eq!((&end["code"], &end["reason"]), (&json!(4501), &json!("come not again")));
    spared.subscribe("chat:room", json!({})).await;
    api(&near, "refresh", json!({"user": "bob", "expired": true})).await;
    assert_eq!(spared.event("connecting").await["code"], 3005);
}

#[tokio::test]
async fn channels_are_looked_at_and_published_on() {
    let fanfare = server(Settings::new(), "").await;
    let mut client = Client::connected(Kind::Js, &fanfare, "ann").await;
    client.subscribe("chat:room", json!({})).await;
    let answer =
        api(&fanfare, "broadcast", json!({"channels": ["chat:room", "system:control"], "data": {"n": 1}})).await;
    assert_eq!(answer["result"]["responses"][0]["result"]["offset"], 1);
    assert_eq!(answer["result"]["responses"][1]["error"]["code"], 103);
    assert_eq!(client.event("publication").await["data"]["n"], 1);

    let batch = json!({"commands": [
        {"presence_stats": {"channel": "chat:room"}},
        {"history": {"channel": "chat:room", "limit": 10}},
        {"nothing": {}},
        {"publish": {"channel": "chat:room", "b64data": "eyJuIjoyfQ=="}},
    ]});
    let replies = api(&fanfare, "batch", batch).await;
    let replies = replies["replies"].as_array().unwrap();
    assert_eq!(replies[0]["presence_stats"], json!({"num_clients": 1, "num_users": 1}));
    assert_eq!(replies[1]["history"]["publications"], json!([{"offset": 1, "data": {"n": 1}}]));
    assert_eq!(replies[2]["error"]["code"], 104);
    assert_eq!(client.event("publication").await["data"]["n"], 2);

    let present = api(&fanfare, "presence", json!({"channel": "chat:room"})).await;
    let present: Vec<_> = present["result"]["presence"].as_object().unwrap().values().cloned().collect();
    assert_eq!(present[0]["user"], "ann");
    let channels = api(&fanfare, "channels", json!({"pattern": "chat:*"})).await;
    assert_eq!(channels["result"]["channels"], json!({"chat:room": {"num_clients": 1}}));
    let info = api(&fanfare, "info", json!({})).await;
    assert_eq!(info["result"]["nodes"][0]["num_clients"], 1);

    assert_eq!(api(&fanfare, "history_remove", json!({"channel": "chat:room"})).await, json!({"result": {}}));
    let history = api(&fanfare, "history", json!({"channel": "chat:room", "limit": 10})).await;
    assert_eq!((&history["result"]["publications"], &history["result"]["offset"]), (&json!([]), &json!(2)));

    client.call(json!({"call": "disconnect"})).await.unwrap();
    eventually("nobody is there", async || {
        let stats = api(&fanfare, "presence_stats", json!({"channel": "chat:room"})).await;
        (stats["result"]["num_clients"] == 0).then_some(())
    })
    .await;
    let transport = reqwest::Client::new()
        .post(format!("{}/api/presence", fanfare.url()))
        .header("x-api-key", API_KEY)
        .header("x-centrifugo-error-mode", "transport")
        .json(&json!({"channel": "unknown:x"}));
    let answer = transport.send().await.unwrap();
    assert_eq!(answer.status(), 404);
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], 102);
}

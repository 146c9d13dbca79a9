//! The shards' figures add up: every delivery is in the latency histogram, every write in the histogram of frames.

use serde_json::json;

use crate::support::{Fanfare, Settings, eventually, http, next_json};

async fn metric(server: &Fanfare, name: &str) -> f64 {
    let text = http().get(format!("{}/metrics", server.url())).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("fanfare_{name} ")));
    line.unwrap_or_else(|| panic!("{name} in {text}")).parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_delivery_and_every_write_is_counted_once() {
    let server = Fanfare::start(Settings::new().env("FANFARE__STREAM__SHARDS", "2")).await;
    let mut clients = Vec::new();
    for i in 0..10 {
        // Half of them filtered: these get every second message.
        clients.push(server.ws(if i % 2 == 0 { "/ws/price" } else { "/ws/price?sku=B" }).await);
    }
    for i in 0..20 {
        let data = json!({"message_type": "price_update", "sku": if i % 2 == 0 { "A" } else { "B" }, "n": i});
        let body = json!({"channel": "price:updates", "data": data});
        let answer = http().post(format!("{}/api/publish", server.url())).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    for (i, client) in clients.iter_mut().enumerate() {
        for _ in 0..if i % 2 == 0 { 20 } else { 10 } {
            next_json(client).await;
        }
    }
    let deliveries = (5 * 20 + 5 * 10) as f64;
    let counted = async || (metric(&server, "delivery_latency_seconds_count").await == deliveries).then_some(());
    eventually("the last turn's figures", counted).await;
    assert_eq!(metric(&server, "deliveries_total").await, deliveries);
    assert_eq!(metric(&server, "deliveries_filtered_total").await, (5 * 10) as f64);
    let writes = metric(&server, "websocket_writes_total").await;
    assert_eq!(metric(&server, "websocket_frames_per_write_count").await, writes);
    assert_eq!(metric(&server, "websocket_frames_per_write_sum").await, deliveries);
    assert_eq!(metric(&server, "websocket_pending_bytes").await, 0.0);
    assert_eq!(metric(&server, "websocket_connections_pending").await, 0.0);
}

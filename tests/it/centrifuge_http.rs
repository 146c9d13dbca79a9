//! The Centrifuge protocol without a WebSocket: streams in bodies, commands by requests of their own.

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::centrifuge_kit::{API_KEY, now_s, server, token};
use crate::support::{Fanfare, PATIENCE, Redis, Settings, http};

/// The body of an answer that goes on.
struct Body {
    answer: reqwest::Response,
    text: String,
}

impl Body {
    async fn open(answer: reqwest::Response) -> Self {
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["x-accel-buffering"], "no");
        assert!(!answer.headers().contains_key("content-encoding"), "messages do not wait to be compressed");
        Self { answer, text: String::new() }
    }

    /// The next message; `None`: the body has ended.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((line, rest)) = self.text.split_once('\n') {
                let line = line.trim_end().strip_prefix("data: ").unwrap_or(line.trim_end()).to_owned();
                self.text = rest.to_owned();
                if !line.is_empty() && line != "{}" {
                    return Some(serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}")));
                }
                continue;
            }
            let more = timeout(PATIENCE, self.answer.chunk()).await.expect("nothing comes");
            self.text.push_str(std::str::from_utf8(&more.unwrap()?).unwrap());
        }
    }
}

fn first(user: &str) -> String {
    json!({"id": 1, "connect": {"token": token(json!({"sub": user, "exp": now_s() + 600}))}}).to_string()
}

async fn open(fanfare: &Fanfare, path: &str, body: String) -> Body {
    let url = format!("{}/connection/{path}", fanfare.url());
    Body::open(http().post(url).header("accept-encoding", "gzip, br").body(body).send().await.unwrap()).await
}

async fn command(fanfare: &Fanfare, connected: &Value, commands: &str) -> u16 {
    let body = json!({"session": connected["session"], "node": connected["node"], "data": commands});
    let url = format!("{}/emulation", fanfare.url());
    http().post(url).json(&body).send().await.unwrap().status().as_u16()
}

async fn publish(fanfare: &Fanfare, channel: &str, n: u32) {
    let request = http().post(format!("{}/api/publish", fanfare.url())).header("x-api-key", API_KEY);
    let body = json!({"channel": channel, "data": {"n": n}});
    assert_eq!(request.json(&body).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_reach_their_connection_from_any_node() {
    let redis = Redis::start().await;
    let (one, other) =
        (server(Settings::new().redis(&redis), "").await, server(Settings::new().redis(&redis), "").await);
    for path in ["http_stream", "sse"] {
        let mut body = open(&one, path, first("ann")).await;
        let connected = body.next().await.unwrap()["connect"].take();
        assert!(connected["session"].as_str().unwrap().len() == 36, "{connected}");
        for (node, channel) in [(&one, "chat:near"), (&other, "chat:far")] {
            let subscribe = json!({"id": 2, "subscribe": {"channel": channel}}).to_string();
            assert_eq!(command(node, &connected, &subscribe).await, 204);
            let reply = body.next().await.unwrap();
            assert!(reply["subscribe"].is_object(), "{path} {channel}: {reply}");
            publish(&other, channel, 1).await;
            let heard = body.next().await.unwrap();
            assert_eq!((&heard["push"]["channel"], &heard["push"]["pub"]["data"]["n"]), (&json!(channel), &json!(1)));
        }
        // In the order in which they were accepted.
        for id in 10..30 {
            assert_eq!(command(&one, &connected, &json!({"id": id, "rpc": {}}).to_string()).await, 204);
        }
        for id in 10..30 {
            assert_eq!(body.next().await.unwrap()["id"], id, "{path}");
        }
        // What breaks the protocol ends it with a word and its code.
        assert_eq!(command(&one, &connected, "nonsense").await, 204);
        let last = body.next().await.unwrap();
        assert_eq!(last, json!({"push": {"disconnect": {"code": 3501, "reason": "bad request"}}}), "{path}");
        assert_eq!(body.next().await, None);
        assert_eq!(command(&one, &connected, "{}").await, 404, "the session has ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_command_is_refused() {
    let fanfare = server(Settings::new(), "").await;
    let mut body = open(&fanfare, "http_stream", first("ann")).await;
    let connected = body.next().await.unwrap()["connect"].take();
    assert_eq!(command(&fanfare, &connected, &"x".repeat(70_000)).await, 413);
    assert_eq!(command(&fanfare, &connected, "").await, 400);
    let elsewhere = json!({"session": "none", "node": "none", "data": "{}"});
    let post = http().post(format!("{}/emulation", fanfare.url()));
    assert_eq!(post.json(&elsewhere).send().await.unwrap().status(), 404);
    let unread = http().post(format!("{}/emulation", fanfare.url())).body("[]").send().await.unwrap();
    assert_eq!(unread.status(), 400);
    let empty = http().post(format!("{}/connection/http_stream", fanfare.url())).send().await.unwrap();
    assert_eq!(empty.status(), 400);
    // A client that is gone takes its place with it.
    drop(body);
    let gone = async {
        while command(&fanfare, &connected, "{}").await != 404 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone).await.expect("the session stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_only_listen_hear_by_http_too() {
    let mut fanfare = server(Settings::new(), "").await;
    let claims = json!({"sub": "ann", "exp": now_s() + 600, "channels": ["private:x"]});
    let request = json!({"token": token(claims)}).to_string();
    let mut bodies = vec![open(&fanfare, "uni_http_stream", request.clone()).await];
    bodies.push(open(&fanfare, "uni_sse", request.clone()).await);
    let mut url = url::Url::parse(&format!("{}/connection/uni_sse", fanfare.url())).unwrap();
    url.query_pairs_mut().append_pair("cf_connect", &request);
    bodies.push(Body::open(http().get(url).send().await.unwrap()).await);
    for body in &mut bodies {
        let connect = body.next().await.unwrap();
        assert!(connect["connect"]["subs"]["private:x"].is_object(), "{connect}");
    }
    publish(&fanfare, "private:x", 7).await;
    for body in &mut bodies {
        let heard = body.next().await.unwrap();
        assert_eq!(heard, json!({"channel": "private:x", "pub": {"data": {"n": 7}, "offset": 1}}));
    }
    let ended = tokio::spawn(async move { fanfare.terminate().await });
    for body in &mut bodies {
        let last = body.next().await.unwrap();
        assert_eq!(last, json!({"disconnect": {"code": 3001, "reason": "shutdown", "reconnect": true}}));
        assert_eq!(body.next().await, None);
    }
    assert!(ended.await.unwrap().success());
}

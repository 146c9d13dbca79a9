//! The client programs that users have, in Python and in JavaScript, against the real server behind a real Redis:
//! what an existing back end PUBLISHes arrives at each of them, to the byte.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{Instant, timeout};

use crate::support::{Fanfare, PATIENCE, Redis, Settings};

/// Requirements §1.1: the endpoints and the Redis channels behind them.
const ENDPOINTS: [(&str, &[&str]); 5] = [
    ("/ws", &["system:notifications"]),
    ("/ws/inventory", &["inventory:updates", "stock:alerts"]),
    ("/ws/price", &["price:updates", "price:alerts"]),
    ("/ws/progress", &["progress:events"]),
    ("/ws/match", &["match:notifications", "batch:progress"]),
];

#[tokio::test]
async fn every_endpoint_passes_its_redis_channels_on_to_the_byte() {
    let redis = Redis::start().await;
    let fanfare = Fanfare::start(Settings::new().redis(&redis)).await;
    for (path, channels) in ENDPOINTS {
        let url = fanfare.ws_url(path);
        let mut listeners = [
            Listener::python(&url, &[]).await,
            Listener::node(&url, &[]).await,
            Listener::python(&url, &["--msgpack"]).await,
        ];
        for channel in channels {
            settle(&redis, channel, &mut listeners).await;
            for text in awkward_messages(channel) {
                redis.publish(channel, &text).await;
                let [python, node, msgpack] = &mut listeners;
                for listener in [python, node] {
                    let seen = listener.message().await;
                    assert_eq!(seen["text"], json!(text), "{} on {path}, from {channel}", listener.name);
                }
                let expected: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(msgpack.message().await["data"], expected, "MessagePack on {path}, from {channel}");
            }
        }
    }
}

#[tokio::test]
async fn a_client_of_one_feed_hears_nothing_of_another() {
    let redis = Redis::start().await;
    let fanfare = Fanfare::start(Settings::new().redis(&redis)).await;
    let mut price = [Listener::python(&fanfare.ws_url("/ws/price"), &[]).await];
    let mut inventory = [Listener::node(&fanfare.ws_url("/ws/inventory"), &[]).await];
    settle(&redis, "price:updates", &mut price).await;
    settle(&redis, "inventory:updates", &mut inventory).await;

    redis.publish("inventory:updates", r#"{"message_type":"inventory_update","sku":"A-1"}"#).await;
    assert_eq!(inventory[0].message().await["data"]["sku"], "A-1");
    // Were it to hear the stock, it would have heard it before this.
    redis.publish("price:updates", r#"{"message_type":"price_update","sku":"B-2"}"#).await;
    assert_eq!(price[0].message().await["data"]["sku"], "B-2");
}

#[tokio::test]
async fn the_javascript_loop_comes_back_after_a_restart() {
    let redis = Redis::start().await;
    let mut fanfare = Fanfare::start(Settings::new().redis(&redis)).await;
    let mut listeners = [Listener::node(&fanfare.ws_url("/ws/inventory"), &["--retry-ms", "2000"]).await];
    settle(&redis, "inventory:updates", &mut listeners).await;

    assert!(fanfare.terminate().await.success());
    let close = listeners[0].expect("close").await;
    assert_eq!(close["code"], 1012, "a restart is announced as one");
    fanfare.restart().await;
    listeners[0].expect("open").await;
    settle(&redis, "inventory:updates", &mut listeners).await;
    redis.publish("inventory:updates", r#"{"message_type":"inventory_update","sku":"A-1"}"#).await;
    assert_eq!(listeners[0].message().await["data"]["sku"], "A-1");
}

/// Messages that do not survive being parsed and written again: spaces, escapes, key order, long numbers.
fn awkward_messages(channel: &str) -> [String; 2] {
    [
        format!(
            r#"{{ "message_type": "inventory_update", "z":1, "a": 1.10, "channel": "{channel}","big":18446744073709551615 }}"#
        ),
        r#"{"name":"\u308a\u3093\u3054 りんご \/ \"x\"","message_type":"other","nested":{"b":[],"a":null}}"#.to_owned(),
    ]
}

/// Publishes probes until each listener has seen one. An open socket says that the handshake is done, and no more:
/// a message published in that very moment may be older than its subscription.
async fn settle(redis: &Redis, channel: &str, listeners: &mut [Listener]) {
    let deadline = Instant::now() + PATIENCE;
    let probe = json!({ "message_type": "probe", "channel": channel }).to_string();
    for listener in listeners {
        while !listener.saw_probe_within(Duration::from_millis(200), channel).await {
            assert!(Instant::now() < deadline, "{} never heard {channel}", listener.name);
            redis.publish(channel, &probe).await;
        }
    }
}

/// A client program; it ends with the value.
struct Listener {
    name: String,
    program: Child,
    lines: Receiver<Value>,
}

impl Listener {
    async fn python(url: &str, options: &[&str]) -> Self {
        // `make test-setup` fills this environment; its own variable is for one that stands elsewhere.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let python = std::env::var_os("FANFARE_TEST_PYTHON").map(PathBuf::from);
        Self::start(python.unwrap_or_else(|| target.join("test-venv/bin/python")), "listen.py", url, options).await
    }

    async fn node(url: &str, options: &[&str]) -> Self {
        Self::start("node".into(), "listen.mjs", url, options).await
    }

    async fn start(interpreter: PathBuf, script: &str, url: &str, options: &[&str]) -> Self {
        let name = format!("{script} {url} {}", options.join(" "));
        let mut program = Command::new(&interpreter)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script))
            .arg(url)
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; `make test-setup` installs it", interpreter.display()));
        let output = BufReader::new(program.stdout.take().unwrap());
        let (sender, lines) = channel(1024);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not an event: {line}"));
                if sender.blocking_send(event).is_err() {
                    break;
                }
            }
        });
        let mut listener = Self { name, program, lines };
        listener.expect("open").await;
        listener
    }

    /// The next event that is not a probe, which must be of this kind.
    async fn expect(&mut self, event: &str) -> Value {
        loop {
            let seen = timeout(PATIENCE, self.lines.recv()).await;
            let seen = seen.unwrap_or_else(|_| panic!("{}: no {event} in {PATIENCE:?}", self.name));
            let seen = seen.unwrap_or_else(|| panic!("{}: ended before {event}; see `make test-setup`", self.name));
            // A client that is trying to reconnect reports each failure as a close.
            let still_trying = event == "open" && seen["event"] == "close";
            // So does the server's word about when to come back.
            if seen["message_type"] == "probe" || seen["message_type"] == "reconnect" || still_trying {
                continue;
            }
            assert_eq!(seen["event"], event, "{}: {seen}", self.name);
            return seen;
        }
    }

    async fn message(&mut self) -> Value {
        self.expect("message").await
    }

    async fn saw_probe_within(&mut self, patience: Duration, channel: &str) -> bool {
        match timeout(patience, self.lines.recv()).await {
            // A probe of the channel before this one may still be on its way.
            Ok(Some(seen)) if seen["message_type"] == "probe" => seen["data"]["channel"] == channel,
            Ok(Some(other)) => panic!("{}: {other} instead of a probe", self.name),
            Ok(None) => panic!("{} has ended", self.name),
            Err(_) => false,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

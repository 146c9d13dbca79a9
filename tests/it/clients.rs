//! The client programs that users have, in Python and in JavaScript, against the real server behind a real Redis:
//! what an existing back end PUBLISHes arrives at each of them, to the byte.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Fanfare, Redis};

/// Requirements §1.1: the endpoints and the Redis channels behind them.
const ENDPOINTS: [(&str, &[&str]); 5] = [
    ("/ws", &["system:notifications"]),
    ("/ws/inventory", &["inventory:updates", "stock:alerts"]),
    ("/ws/price", &["price:updates", "price:alerts"]),
    ("/ws/progress", &["progress:events"]),
    ("/ws/match", &["match:notifications", "batch:progress"]),
];

/// Long enough for a debug server and two interpreters on a busy machine; met only when something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn every_endpoint_passes_its_redis_channels_on_to_the_byte() {
    let redis = Redis::start();
    let fanfare = Fanfare::with_redis(&redis);
    for (path, channels) in ENDPOINTS {
        let url = fanfare.ws_url(path);
        let listeners =
            [Listener::python(&url, &[]), Listener::node(&url, &[]), Listener::python(&url, &["--msgpack"])];
        let [python, node, msgpack] = &listeners;
        for channel in channels {
            settle(&redis, channel, &listeners);
            for text in awkward_messages(channel) {
                assert_ne!(redis.publish(channel, &text), 0, "nobody subscribes to {channel}");
                for listener in [python, node] {
                    let seen = listener.message();
                    assert_eq!(seen["text"], json!(text), "{} on {path}, from {channel}", listener.name);
                }
                let expected: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(msgpack.message()["data"], expected, "MessagePack on {path}, from {channel}");
            }
        }
    }
}

#[test]
fn a_client_of_one_feed_hears_nothing_of_another() {
    let redis = Redis::start();
    let fanfare = Fanfare::with_redis(&redis);
    let price = [Listener::python(&fanfare.ws_url("/ws/price"), &[])];
    let inventory = [Listener::node(&fanfare.ws_url("/ws/inventory"), &[])];
    settle(&redis, "price:updates", &price);
    settle(&redis, "inventory:updates", &inventory);

    redis.publish("inventory:updates", r#"{"message_type":"inventory_update","sku":"A-1"}"#);
    assert_eq!(inventory[0].message()["data"]["sku"], "A-1");
    // Were it to hear the stock, it would have heard it before this.
    redis.publish("price:updates", r#"{"message_type":"price_update","sku":"B-2"}"#);
    assert_eq!(price[0].message()["data"]["sku"], "B-2");
}

#[test]
fn the_javascript_loop_comes_back_after_a_restart() {
    let redis = Redis::start();
    let fanfare = Fanfare::with_redis(&redis);
    let address = fanfare.address();
    let listeners = [Listener::node(&fanfare.ws_url("/ws/inventory"), &["--retry-ms", "2000"])];
    settle(&redis, "inventory:updates", &listeners);

    fanfare.stop();
    listeners[0].expect("close");
    let _again = Fanfare::with_redis_at(&redis, address);
    listeners[0].expect("open");
    settle(&redis, "inventory:updates", &listeners);
    redis.publish("inventory:updates", r#"{"message_type":"inventory_update","sku":"A-1"}"#);
    assert_eq!(listeners[0].message()["data"]["sku"], "A-1");
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
fn settle(redis: &Redis, channel: &str, listeners: &[Listener]) {
    let deadline = Instant::now() + PATIENCE;
    for listener in listeners {
        while !listener.saw_probe_within(Duration::from_millis(200), channel) {
            assert!(Instant::now() < deadline, "{} never heard {channel}", listener.name);
            redis.publish(channel, &json!({ "message_type": "probe", "channel": channel }).to_string());
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
    fn python(url: &str, options: &[&str]) -> Self {
        Self::start(root().join("target/test-venv/bin/python"), "listen.py", url, options)
    }

    fn node(url: &str, options: &[&str]) -> Self {
        Self::start("node".into(), "listen.mjs", url, options)
    }

    fn start(interpreter: PathBuf, script: &str, url: &str, options: &[&str]) -> Self {
        let name = format!("{script} {url} {}", options.join(" "));
        let mut program = Command::new(&interpreter)
            .arg(root().join("tests/clients").join(script))
            .arg(url)
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; `make test-setup` installs it", interpreter.display()));
        let output = BufReader::new(program.stdout.take().unwrap());
        let (sender, lines) = sync_channel(1024);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let Ok(event) = serde_json::from_str(&line) else { panic!("not an event: {line}") };
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        let listener = Self { name, program, lines };
        listener.expect("open");
        listener
    }

    /// The next event that is not a probe, which must be of this kind.
    fn expect(&self, event: &str) -> Value {
        loop {
            let seen = match self.lines.recv_timeout(PATIENCE) {
                Ok(seen) => seen,
                Err(error) => panic!("{}: no {event}: {error}", self.name),
            };
            // A client that is trying to reconnect reports each failure as a close.
            let still_trying = event == "open" && seen["event"] == "close";
            if seen["message_type"] == "probe" || still_trying {
                continue;
            }
            assert_eq!(seen["event"], event, "{}: {seen}", self.name);
            return seen;
        }
    }

    fn message(&self) -> Value {
        self.expect("message")
    }

    fn saw_probe_within(&self, patience: Duration, channel: &str) -> bool {
        match self.lines.recv_timeout(patience) {
            // A probe of the channel before this one may still be on its way.
            Ok(seen) if seen["message_type"] == "probe" => seen["data"]["channel"] == channel,
            Ok(other) => panic!("{}: {other} instead of a probe", self.name),
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => panic!("{} has ended", self.name),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

//! The official clients of the Centrifuge protocol as programs that tests lead by the hand.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Fanfare, PATIENCE, Settings, WebSocket};

pub const SECRET: &str = "a secret of at least thirty-two characters";
pub const API_KEY: &str = "manager-key-of-the-tests-0123456789abcdef";

/// Namespaces for every kind of channel that tests need.
const NAMESPACES: &str = r#"
[channel]
allow_subscribe_for_client = true

[[namespaces]]
name = "chat"
presence = true
join_leave = true
history_size = 100
history_ttl_s = 300
allow_recovery = true
allow_positioning = true
allow_subscribe_for_client = true
allow_publish_for_subscriber = true
allow_history_for_subscriber = true
allow_presence_for_subscriber = true
allow_user_limited_channels = true
allow_tags_filter = true
allowed_delta_types = ["fossil"]

[[namespaces]]
name = "last"
history_size = 10
history_ttl_s = 300
force_recovery = true
force_recovery_mode = "cache"
allow_subscribe_for_client = true

[[namespaces]]
name = "private"
history_size = 10
history_ttl_s = 300
"#;

/// A server with namespaces and a secret; `more` are lines of its settings.
pub async fn server(settings: Settings, more: &str) -> Fanfare {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    let (_, path) = file.keep().unwrap();
    std::fs::write(&path, format!("{more}\n{NAMESPACES}")).unwrap();
    let settings = settings
        .env("SECRET_KEY", SECRET)
        .env("FANFARE__AUTH__API_KEYS", format!("manager:{API_KEY}"))
        .arg("--config")
        .arg(path.to_str().unwrap());
    Fanfare::start(settings).await
}

/// A token with these claims, signed with the tests' secret.
pub fn token(claims: Value) -> String {
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE;
    let signed =
        format!("{}.{}", URL_SAFE.encode(r#"{"alg":"HS256","typ":"JWT"}"#), URL_SAFE.encode(claims.to_string()));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE.encode(signature))
}

pub fn now_s() -> u64 {
    fanfare::clock::Clock::system().now().timestamp() as u64
}

/// A call of the server API: the result, or the whole answer where it is an error.
pub async fn api(fanfare: &Fanfare, method: &str, body: Value) -> Value {
    let url = format!("{}/api/{method}", fanfare.url());
    let answer = reqwest::Client::new().post(url).header("x-api-key", API_KEY).json(&body).send().await.unwrap();
    let mut answer: Value = answer.json().await.unwrap();
    if answer["error"].is_null() { answer["result"].take() } else { answer }
}

/// A connection that says what it likes.
pub struct Raw {
    pub socket: WebSocket,
    pub id: u64,
}

impl Raw {
    pub async fn connected(fanfare: &Fanfare) -> Self {
        let mut raw = Self { socket: fanfare.ws("/connection/websocket").await, id: 0 };
        raw.ask(json!({"connect": {"token": token(json!({"sub": "ann", "exp": now_s() + 600}))}})).await;
        raw
    }

    pub async fn hear(&mut self) -> Value {
        loop {
            let text = timeout(PATIENCE, self.socket.next()).await.unwrap().unwrap().unwrap();
            let heard: Value = serde_json::from_str(text.to_text().unwrap()).unwrap();
            if heard != json!({}) {
                return heard;
            }
        }
    }

    pub async fn ask(&mut self, mut command: Value) -> Value {
        self.id += 1;
        command["id"] = self.id.into();
        self.socket.send(Message::text(command.to_string())).await.unwrap();
        let reply = self.hear().await;
        assert_eq!(reply["id"], self.id, "{reply}");
        reply
    }

    pub async fn subscribe(&mut self, request: Value) -> Value {
        let mut reply = self.ask(json!({"subscribe": request})).await;
        if reply["error"].is_null() { reply["subscribe"].take() } else { reply }
    }
}

/// Which client speaks.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Js,
    JsProtobuf,
    JsHttpStream,
    JsHttpStreamProtobuf,
    JsSse,
    Python,
    PythonProtobuf,
}

impl Kind {
    pub const ALL: [Kind; 7] = [
        Kind::Js,
        Kind::JsProtobuf,
        Kind::JsHttpStream,
        Kind::JsHttpStreamProtobuf,
        Kind::JsSse,
        Kind::Python,
        Kind::PythonProtobuf,
    ];
}

/// An official client; it ends with the value.
pub struct Client {
    name: String,
    program: Child,
    input: ChildStdin,
    lines: Receiver<Value>,
    /// What happened while an answer was awaited.
    happened: std::collections::VecDeque<Value>,
}

impl Client {
    pub async fn start(kind: Kind, url: &str) -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let python = std::env::var_os("FANFARE_TEST_PYTHON").map(PathBuf::from);
        let python = python.unwrap_or_else(|| target.join("test-venv/bin/python"));
        let (interpreter, script) = match kind {
            Kind::Python | Kind::PythonProtobuf => (python, "channels.py"),
            _ => (PathBuf::from("node"), "channels.mjs"),
        };
        let mut program = Command::new(&interpreter);
        program.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script)).arg(url);
        if matches!(kind, Kind::JsProtobuf | Kind::JsHttpStreamProtobuf | Kind::PythonProtobuf) {
            program.arg("--protobuf");
        }
        match kind {
            Kind::JsHttpStream | Kind::JsHttpStreamProtobuf => _ = program.arg("--transport=http_stream"),
            Kind::JsSse => _ = program.arg("--transport=sse"),
            _ => {}
        }
        let mut program = program
            .stdin(Stdio::piped())
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
        let input = program.stdin.take().unwrap();
        Self { name: format!("{kind:?}"), program, input, lines, happened: Default::default() }
    }

    /// One that is connected with a token for `user`.
    pub async fn connected(kind: Kind, fanfare: &Fanfare, user: &str) -> Self {
        let mut client = Self::start(kind, &fanfare.ws_url("/connection/websocket")).await;
        client
            .call(json!({"call": "connect", "token": token(json!({"sub": user, "exp": now_s() + 600}))}))
            .await
            .unwrap();
        client.event("connected").await;
        client
    }

    async fn line(&mut self, awaited: &str) -> Value {
        let line = timeout(PATIENCE, self.lines.recv()).await;
        let line = line.unwrap_or_else(|_| panic!("{}: no {awaited} in {PATIENCE:?}; {:?}", self.name, self.happened));
        line.unwrap_or_else(|| panic!("{}: ended before {awaited}; see `make test-setup`", self.name))
    }

    /// What a call answers; `Err`: the number or name of its error.
    pub async fn call(&mut self, call: Value) -> Result<Value, Value> {
        writeln!(self.input, "{call}").unwrap();
        loop {
            let mut line = self.line(&call.to_string()).await;
            if line.get("answer").is_some() {
                return Ok(line["answer"].take());
            }
            if line.get("event").is_none() {
                return Err(line["error"].take());
            }
            self.happened.push_back(line);
        }
    }

    /// The next of its kind; what comes before it of other kinds is let pass.
    pub async fn event(&mut self, event: &str) -> Value {
        loop {
            let seen = match self.happened.pop_front() {
                Some(seen) => seen,
                None => self.line(event).await,
            };
            if seen["event"] == event {
                return seen;
            }
        }
    }

    /// The very next event, which must be of this kind.
    pub async fn next(&mut self, event: &str) -> Value {
        let seen = match self.happened.pop_front() {
            Some(seen) => seen,
            None => self.line(event).await,
        };
        assert_eq!(seen["event"], event, "{}: {seen}", self.name);
        seen
    }

    pub async fn subscribe(&mut self, channel: &str, options: Value) -> Value {
        self.call(json!({"call": "subscribe", "channel": channel, "options": options})).await.unwrap();
        self.event("subscribed").await
    }

    pub async fn publish(&mut self, channel: &str, data: Value) -> Result<Value, Value> {
        self.call(json!({"call": "publish", "channel": channel, "data": data})).await
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

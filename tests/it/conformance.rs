//! WebSocket conformance: the cases of the Autobahn suite, as `kosoku` plays them, against the codec, the shards and the
//! outboxes that serve every client. What the clients send is sent back.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use fanfare::stream::{AudienceSpec, Channel, Hub, HubOptions, Joining, Memory, Node, Peer, StreamMetrics};
use fanfare::tasks::Tasks;
use fanfare::wire::{
    Close, DEFLATE_ANSWER, Deflate, DeflateOptions, Dialect, Form, Incoming, Opcode, message, offers_deflate,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::support::{program, temp_dir};

struct Echo(Option<Deflate>);

impl Peer for Echo {
    fn message(&mut self, said: Incoming<'_>, replies: &mut Vec<Bytes>) -> Result<(), Close> {
        match said {
            Incoming::Text(text) => replies.push(message(Opcode::Text, text.as_bytes(), self.0)),
            Incoming::Binary(data) => replies.push(message(Opcode::Binary, data, self.0)),
            _ => {}
        }
        Ok(())
    }
}

/// A hub with nothing published, whose every client hears itself.
struct House {
    node: Node,
    deflate: Option<Deflate>,
    _tasks: Tasks,
}

impl House {
    fn new(deflate: DeflateOptions) -> Arc<Self> {
        // Everything is compressed: the suite does not know what to do with a message that is not.
        let agreed = deflate.deflate().map(|deflate| Deflate { min_bytes: 0, ..deflate });
        let options =
            HubOptions { outbox_bytes: 64 << 20, max_message_bytes: 17 << 20, deflate, ..HubOptions::default() };
        let (hub, tasks) = (Hub::start(options, StreamMetrics::default()).unwrap(), Tasks::new());
        let broker = Arc::new(Memory::new(Default::default(), Default::default(), Arc::new(hub.clone())));
        Arc::new(Self { node: Node::start(hub, broker, &tasks), deflate: agreed, _tasks: tasks })
    }

    async fn serve(self: Arc<Self>, listener: TcpListener) {
        while let Ok((socket, _)) = listener.accept().await {
            let this = self.clone();
            tokio::spawn(async move { this.admit(socket).await });
        }
    }

    async fn admit(&self, mut socket: TcpStream) {
        let mut read = Vec::new();
        let end = loop {
            if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if socket.read_buf(&mut read).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let rest = read.split_off(end);
        let head = String::from_utf8(read).unwrap();
        let of = |wanted: &str| -> Vec<&str> {
            let headers = head.lines().filter_map(|line| line.split_once(':'));
            headers.filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim()).collect()
        };
        let deflate = self.deflate.filter(|_| offers_deflate(of("sec-websocket-extensions")));
        let spec = AudienceSpec {
            feed: "echo",
            form: Form { deflate, ..Dialect::Json.into() },
            channels: vec![Channel::new("echo").unwrap()],
            filter: Default::default(),
            pace: Default::default(),
            alias: None,
            by_server: false,
        };
        let audience = self.node.audience(spec).await.unwrap();
        let connected = self.node.connect(audience, Box::new(Echo(deflate)), Joining::default()).await;
        let ticket = connected.unwrap_or_else(|missed| panic!("{}", missed.reason));
        let accept = derive_accept_key(of("sec-websocket-key")[0].as_bytes());
        let extension = deflate.map_or(String::new(), |_| format!("Sec-WebSocket-Extensions: {DEFLATE_ANSWER}\r\n"));
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{extension}\r\n"
        );
        if socket.write_all(answer.as_bytes()).await.is_ok() {
            ticket.adopt(socket.into_std().unwrap(), rest).await;
        }
    }
}

/// A case has a time of its own, which on a machine with other work is not always enough: one that failed is played again,
/// alone.
async fn play(deflate: DeflateOptions, choice: &[&str]) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("ws://{}/", listener.local_addr().unwrap());
    let serving = tokio::spawn(House::new(deflate).serve(listener));
    let mut choice: Vec<String> = choice.iter().map(|word| word.to_string()).collect();
    for last in [false, false, true] {
        let reports = temp_dir("kosoku");
        let mut player = Command::new(kosoku());
        player.args(&choice).arg("-o").arg(reports.path()).arg(&address);
        let output = tokio::task::spawn_blocking(move || player.output()).await.unwrap().expect("kosoku");
        if output.status.success() {
            break;
        }
        let printed = String::from_utf8_lossy(&output.stdout);
        let failed: Vec<&str> =
            printed.lines().filter_map(|line| line.trim().split_once(": behavior=")).map(|(case, _)| case).collect();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!last && (1..5).contains(&failed.len()), "{printed}{told}");
        choice = failed.iter().flat_map(|case| ["-i".to_owned(), case.to_string()]).collect();
    }
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_codec_conforms() {
    play(DeflateOptions { enabled: false, ..DeflateOptions::default() }, &["-x", "12.*", "-x", "13.*"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_messages_conform() {
    // Of each group the shorter cases. Those of 13 that ask for a small window are not for this server, and the first of
    // each group are the suite's own mistake.
    let groups = ["12.1", "12.2", "12.3", "12.4", "12.5", "13.1"];
    let cases: Vec<String> =
        groups.iter().flat_map(|group| [2, 3, 4, 5, 6, 12].map(|case| format!("{group}.{case}"))).collect();
    let choice: Vec<&str> = cases.iter().flat_map(|case| ["-i", case.as_str()]).collect();
    play(DeflateOptions { enabled: true, min_bytes: 1, level: 1 }, &choice).await;
}

/// Beside the other programs from PyPI; installed by `make test-setup`, or here when it is not there.
fn kosoku() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder").to_owned();
    let venv = folder.join("test-venv");
    let lock = std::fs::File::create(folder.join("test-venv.lock")).expect("lock file");
    lock.lock().expect("lock");
    let found = venv.join("bin/kosoku");
    if !found.exists() {
        if !venv.join("bin/python").exists() {
            run(Command::new(program("python3", &[])).args(["-m", "venv"]).arg(&venv));
        }
        run(Command::new(venv.join("bin/python")).args(["-m", "pip", "install", "--quiet", "kosoku==0.1.0"]));
    }
    found
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

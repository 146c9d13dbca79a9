//! One client: begins with a snapshot, applies what it is told, checks that nothing is left out untold, and comes back
//! by position.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const PATIENCE: Duration = Duration::from_secs(20);

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    pub category: Option<&'static str>,
    pub paced: bool,
}

impl Mode {
    pub fn random(random: &mut fastrand::Rng) -> Self {
        let category = [None, None, Some("even"), Some("odd")][random.usize(0..4)];
        Self { category, paced: random.u32(0..4) == 0 }
    }

    pub fn wants(&self, sku: &str) -> bool {
        let even = sku.bytes().last().is_some_and(|digit| digit % 2 == 0);
        self.category.is_none_or(|category| (category == "even") == even)
    }

    fn query(&self) -> String {
        let category = self.category.map(|category| format!("&category={category}")).unwrap_or_default();
        format!("{category}{}", if self.paced { "&max_hz=50" } else { "" })
    }
}

pub struct Client {
    pub mode: Mode,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    mode: Mode,
    address: Arc<Mutex<String>>,
    frozen: AtomicBool,
    cut: Notify,
    seen: Mutex<Seen>,
}

/// What it knows.
#[derive(Default)]
struct Seen {
    stock: BTreeMap<String, i64>,
    /// The last offset of each numbering.
    positions: HashMap<String, u64>,
    /// What should never have been.
    problem: Option<String>,
    /// What it is at, and the last that it was told.
    doing: &'static str,
    trail: VecDeque<String>,
    heard: u64,
}

impl Seen {
    fn hears(&mut self, text: &str) {
        self.heard += 1;
        if self.trail.len() == 8 {
            self.trail.pop_front();
        }
        self.trail.push_back(text.chars().take(400).collect());
    }
}

enum End {
    /// Comes back by position, or anew when something is missing.
    Resume,
    Anew,
}

impl Client {
    pub fn start(mode: Mode, address: Arc<Mutex<String>>) -> Self {
        let (frozen, cut, seen) = (AtomicBool::new(false), Notify::new(), Mutex::default());
        let shared = Arc::new(Shared { mode, address, frozen, cut, seen });
        let task = tokio::spawn(run(shared.clone()));
        Self { mode, shared, task }
    }

    pub fn freeze(&self, frozen: bool) {
        self.shared.frozen.store(frozen, Ordering::SeqCst);
    }

    pub fn cut(&self) {
        self.shared.cut.notify_one();
    }

    /// Whether it comes to know exactly this.
    ///
    /// One with little room that has been away for long hears everything late, but it hears something all the time.
    pub async fn settles_at(&self, expected: &BTreeMap<String, i64>) -> Result<(), String> {
        let (mut deadline, mut heard) = (tokio::time::Instant::now() + PATIENCE, 0);
        loop {
            {
                let seen = self.shared.seen.lock().expect("lock");
                if let Some(problem) = &seen.problem {
                    return Err(problem.clone());
                }
                if seen.stock == *expected {
                    return Ok(());
                }
                if heard != seen.heard {
                    (deadline, heard) = (tokio::time::Instant::now() + PATIENCE, seen.heard);
                }
                if tokio::time::Instant::now() > deadline {
                    let Seen { stock, doing, trail, .. } = &*seen;
                    return Err(format!("knows {stock:?} instead of {expected:?}; is {doing} after {trail:?}"));
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(shared: Arc<Shared>) {
    let mut end = End::Anew;
    loop {
        let query = {
            let mut seen = shared.seen.lock().expect("lock");
            seen.doing = "connecting";
            match end {
                End::Resume if !seen.positions.is_empty() => {
                    let since: Vec<String> = seen.positions.iter().map(|(epoch, at)| format!("{epoch}:{at}")).collect();
                    format!("since={}", since.join(","))
                }
                _ => "snapshot=true".to_owned(),
            }
        };
        shared.seen.lock().expect("lock").hears(&query);
        let Some(mut socket) = connect(&shared, &query).await else {
            shared.seen.lock().expect("lock").doing = "waiting to connect";
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        shared.seen.lock().expect("lock").doing = "listening";
        end = listen(&shared, &mut socket).await;
    }
}

async fn connect(shared: &Shared, query: &str) -> Option<WebSocketStream<TcpStream>> {
    let address = shared.address.lock().expect("lock").clone();
    let socket = TcpSocket::new_v4().ok()?;
    // Little room, so that not reading is soon noticed.
    socket.set_recv_buffer_size(4096).ok()?;
    let stream = socket.connect(address.parse().ok()?).await.ok()?;
    let url = format!("ws://{address}/ws/inventory?{query}{}", shared.mode.query());
    Some(tokio_tungstenite::client_async(url, stream).await.ok()?.0)
}

async fn listen(shared: &Shared, socket: &mut WebSocketStream<TcpStream>) -> End {
    // Told that something is missing: what it knows is void until a snapshot comes.
    let mut void = false;
    loop {
        while shared.frozen.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let message = tokio::select! {
            message = socket.next() => message,
            () = shared.cut.notified() => return if void { End::Anew } else { End::Resume },
        };
        let Some(Ok(message)) = message else { return if void { End::Anew } else { End::Resume } };
        let Message::Text(text) = message else { continue };
        let message: Value = serde_json::from_str(&text).expect("json");
        let mut seen = shared.seen.lock().expect("lock");
        seen.hears(&text);
        match message["message_type"].as_str() {
            Some("subscribed") => {
                // Where it begins; what it resumes from is what it has.
                let channels = message["channels"].as_object().expect("channels");
                if channels.values().any(|channel| channel["gap"] == true) {
                    (void, seen.positions) = (true, HashMap::new());
                }
            }
            Some("snapshot") => {
                if seen.positions.is_empty() || void || message["last"] == true {
                    seen.stock.clear();
                }
                for row in message["rows"].as_array().expect("rows") {
                    let (sku, stock) = (row["sku"].as_str().expect("sku"), row["stock_quantity"].as_i64());
                    seen.stock.insert(sku.to_owned(), stock.expect("stock"));
                }
                seen.positions.clear();
                for position in message["since"].as_str().expect("since").split(',') {
                    let (epoch, offset) = position.rsplit_once(':').expect("a position");
                    seen.positions.insert(epoch.to_owned(), offset.parse().expect("an offset"));
                }
                void = false;
            }
            // While connected, a gap has no snapshot behind it: it asks for one. One before a snapshot is followed by it.
            Some("gap") if !void => return End::Anew,
            Some("gap" | "stale" | "live" | "reconnect") => {}
            _ => {
                if let Err(problem) = apply(&mut seen, &message, shared.mode) {
                    let trail = format!("{problem}: {:#?}", seen.trail);
                    seen.problem.get_or_insert(trail);
                }
            }
        }
    }
}

fn apply(seen: &mut Seen, message: &Value, mode: Mode) -> Result<(), String> {
    let position = &message["_position"];
    let (epoch, offset) = (position["epoch"].as_str().ok_or("no epoch")?, position["offset"].as_u64().ok_or("none")?);
    let last = seen.positions.insert(epoch.to_owned(), offset);
    let whole = mode.category.is_none() && !mode.paced;
    match last {
        Some(last) if whole && offset != last + 1 => return Err(format!("{offset} after {last}, and no gap was told")),
        Some(last) if offset <= last => return Err(format!("{offset} after {last}")),
        _ => {}
    }
    if message["message_type"] == "inventory_update" {
        let sku = message["sku"].as_str().ok_or("no sku")?;
        if message["action"] == "deleted" {
            seen.stock.remove(sku);
        } else {
            seen.stock.insert(sku.to_owned(), message["stock_quantity"].as_i64().ok_or("no stock")?);
        }
    }
    Ok(())
}

//! A model of the whole: random writers, filters, pauses, slow readers, losses and restarts, and afterwards every client
//! knows what the database says, every hole was told of, and the books balance to zero.
//!
//! Each run follows from its seed. One that fails is made smaller until nothing more can be left out, and printed.
//! `make model SEEDS=1000` tries more than the usual 50.

pub mod client; // one client: reads, freezes, comes back
mod world; // the server under test

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;

use self::client::{Client, Mode};
use self::world::World;

/// Seeds of a usual run, and how many are under way at once.
const SEEDS: u64 = 50;
const AT_ONCE: usize = 4;
/// How long a failure may be made smaller.
const SHRINK_FOR: Duration = Duration::from_secs(60);
const ITEMS: usize = 6;
const CLIENTS: usize = 5;

/// What happens, in order.
#[derive(Clone, Debug)]
pub enum Op {
    Write {
        item: usize,
        delta: i64,
    },
    Delete {
        item: usize,
    },
    /// Many large messages at once: more than the kernel takes for somebody who does not read.
    Flood,
    Freeze {
        client: usize,
    },
    Thaw {
        client: usize,
    },
    /// The connection is cut; the client comes back by itself.
    Cut {
        client: usize,
    },
    /// The server ends as told to, and another begins on its data.
    Restart,
    /// Redis cuts whoever subscribes, freezes for a moment, or loses everything. Nothing without Redis.
    CutRedis,
    FreezeRedis,
    EmptyRedis,
    Pause {
        ms: u64,
    },
}

struct Script {
    seed: u64,
    redis: bool,
    modes: Vec<Mode>,
    ops: Vec<Op>,
}

impl Script {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let redis = seed.is_multiple_of(5);
        let modes = (0..CLIENTS).map(|_| Mode::random(&mut random)).collect();
        let mut ops = Vec::new();
        for _ in 0..random.usize(40..160) {
            ops.push(match random.u32(0..100) {
                0..55 => Op::Write { item: random.usize(0..ITEMS), delta: random.i64(1..5) },
                55..58 => Op::Delete { item: random.usize(0..ITEMS) },
                58..60 => Op::Flood,
                60..68 => Op::Freeze { client: random.usize(0..CLIENTS) },
                68..78 => Op::Thaw { client: random.usize(0..CLIENTS) },
                78..86 => Op::Cut { client: random.usize(0..CLIENTS) },
                86..88 => Op::Restart,
                88..90 => Op::CutRedis,
                90..91 => Op::FreezeRedis,
                91..92 => Op::EmptyRedis,
                _ => Op::Pause { ms: random.u64(1..30) },
            });
        }
        Self { seed, redis, modes, ops }
    }

    /// Plays it; what is wrong afterwards, if anything.
    async fn play(&self, ops: &[Op]) -> Result<(), String> {
        let mut world = World::start(self.redis).await;
        let clients: Vec<Client> = self.modes.iter().map(|mode| Client::start(*mode, world.address())).collect();
        for op in ops {
            match op {
                Op::Write { item, delta } => world.write(*item, *delta).await,
                Op::Delete { item } => world.delete(*item).await,
                Op::Flood => world.flood().await,
                Op::Freeze { client } => clients[*client].freeze(true),
                Op::Thaw { client } => clients[*client].freeze(false),
                Op::Cut { client } => clients[*client].cut(),
                Op::Restart => world.restart().await,
                Op::CutRedis => world.cut_redis().await,
                Op::FreezeRedis => world.freeze_redis().await,
                Op::EmptyRedis => world.empty_redis().await,
                Op::Pause { ms } => tokio::time::sleep(Duration::from_millis(*ms)).await,
            }
        }
        clients.iter().for_each(|client| client.freeze(false));
        let rows = world.rows().await;
        let mut wrong = Vec::new();
        for (index, client) in clients.iter().enumerate() {
            let expected: BTreeMap<String, i64> = rows
                .iter()
                .filter(|(sku, _)| client.mode.wants(sku))
                .map(|(sku, stock)| (sku.clone(), *stock))
                .collect();
            if let Err(problem) = client.settles_at(&expected).await {
                wrong.push(format!("client {index} ({:?}): {problem}", client.mode));
            }
        }
        if let Err(problem) = world.books_balance().await {
            wrong.push(problem);
        }
        drop(clients);
        world.end().await;
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    /// Leaves out whatever is not needed for the failure.
    async fn shrink(&self) -> (Vec<Op>, String) {
        let mut ops = self.ops.clone();
        let mut problem = String::new();
        let mut size = ops.len() / 2;
        let until = tokio::time::Instant::now() + SHRINK_FOR;
        while size > 0 {
            let mut at = 0;
            while at < ops.len() && tokio::time::Instant::now() < until {
                let mut fewer = ops.clone();
                fewer.drain(at..(at + size).min(ops.len()));
                match self.play(&fewer).await {
                    Err(found) => (ops, problem) = (fewer, found),
                    Ok(()) => at += size,
                }
            }
            size /= 2;
        }
        (ops, problem)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_ends_at_what_the_database_says() {
    let text = std::env::var("FANFARE_MODEL_SEEDS").unwrap_or_default();
    // One seed after a colon, to see it again: `:17`.
    let seeds = match text.strip_prefix(':') {
        Some(one) => one.parse().map(|seed| seed..seed + 1).expect("a seed"),
        None if text.is_empty() => 0..SEEDS,
        None => 0..text.parse().expect("how many seeds"),
    };
    let played = futures_util::stream::iter(seeds.map(|seed| async move {
        let script = Script::new(seed);
        let problem = script.play(&script.ops).await.err();
        if let Some(problem) = &problem {
            eprintln!("seed {seed}: {problem}");
        }
        if seed % 100 == 99 {
            eprintln!("seed {seed} has been played");
        }
        (script, problem)
    }));
    let failed: Vec<(Script, String)> =
        played.buffer_unordered(AT_ONCE).filter_map(async |(script, problem)| Some((script, problem?))).collect().await;
    let Some((script, problem)) = failed.first() else { return };
    let seeds: Vec<u64> = failed.iter().map(|(script, _)| script.seed).collect();
    eprintln!("seeds {seeds:?} failed; {}: {problem}", script.seed);
    let (ops, still) = script.shrink().await;
    let (redis, modes) = (script.redis, &script.modes);
    panic!("seed {}: {problem}\nsmallest (redis {redis}, clients {modes:?}): {ops:#?}\n{still}", script.seed);
}

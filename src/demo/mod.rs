//! `fanfare demo`: a day of plausible, synthetic shop traffic through the public HTTP API.

mod api;
mod catalog;
mod day;
mod feeds;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use tokio::time::Instant;

use self::api::{Answer, Api, Shelf};
use self::day::{Action, CLOSES_MIN, Day, OPENS_MIN};
use crate::clock::Clock;

/// What to play, where, and how fast.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoOptions {
    /// The server.
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    url: String,
    /// How many minutes of the shop's day pass in a minute. At 60 the day of 16 hours takes 16 minutes.
    #[arg(long, default_value_t = 60.0, value_parser = speed)]
    speed: f64,
    /// A manager's token or an API key, when the server asks for one.
    #[arg(long, env = "FANFARE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Ends after so many seconds; without it the day is played to its end.
    #[arg(long)]
    duration_s: Option<u64>,
    /// The same seed and the same stock at the start give the same day.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if (0.01..=100_000.0).contains(&speed) => Ok(speed),
        _ => Err("a number from 0.01 to 100000".into()),
    }
}

/// Counts what was played, and says so from time to time.
#[derive(Default)]
struct Progress {
    sales: u64,
    deliveries: u64,
    price_changes: u64,
    messages: u64,
    refused: u64,
    said_at: Option<Instant>,
}

/// Plays the day until its end, the deadline, or Ctrl-C.
pub async fn run(options: DemoOptions) -> anyhow::Result<()> {
    let api = Api::new(&options.url, options.token.clone())?;
    print("This is SYNTHETIC data: an invented shop, invented people. 合成データによるデモです。\n");
    let mut progress = Progress::default();
    let stopped = tokio::select! {
        done = play(&api, &options, &mut progress) => {
            done?;
            "the end"
        }
        () = deadline(options.duration_s) => "time is up",
        _ = tokio::signal::ctrl_c() => "interrupted",
    };
    print(&format!("\n{stopped}: {}\n", progress.summary()));
    Ok(())
}

async fn play(api: &Api, options: &DemoOptions, progress: &mut Progress) -> anyhow::Result<()> {
    api.check().await?;
    let shelves = api.stock_shelves().await?;
    print(&format!(
        "{} articles are in the shop at {}; seed {}, speed {}\n",
        shelves.len(),
        options.url,
        options.seed,
        options.speed
    ));
    let clock = Clock::system();
    let started = Instant::now();
    for (at_min, action) in Day::new(options.seed, shelves.iter().map(|shelf| shelf.stock).collect()) {
        let due_s = (at_min - OPENS_MIN) * 60.0 / options.speed;
        tokio::time::sleep_until(started + Duration::from_secs_f64(due_s)).await;
        let answer = carry_out(api, &clock, &shelves, &action).await?;
        progress.count(&action, &answer);
        progress.say(at_min);
    }
    progress.said_at = None;
    progress.say(CLOSES_MIN);
    Ok(())
}

async fn carry_out(api: &Api, clock: &Clock, shelves: &[Shelf], action: &Action) -> anyhow::Result<Answer> {
    match action {
        Action::Sale { item, quantity } => api.adjust(&shelves[*item], -quantity).await,
        Action::Delivery { item, quantity } => api.adjust(&shelves[*item], *quantity).await,
        Action::Reprice { item, price_yen, reason } => api.reprice(&shelves[*item], *price_yen, reason, false).await,
        Action::Ask { item, price_yen, reason } => api.reprice(&shelves[*item], *price_yen, reason, true).await,
        Action::Approve { item } => api.approve(&shelves[*item]).await,
        Action::Publish { channel, data } => {
            let mut data = data.clone();
            feeds::stamp(&mut data, clock);
            api.publish(channel, &data).await
        }
    }
}

async fn deadline(duration_s: Option<u64>) {
    match duration_s {
        Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        None => std::future::pending().await,
    }
}

impl Progress {
    fn count(&mut self, action: &Action, answer: &Answer) {
        if let Answer::Refused(why) = answer {
            tracing::debug!(?action, why, "refused");
            self.refused += 1;
            return;
        }
        match action {
            Action::Sale { .. } => self.sales += 1,
            Action::Delivery { .. } => self.deliveries += 1,
            Action::Reprice { .. } | Action::Ask { .. } | Action::Approve { .. } => self.price_changes += 1,
            Action::Publish { .. } => self.messages += 1,
        }
    }

    fn summary(&self) -> String {
        format!(
            "{} sales, {} deliveries, {} price changes, {} messages, {} refused",
            self.sales, self.deliveries, self.price_changes, self.messages, self.refused
        )
    }

    /// On a terminal one line that renews itself twice a second, in a log a line each ten seconds.
    fn say(&mut self, at_min: f64) {
        let terminal = std::io::stdout().is_terminal();
        let pause = if terminal { Duration::from_millis(500) } else { Duration::from_secs(10) };
        if self.said_at.is_some_and(|said_at| said_at.elapsed() < pause) {
            return;
        }
        self.said_at = Some(Instant::now());
        let (hour, minute) = (at_min as u32 / 60, at_min as u32 % 60);
        let (before, after) = if terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        print(&format!("{before}{hour:02}:{minute:02}  {}{after}", self.summary()));
    }
}

/// A reader that has gone away does not end the demo.
fn print(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

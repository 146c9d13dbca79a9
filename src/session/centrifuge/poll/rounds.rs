//! When a back end is asked: every key once an interval, in batches spread over it; and at once for keys that somebody has
//! nothing of.
//!
//! A channel has one request on its way at a time, so answers are taken in as they were asked for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::{Polled, Polls};

/// What a channel's task goes by.
struct Rounds {
    /// The batches of this round that are still to come.
    batches: VecDeque<(Instant, Vec<Arc<str>>)>,
    next: Instant,
    /// Since when nobody is on it.
    empty_since: Option<Instant>,
    /// The last request had no answer.
    failing: bool,
}

impl Polls {
    /// Until nobody has been on the channel for a while.
    pub(super) async fn run(self, polled: Arc<Polled>) {
        let mut rounds = Rounds {
            batches: VecDeque::new(),
            next: Instant::now() + polled.options.every(),
            empty_since: None,
            failing: false,
        };
        loop {
            let due = rounds.batches.front().map_or(rounds.next, |(at, _)| *at);
            let due = rounds.empty_since.map_or(due, |since| due.min(since + polled.options.lingers()));
            tokio::select! {
                () = polled.wake.notified() => {}
                () = tokio::time::sleep_until(due.into()) => {}
            }
            let now = Instant::now();
            if polled.state().is_empty() {
                let since = *rounds.empty_since.get_or_insert(now);
                if now.duration_since(since) >= polled.options.lingers() && self.close(&polled) {
                    return;
                }
            } else {
                rounds.empty_since = None;
            }
            let most = polled.options.refresh_batch_size;
            let cold = polled.state().take_cold(most);
            if !cold.is_empty() {
                // There may be more of them; what is due by time comes in between.
                polled.wake.notify_one();
                rounds.failing = self.poll(&polled, &cold, rounds.failing).await;
            }
            let now = Instant::now();
            if rounds.batches.is_empty() && rounds.next <= now {
                self.begin(&polled, &mut rounds, now);
            }
            if let Some((_, batch)) = rounds.batches.pop_front_if(|(at, _)| *at <= now) {
                rounds.failing = self.poll(&polled, &batch, rounds.failing).await;
            }
        }
    }

    fn begin(&self, polled: &Polled, rounds: &mut Rounds, now: Instant) {
        let (every, most) = (polled.options.every(), polled.options.refresh_batch_size);
        rounds.next = now + every;
        let extra_ms = i64::try_from(polled.options.track_expired_extra_delay_ms).unwrap_or(i64::MAX);
        let keys = {
            let mut state = polled.state();
            state.expire(self.0.clock.now_ms().saturating_sub(extra_ms));
            state.round()
        };
        let count = u32::try_from(keys.len().div_ceil(most)).unwrap_or(u32::MAX);
        for (index, batch) in (0..count).zip(keys.chunks(most)) {
            rounds.batches.push_back((now + every * index / count, batch.to_vec()));
        }
    }

    /// Whether the channel is forgotten now; not when somebody has come in between.
    fn close(&self, polled: &Arc<Polled>) -> bool {
        let gone = |_: &_, known: &Arc<Polled>| Arc::ptr_eq(known, polled) && known.state().is_empty();
        self.0.channels.remove_if(&polled.channel, gone).is_some()
    }

    /// Answers whether it failed. `failing`: so did the last.
    async fn poll(&self, polled: &Polled, keys: &[Arc<str>], failing: bool) -> bool {
        let keys = polled.state().question(keys);
        if keys.is_empty() {
            return failing;
        }
        let Ok(permit) = self.0.permits.acquire().await else { return true };
        let (channel, now_s) = (polled.channel.as_str(), self.0.clock.now_ms() / 1_000);
        let answer = self.0.caller.ask(&polled.options, channel, &keys, now_s).await;
        drop(permit);
        let outcome = answer.as_ref().err().map_or("ok", |no| no.outcome);
        self.0.requests.get_or_create(&[("outcome", outcome)]).inc();
        match answer {
            Ok(answer) => {
                if failing {
                    tracing::info!(channel, "the back end that is polled answers again");
                }
                self.settle(polled, answer.items, &answer.epoch, false).await;
                false
            }
            Err(no) => {
                if !failing {
                    tracing::warn!(channel, why = no.why, "the back end that is polled does not answer");
                }
                true
            }
        }
    }
}

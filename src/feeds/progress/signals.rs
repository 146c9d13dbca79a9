//! Signals that come from nothing happening: stuck, idle, and calls for help that nobody repeats.
//!
//! A look from time to time; each change is written and told in one transaction, once, whoever looks.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio_util::sync::CancellationToken;

use super::apply::signal_messages;
use super::messages::Signals;
use super::options::ProgressOptions;
use super::state_sql::{self, State, Watched};
use crate::clock::Clock;
use crate::db::{Db, DbError};
use crate::feeds::PROGRESS_EVENTS;
use crate::feeds::outbox::{Outbox, StageError};
use crate::queue::BatchError;
use crate::telemetry::{Registry, name};

/// Students that are looked at in one go.
const PAGE: i64 = 1_000;
/// A median of fewer says nothing of the class.
const FEWEST: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignalLabel {
    signal: &'static str,
}

/// Looks for students that need somebody.
pub struct Watch {
    db: Db,
    clock: Clock,
    outbox: Outbox,
    options: ProgressOptions,
    raised: Family<SignalLabel, Counter>,
}

impl Watch {
    pub fn new(db: Db, clock: Clock, outbox: Outbox, options: ProgressOptions, registry: &mut Registry) -> Self {
        let raised = Family::default();
        registry.register(name::PROGRESS_SIGNALS, "Signals that the watch has switched, by kind", raised.clone());
        Self { db, clock, outbox, options, raised }
    }

    pub async fn run(self, stop: CancellationToken) {
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "the students could not be looked after; trying again");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(Duration::from_millis(self.options.sweep_ms)) => {}
            }
        }
    }

    /// One look at everybody who is awake.
    pub async fn look(&self) -> Result<(), BatchError> {
        let (now, mut after) = (self.clock.now(), 0);
        let mut limits = HashMap::new();
        loop {
            let watched = state_sql::awake(&self.db, after, PAGE).await?;
            let Some(last) = watched.last() else { return Ok(()) };
            after = last.student_id;
            let mut wanted = Vec::new();
            for student in &watched {
                let limit = match (student.cell_id, student.unsolved_since) {
                    (Some(cell_id), Some(_)) => self.limit(&mut limits, cell_id, student.class.as_deref()).await?,
                    _ => TimeDelta::MAX,
                };
                let rules = self.rules(student, limit, now);
                if rules != (student.is_stuck, student.is_asking, false) {
                    wanted.push((student.clone(), rules));
                }
            }
            if !wanted.is_empty() {
                self.switch(wanted, now).await?;
            }
        }
    }

    /// Whether this student is stuck, asking, idle.
    fn rules(&self, student: &Watched, limit: TimeDelta, now: DateTime<Utc>) -> (bool, bool, bool) {
        let seconds = |number: u64| TimeDelta::seconds(i64::try_from(number).unwrap_or(i64::MAX / 1000));
        let idle = now - student.last_received_at > seconds(self.options.idle_s);
        let stuck = student.unsolved_since.is_some_and(|since| now - since > limit);
        let repeated = student.help_received_at.is_some_and(|at| now - at <= seconds(self.options.help_timeout_s));
        (stuck, student.is_asking && repeated, idle)
    }

    /// How long this class may take for this cell.
    async fn limit(
        &self,
        known: &mut HashMap<(i64, String), TimeDelta>,
        cell_id: i64,
        class: Option<&str>,
    ) -> Result<TimeDelta, DbError> {
        let key = (cell_id, class.unwrap_or_default().to_owned());
        if let Some(limit) = known.get(&key) {
            return Ok(*limit);
        }
        let least = TimeDelta::seconds(i64::try_from(self.options.stuck_min_s).unwrap_or(i64::MAX / 1000));
        let solved = state_sql::solved(&self.db, cell_id, class).await?;
        let mut times: Vec<TimeDelta> = solved.iter().map(|it| it.solved_at - it.started_at).collect();
        times.sort();
        let factor = i32::try_from(self.options.stuck_factor).unwrap_or(i32::MAX);
        let limit = match times.get(times.len() / 2) {
            Some(median) if times.len() >= FEWEST => (*median * factor).max(least),
            _ => least * 2,
        };
        known.insert(key, limit);
        Ok(limit)
    }

    /// Writes and tells what is still so when the states are held.
    async fn switch(&self, wanted: Vec<(Watched, (bool, bool, bool))>, now: DateTime<Utc>) -> Result<(), BatchError> {
        let ids: Vec<i64> = wanted.iter().map(|(student, _)| student.student_id).collect();
        let mut tx = self.db.begin().await?;
        let held = state_sql::lock(&mut tx, &ids).await?;
        let mut held: BTreeMap<i64, State> = held.into_iter().map(|state| (state.student_id, state)).collect();
        let mut changes = Vec::new();
        let mut changed = BTreeMap::new();
        for (student, (stuck, asking, idle)) in wanted {
            let Some(mut state) = held.remove(&student.student_id) else { continue };
            // An event that came in between has decided anew, and so has another node's watch.
            let same_place = state.cell_id == student.cell_id && state.last_received_at == student.last_received_at;
            if !same_place || state.is_idle {
                continue;
            }
            let before = Signals::of(&state);
            (state.is_stuck, state.is_asking, state.is_idle) = (stuck, asking, idle);
            changes.extend(before.changes(Signals::of(&state)).map(|change| (state.student_id, change)));
            if before.help && !asking {
                state_sql::help_stop(&mut tx, state.student_id, now).await?;
            }
            changed.insert(state.student_id, state);
        }
        if changed.is_empty() {
            return Ok(());
        }
        state_sql::save(&mut tx, &changed.values().cloned().collect::<Vec<_>>()).await?;
        let messages = signal_messages(&mut tx, &changed, &changes, now).await?;
        self.outbox.stage_all(&mut tx, PROGRESS_EVENTS, &messages, now).await.map_err(|error| match error {
            StageError::Db(error) => BatchError::from(error),
            StageError::Json(error) => BatchError::Failed(error.to_string()),
        })?;
        self.outbox.commit(tx).await?;
        for (_, (signal, _)) in changes {
            self.raised.get_or_create(&SignalLabel { signal }).inc();
        }
        Ok(())
    }
}

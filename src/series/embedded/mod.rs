//! A store in the database: history without a second system. Numbers and truth values are kept, texts are not.

mod sql;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::DateTime;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use self::sql::{HOUR_NS, Kept, MINUTE_NS};
use super::store::{ReadError, Series, WriteError};
use super::{Point, Range, SeriesMetrics, SeriesOptions, Step};
use crate::clock::Clock;
use crate::db::{Db, DbError, Tx};

/// How often dirty minutes are rolled up, and how often what is too old goes.
const ROLL_UP_EVERY: Duration = Duration::from_secs(10);
const EXPIRE_EVERY: Duration = Duration::from_secs(600);
/// A minute is rolled up when it has been over for so long: most of what is late comes by then.
const GRACE_NS: i64 = 5 * 1_000_000_000;
/// Points this close to their end are not taken, so that a minute is never rolled up when half of it has gone.
const MARGIN_NS: i64 = HOUR_NS;
/// Rows of one transaction of the two tasks, so that writers get their turn.
const PORTION: i64 = 2_000;

/// Points in the tables `series_*`. Cloning shares it.
#[derive(Clone)]
pub struct Embedded(Arc<Inner>);

struct Inner {
    db: Db,
    clock: Clock,
    options: SeriesOptions,
    metrics: SeriesMetrics,
    keys: Mutex<Keys>,
}

/// The ids of series that have been written to, and how many there are in all.
struct Keys {
    ids: HashMap<Key, i64>,
    count: usize,
}

/// Measurement, field, and tags as a JSON object.
type Key = (String, String, String);

/// A value that is to be written: its key, its time, itself.
type Wanted = (Key, i64, f64);

impl Embedded {
    /// Makes the tables where they are missing.
    pub async fn open(db: Db, clock: Clock, options: SeriesOptions, metrics: SeriesMetrics) -> Result<Self, DbError> {
        sql::create_tables(&db).await?;
        let count = usize::try_from(sql::count_keys(&db).await?).unwrap_or(usize::MAX);
        let keys = Mutex::new(Keys { ids: HashMap::new(), count });
        Ok(Self(Arc::new(Inner { db, clock, options, metrics, keys })))
    }

    /// Rolls up and expires until `stop`.
    pub async fn tend(self, stop: CancellationToken) {
        let mut expired_at: Option<tokio::time::Instant> = None;
        while !stop.is_cancelled() {
            if let Err(error) = self.roll_up().await {
                tracing::warn!(%error, "time series could not be rolled up; trying again");
            }
            if expired_at.is_none_or(|at| at.elapsed() >= EXPIRE_EVERY) {
                expired_at = Some(tokio::time::Instant::now());
                if let Err(error) = self.expire().await {
                    tracing::warn!(%error, "old points could not be removed; trying again");
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(ROLL_UP_EVERY) => {}
            }
        }
    }

    /// Makes minutes and hours of everything whose minute is over.
    pub async fn roll_up(&self) -> Result<(), DbError> {
        let before_ns = self.now_ns() - MINUTE_NS - GRACE_NS;
        loop {
            let mut tx = self.0.db.begin().await?;
            let rolled = sql::roll_up(&mut tx, before_ns, PORTION).await?;
            tx.commit().await?;
            if rolled < PORTION as usize {
                return Ok(());
            }
        }
    }

    /// Removes what is older than the options say.
    pub async fn expire(&self) -> Result<(), DbError> {
        let options = &self.0.options;
        for (kept, keep_s) in [
            (Kept::Points, options.keep_points_s),
            (Kept::Minutes, options.keep_minutes_s),
            (Kept::Hours, options.keep_hours_s),
        ] {
            let before_ns = self.now_ns() - span_ns(keep_s);
            while sql::expire(&self.0.db, kept, before_ns, PORTION).await? == PORTION as u64 {}
        }
        Ok(())
    }

    async fn try_write(&self, points: &[Point]) -> Result<u64, DbError> {
        let oldest_ns = self.now_ns() - span_ns(self.0.options.keep_points_s) + MARGIN_NS;
        let young: Vec<&Point> = points.iter().filter(|point| point.at_ns() >= oldest_ns).collect();
        let too_old = (points.len() - young.len()) as u64;
        let wanted: Vec<Wanted> = young.iter().flat_map(|point| values_of(point)).collect();
        let mut tx = self.0.db.begin().await?;
        let (ids, new) = self.ids(&mut tx, &wanted).await?;
        // By series and time: the order of the tables, and the later of two equal ones counts.
        let (mut values, mut minutes) = (BTreeMap::new(), BTreeSet::new());
        let mut without_key = BTreeSet::new();
        for (key, at_ns, value) in &wanted {
            match ids.get(key) {
                Some(id) => {
                    values.insert((*id, *at_ns), *value);
                    minutes.insert((*id, at_ns - at_ns % MINUTE_NS));
                }
                None => {
                    without_key.insert((&key.0, &key.2, at_ns));
                }
            }
        }
        if !values.is_empty() {
            let point = |((series_id, at_ns), value)| sql::PointRow { series_id, at_ns, value };
            let values: Vec<_> = values.into_iter().map(point).collect();
            let minutes: Vec<_> =
                minutes.into_iter().map(|(series_id, at_ns)| sql::MinuteRow { series_id, at_ns }).collect();
            sql::write(&mut tx, &values, &minutes).await?;
        }
        tx.commit().await?;
        {
            // Only now: what is rolled back leaves no key behind.
            let mut keys = self.keys();
            keys.ids.extend(ids);
            keys.count += new;
        }
        self.0.metrics.drop_points("too_old", too_old);
        let unknown = without_key.len() as u64;
        self.0.metrics.drop_points("too_many_series", unknown);
        Ok((young.len() as u64).saturating_sub(unknown))
    }

    /// The ids of all keys, of new ones as many as the bound allows; and how many are new.
    async fn ids(&self, tx: &mut Tx, wanted: &[Wanted]) -> Result<(HashMap<Key, i64>, usize), DbError> {
        let (mut ids, mut unknown) = (HashMap::new(), BTreeSet::new());
        let free = {
            let keys = self.keys();
            for (key, ..) in wanted {
                match keys.ids.get(key) {
                    Some(id) => drop(ids.insert(key.clone(), *id)),
                    None => drop(unknown.insert(key.clone())),
                }
            }
            self.0.options.max_series.saturating_sub(keys.count)
        };
        if unknown.is_empty() {
            return Ok((ids, 0));
        }
        let as_json = |keys: &BTreeSet<Key>| keys.iter().map(|(m, f, t)| json!([m, f, t])).collect::<Json>();
        let mut found = sql::found_keys(tx, as_json(&unknown)).await?;
        for key in &found {
            unknown.remove(&(key.measurement.clone(), key.field.clone(), key.tags.clone()));
        }
        if unknown.len() > free {
            tracing::warn!(refused = unknown.len() - free, "there are series.max_series series; new ones are not kept");
        }
        let new: BTreeSet<Key> = unknown.into_iter().take(free).collect();
        if !new.is_empty() {
            found.extend(sql::keys(tx, as_json(&new)).await?);
        }
        ids.extend(found.into_iter().map(|key| ((key.measurement, key.field, key.tags), key.id)));
        Ok((ids, new.len()))
    }

    async fn try_range(&self, range: &Range) -> Result<Vec<Step>, DbError> {
        let keys = sql::keys_of(&self.0.db, &range.measurement, &range.field).await?;
        let matches = |tags: &str| {
            let tags: BTreeMap<String, String> = serde_json::from_str(tags).unwrap_or_default();
            range.tags.iter().all(|(key, value)| tags.get(key).map_or("", String::as_str) == value)
        };
        let ids: Vec<i64> = keys.into_iter().filter(|key| matches(&key.tags)).map(|key| key.id).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = sql::steps(&self.0.db, ids, range).await?;
        let step = |row: sql::StepRow| Step {
            at: DateTime::from_timestamp_nanos(row.step_ns),
            min: row.min,
            max: row.max,
            avg: row.sum / row.count as f64,
            last: row.last,
            count: row.count.unsigned_abs(),
        };
        Ok(rows.into_iter().map(step).collect())
    }

    fn now_ns(&self) -> i64 {
        self.0.clock.now().timestamp_nanos_opt().unwrap_or(i64::MAX)
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.0.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Series for Embedded {
    fn name(&self) -> &'static str {
        "embedded"
    }

    async fn write(&self, points: &[Point]) -> Result<u64, WriteError> {
        // Whatever the database says against it, our statements are right: it can only be the database's state.
        self.try_write(points).await.map_err(|error| WriteError::Later {
            reason: "database",
            after: None,
            detail: error.to_string(),
        })
    }

    async fn range(&self, range: &Range) -> Result<Vec<Step>, ReadError> {
        self.try_range(range).await.map_err(|error| ReadError::Unavailable(error.to_string()))
    }

    async fn ping(&self) -> Result<(), String> {
        self.0.db.ping().await.map_err(|_| "does not answer".to_owned())
    }
}

/// A value for each field that is a number.
fn values_of(point: &Point) -> Vec<Wanted> {
    let tags = serde_json::to_string(point.tags()).unwrap_or_default();
    let value = |(field, value): (&String, &super::Value)| {
        let key = (point.measurement().to_owned(), field.clone(), tags.clone());
        Some((key, point.at_ns(), value.number()?))
    };
    point.fields().iter().filter_map(value).collect()
}

fn span_ns(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000_000)
}

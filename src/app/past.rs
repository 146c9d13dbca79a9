//! The time series: their writer, their store, and the file that the embedded one keeps.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::log_aborted;
use crate::clock::Clock;
use crate::config::Settings;
use crate::db::{Db, DbMetrics, DbOptions};
use crate::feeds::history::History;
use crate::series::{self, DeadLetters, Embedded, Influx, Series, SeriesMetrics, Writer};
use crate::tasks::Tasks;
use crate::telemetry::Registry;

/// The time series: what feeds write to, and the store that keeps it.
pub(super) struct Past {
    pub writer: Writer,
    pub store: Arc<dyn Series>,
    dead: DeadLetters,
    tasks: Tasks,
    /// The embedded store's own file; closed at the end.
    file: Option<Db>,
}

impl Past {
    /// InfluxDB where it is set; otherwise the PostgreSQL that all nodes share, or a file beside the SQLite database, so
    /// that points do not wait for rows nor rows for points. An InfluxDB that is away is no reason not to start.
    pub async fn open(settings: &Settings, db: &Db, clock: &Clock, registry: &mut Registry) -> anyhow::Result<Self> {
        let (options, metrics) = (&settings.series, SeriesMetrics::register(registry));
        let folder = settings.server.data_dir.join("series");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let (tasks, mut file) = (Tasks::new(), None);
        let store: Arc<dyn Series> = match settings.influxdb.options()? {
            Some(at) => Arc::new(Influx::new(at, options.clone(), clock.clone())?),
            None => {
                let db = match db.engine() {
                    "postgres" => db.clone(),
                    _ => file.insert(open_series_file(&folder).await?).clone(),
                };
                let embedded = Embedded::open(db, clock.clone(), options.clone(), metrics.clone()).await;
                let embedded = embedded.context("the tables of the time series cannot be used")?;
                tasks.spawn("series roll-up", embedded.clone().tend(tasks.stop()));
                Arc::new(embedded)
            }
        };
        let started = series::start(&folder, store.clone(), options, clock, &metrics, &tasks);
        let (writer, dead) = started.context("the spool of time series cannot be used")?;
        Ok(Self { writer, store, dead, tasks, file })
    }

    pub fn history(&self, clock: &Clock) -> History {
        History::new(self.store.clone(), self.dead.clone(), clock.clone())
    }

    /// Sends what the store takes within the time; the rest stays in the spool.
    pub async fn close(self, within: Duration) {
        // Before the batcher, which a store that hangs may hold up until it is aborted.
        if tokio::time::timeout(within, self.writer.flush()).await.is_err() {
            tracing::error!("the disk did not take the last points in time");
        }
        log_aborted(self.tasks.drain(within).await);
        if let Some(file) = self.file {
            file.close().await;
        }
    }
}

/// Few connections: one task writes, and charts are read now and then. Its statements are not among the database's figures.
async fn open_series_file(folder: &Path) -> anyhow::Result<Db> {
    let options = DbOptions { pool_size: 4, ..DbOptions::default() };
    let url = format!("sqlite://{}", folder.join("series.db").display());
    let metrics = DbMetrics::register(&mut Registry::default());
    Db::open(&url, &options, metrics).await.context("the file of the time series cannot be used")
}

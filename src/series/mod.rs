//! History: points of time series, written through a spool on disk, kept by InfluxDB or by an embedded store.
//!
//! Feeds hand points to a [`Writer`], which never fails them. One thread appends the points to the spool; from there the
//! batcher takes them to the store, in order, as long as that takes. A point that is in the spool survives the end of
//! this process, however it comes. Points are written at least once, and writing one again changes nothing.

mod batcher; // from the spool to the store
mod dead; // what a store refuses
mod embedded; // a store in the database
mod influx; // a store of its own
mod line; // InfluxDB's line protocol
mod metrics;
mod options;
mod point;
mod range; // questions
mod spool; // points on disk, until the store has them
mod store; // the seam
mod writer; // what feeds hold

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::tasks::Tasks;

pub use batcher::Batcher;
pub use dead::{DeadLetter, DeadLetters};
pub use embedded::Embedded;
pub use influx::{ClientError, Influx, InfluxOptions, SetupError};
pub use line::{encode, encode_all};
pub use metrics::SeriesMetrics;
pub use options::{SeriesOptions, SeriesOptionsError};
pub use point::{Point, PointError, Value};
pub use range::{MAX_STEPS, Range, RangeError, Step};
pub use spool::{Batch, Position, Spool};
pub use store::{ReadError, Series, WriteError};
pub use writer::{NotKept, Writer};

/// Opens the spool below `folder` and starts what brings its points to `store`; ends with `tasks`.
pub fn start(
    folder: &Path,
    store: Arc<dyn Series>,
    options: &SeriesOptions,
    clock: &Clock,
    metrics: &SeriesMetrics,
    tasks: &Tasks,
) -> std::io::Result<(Writer, DeadLetters)> {
    let spool = Arc::new(Spool::open(&folder.join("spool"), options.spool_bytes, metrics.clone())?);
    let news = Arc::new(Notify::new());
    let sync_every = Duration::from_millis(options.sync_ms);
    let writer = Writer::start(spool.clone(), news.clone(), options.queue_points, sync_every, metrics.clone())?;
    let dead = DeadLetters::new(folder.to_owned(), options.dead_letter_bytes);
    metrics.store_up.set(1);
    let batcher = Batcher {
        spool,
        store,
        writer: writer.clone(),
        news,
        dead: dead.clone(),
        options: options.clone(),
        metrics: metrics.clone(),
        clock: clock.clone(),
    };
    tasks.spawn("series batcher", batcher.run(tasks.stop()));
    Ok((writer, dead))
}

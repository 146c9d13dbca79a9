//! History: points of time series, written through a spool on disk, kept by InfluxDB or by an embedded store.
//!
//! Feeds hand points to a [`Writer`], which never fails them. One thread appends the points to the spool; from there the
//! batcher takes them to the store, in order, as long as that takes. A point that is in the spool survives the end of
//! this process, however it comes. Points are written at least once, and writing one again changes nothing.

mod line; // InfluxDB's line protocol
mod metrics;
mod options;
mod point;
mod spool; // points on disk, until the store has them
mod writer; // what feeds hold

pub use line::{encode, encode_all};
pub use metrics::SeriesMetrics;
pub use options::SeriesOptions;
pub use point::{Point, PointError, Value};
pub use spool::{Batch, Position, Spool};
pub use writer::{NotKept, Writer};

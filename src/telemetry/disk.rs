//! How full the disk of the data folder is, asked at each scrape.

use std::path::PathBuf;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::name;

/// The disk that a folder is on.
#[derive(Debug)]
pub struct Disk(pub PathBuf);

impl Collector for Disk {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Ok(disk) = rustix::fs::statvfs(&self.0) else { return Ok(()) };
        let figures = [
            // What this user may still write, not what root could.
            (name::DATA_FREE, "Left on the disk of the data folder", disk.f_bavail * disk.f_frsize),
            (name::DATA_SIZE, "The disk of the data folder", disk.f_blocks * disk.f_frsize),
        ];
        for (name, help, bytes) in figures {
            let gauge = ConstGauge::new(bytes as f64);
            gauge.encode(encoder.encode_descriptor(name, help, Some(&Unit::Bytes), gauge.metric_type())?)?;
        }
        Ok(())
    }
}

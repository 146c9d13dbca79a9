//! Figures of this process, read from `/proc` at each scrape. Where there is no `/proc`, there are no figures.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// The unit of times in `/proc/…/stat`: a hundredth of a second on every platform that this runs on.
const TICKS_PER_S: f64 = 100.0;

#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let mut gauge = |name, help, unit: Option<&Unit>, value: Option<f64>| match value {
            Some(value) => {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
            }
            None => Ok(()),
        };
        let stat = Stat::read();
        gauge("process_resident_memory", "Memory in RAM", Some(&Unit::Bytes), resident_bytes())?;
        gauge("process_open_fds", "File descriptors open", None, open_fds())?;
        gauge("process_max_fds", "File descriptors that may be open", None, max_fds())?;
        let start = stat.as_ref().and_then(|stat| Some(booted_at_s()? + stat.started_s));
        gauge("process_start_time", "Start, since 1970", Some(&Unit::Seconds), start)?;
        if let Some(stat) = stat {
            let cpu = ConstCounter::new(stat.cpu_s);
            let metric_type = cpu.metric_type();
            cpu.encode(encoder.encode_descriptor(
                "process_cpu",
                "CPU time, user and system",
                Some(&Unit::Seconds),
                metric_type,
            )?)?;
        }
        Ok(())
    }
}

struct Stat {
    cpu_s: f64,
    /// Seconds from the machine's start to the process's.
    started_s: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the program's name in parentheses and may hold anything, spaces as well.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        // Counted from the third field of proc(5), `state`: utime is the 14th, stime the 15th, starttime the 22nd.
        let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
        Some(Self { cpu_s: (ticks(14)? + ticks(15)?) / TICKS_PER_S, started_s: ticks(22)? / TICKS_PER_S })
    }
}

fn resident_bytes() -> Option<f64> {
    number_after(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:").map(|kib| kib * 1024.0)
}

fn max_fds() -> Option<f64> {
    number_after(&fs::read_to_string("/proc/self/limits").ok()?, "Max open files")
}

fn booted_at_s() -> Option<f64> {
    number_after(&fs::read_to_string("/proc/stat").ok()?, "btime ")
}

fn open_fds() -> Option<f64> {
    // The reading of the directory has a descriptor of its own.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

/// The first number on the line that begins with `label`; `unlimited` is none.
fn number_after(text: &str, label: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(label))?.split_ascii_whitespace().next()?.parse().ok()
}

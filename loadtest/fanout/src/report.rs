//! What was measured: a table for people, JSON for scripts, a page for both.

use std::fmt::Write;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::Load;
use crate::clients::Run;
use crate::process::Sample;

pub struct Report {
    /// Name and value, in the order of the table.
    figures: Vec<(&'static str, Value)>,
    latency: Option<Histogram<u64>>,
    over_time: Vec<u64>,
}

impl Report {
    pub fn new(load: &Load, connecting: Duration, before: Sample, connected: Sample, settled: Sample) -> Self {
        let connections = load.connections as f64;
        let figures = vec![
            ("label", json!(load.label)),
            ("connections", json!(load.connections)),
            ("connect_s", round(connecting.as_secs_f64(), 3)),
            ("connect_cpu_us", round((connected.cpu_s - before.cpu_s) * 1e6 / connections, 1)),
            ("rss_mib", round(settled.rss_kib / 1024.0, 1)),
            ("rss_kib_per_connection", round((settled.rss_kib - before.rss_kib) / connections, 2)),
        ];
        Self { figures, latency: None, over_time: Vec::new() }
    }

    pub fn finish(&mut self, load: &Load, run: Run, sent: u64, before: Sample, after: Sample, closed: usize) {
        let readers = (load.connections - load.frozen) as u64;
        let expected = sent * load.expect.unwrap_or(readers);
        let (cpu_s, delivered, wall_s) =
            (after.cpu_s - before.cpu_s, run.delivered.max(1) as f64, run.wall.as_secs_f64());
        let at = |quantile| round(run.latency.value_at_quantile(quantile) as f64 / 1e6, 3);
        self.figures.extend([
            ("messages", json!(sent)),
            ("delivered", json!(run.delivered)),
            ("lost", json!(expected as i64 - run.delivered as i64)),
            ("closed_early", json!(closed)),
            ("wall_s", round(wall_s, 3)),
            ("deliveries_per_s", round(delivered / wall_s.max(1e-9), 0)),
            ("cpu_us_per_delivery", round(cpu_s * 1e6 / delivered, 4)),
            ("latency_p50_ms", at(0.5)),
            ("latency_p99_ms", at(0.99)),
            ("latency_p999_ms", at(0.999)),
            ("latency_max_ms", round(run.latency.max() as f64 / 1e6, 3)),
            ("rss_mib_after", round(after.rss_kib / 1024.0, 1)),
        ]);
        self.latency = Some(run.latency);
        self.over_time = run.over_time;
    }

    pub fn write(&self, load: &Load) -> Result<()> {
        for (name, value) in &self.figures {
            println!("{name:<24} {value}");
        }
        if let Some(path) = &load.json {
            let all: Map<String, Value> =
                self.figures.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
            std::fs::write(path, format!("{}\n", Value::Object(all)))?;
        }
        if let Some(path) = &load.html {
            std::fs::write(path, self.page()?)?;
        }
        Ok(())
    }

    /// One page, nothing loaded from elsewhere.
    fn page(&self) -> Result<String> {
        let mut rows = String::new();
        for (name, value) in &self.figures {
            write!(rows, "<tr><th>{name}</th><td>{}</td></tr>", escape(&value.to_string()))?;
        }
        let mut bars = String::new();
        if let Some(latency) = &self.latency {
            let buckets: Vec<(f64, u64)> = latency
                .iter_log(10_000, 1.5)
                .map(|step| (step.value_iterated_to() as f64 / 1e6, step.count_since_last_iteration()))
                .collect();
            let label = |ms: f64| if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") };
            bars = chart(
                "Latency of deliveries (upper bounds)",
                &buckets.iter().map(|(ms, count)| (label(*ms), *count)).collect::<Vec<_>>(),
            )?;
        }
        let points: Vec<(String, u64)> = self
            .over_time
            .iter()
            .enumerate()
            .map(|(i, count)| (format!("{:.1} s", i as f64 / 10.0), count * 10))
            .collect();
        let line = chart("Deliveries per second over time", &points)?;
        Ok(format!(
            "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
             <title>Fan-out: {title}</title><style>:root{{color-scheme:light dark}}body{{font:15px/1.5 system-ui;max-width:60rem;\
             margin:2rem auto;padding:0 1rem}}th{{text-align:left;font-weight:500;padding-right:2rem}}td{{text-align:right;\
             font-variant-numeric:tabular-nums}}svg{{width:100%;height:14rem}}rect{{fill:#4a5bd4}}text{{fill:currentColor;\
             font:11px system-ui}}</style><h1>Fan-out: {title}</h1><table>{rows}</table>{bars}{line}</html>",
            title = escape(&self.figures[0].1.to_string())
        ))
    }
}

/// Bars of counts; each says its label and figure to whoever points at it.
fn chart(title: &str, points: &[(String, u64)]) -> Result<String> {
    let most = points.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1) as f64;
    let width = 1000.0 / points.len().max(1) as f64;
    let mut out = format!("<h2>{title}</h2><svg viewBox='0 0 1000 240' role=img aria-label='{title}'>");
    for (i, (label, count)) in points.iter().enumerate() {
        let height = *count as f64 / most * 200.0;
        write!(
            out,
            "<rect x='{:.1}' y='{:.1}' width='{:.1}' height='{height:.1}'><title>{label}: {count}</title></rect>",
            i as f64 * width,
            210.0 - height,
            (width - 1.0).max(0.5)
        )?;
        if i % (points.len() / 8 + 1) == 0 {
            write!(out, "<text x='{:.1}' y='230'>{label}</text>", i as f64 * width)?;
        }
    }
    out.push_str("</svg>");
    Ok(out)
}

fn escape(text: &str) -> String {
    text.trim_matches('"').replace('&', "&amp;").replace('<', "&lt;")
}

fn round(value: f64, places: i32) -> Value {
    let scale = 10f64.powi(places);
    json!((value * scale).round() / scale)
}

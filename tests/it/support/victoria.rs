//! A real VictoriaMetrics: a store of time series that takes InfluxDB's writes.

use std::collections::BTreeMap;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::child::{Child, Log};
use super::{eventually, free_port, program, temp_dir};

/// A store of this test alone. Its data outlives its process.
pub struct Victoria {
    child: Option<Child>,
    port: u16,
    folder: TempDir,
}

impl Victoria {
    pub async fn start() -> Self {
        let folder = temp_dir("victoria");
        // Another process may take the port between the look and the bind: then this server ends, and we look again.
        for _ in 0..5 {
            let port = free_port();
            if let Some(child) = spawn(&folder, port, Log::default()).await {
                return Self { child: Some(child), port, folder };
            }
        }
        panic!("victoria-metrics did not start on any of five ports");
    }

    /// A store that is not there yet; `restart` brings it up.
    pub fn absent() -> Self {
        Self { child: None, port: free_port(), folder: temp_dir("victoria") }
    }

    /// What `INFLUXDB_URL` is set to.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends it, and waits for that. By SIGTERM: it has no log of its own, and SIGKILL would take what it has acknowledged.
    pub fn end(&mut self) {
        self.child = None;
    }

    /// Starts it again on the same port and data.
    pub async fn restart(&mut self) {
        self.child = None;
        let child = spawn(&self.folder, self.port, Log::default()).await;
        self.child = Some(child.expect("victoria-metrics starts again on its port"));
    }

    /// Freezes the server: connections stay open, nothing is answered.
    pub fn stop_signal(&self) {
        self.child.as_ref().expect("it runs").signal(Signal::SIGSTOP);
    }

    pub fn continue_signal(&self) {
        self.child.as_ref().expect("it runs").signal(Signal::SIGCONT);
    }

    /// Everything under one name (`<measurement>_<field>`): labels, and milliseconds with values, in order. A point that
    /// was written twice is there once.
    pub async fn series(&self, name: &str) -> Vec<(BTreeMap<String, String>, Vec<(i64, f64)>)> {
        let client = super::http();
        let get = |path: String| client.get(format!("{}{path}", self.url())).send();
        get("/internal/force_flush".into()).await.expect("flush").error_for_status().expect("flush");
        let export = get(format!("/api/v1/export?match[]={name}&start=1&end=4000000000")).await.expect("export");
        let text = export.error_for_status().expect("export").text().await.expect("export");
        let mut found = BTreeMap::<BTreeMap<String, String>, Vec<(i64, f64)>>::new();
        for line in text.lines() {
            let block: Value = serde_json::from_str(line).expect("a line of JSON");
            let text = |value: &Value| value.as_str().expect("a label").to_owned();
            let labels = block["metric"].as_object().expect("labels").iter().map(|(k, v)| (k.clone(), text(v)));
            let values = found.entry(labels.filter(|(key, _)| key != "__name__").collect()).or_default();
            let times = block["timestamps"].as_array().expect("times").iter().map(|at| at.as_i64().expect("a time"));
            values.extend(
                times.zip(block["values"].as_array().expect("values").iter().map(|v| v.as_f64().expect("a value"))),
            );
        }
        for values in found.values_mut() {
            values.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
            values.dedup();
        }
        found.into_iter().collect()
    }

    /// How many points there are under one name.
    pub async fn count(&self, name: &str) -> usize {
        self.series(name).await.iter().map(|(_, values)| values.len()).sum()
    }

    /// Lines that it could not read. It answers 204 to those, too.
    pub async fn invalid_lines(&self) -> u64 {
        let figures = super::http().get(format!("{}/metrics", self.url())).send().await.expect("metrics");
        let text = figures.text().await.expect("metrics");
        let line = text.lines().find_map(|line| line.strip_prefix("vm_rows_invalid_total{type=\"influx\"} "));
        line.expect("the counter").parse().expect("a number")
    }
}

/// Starts the server and waits until it answers; `None` when it ended instead, as it does when the port is taken.
async fn spawn(folder: &TempDir, port: u16, log: Log) -> Option<Child> {
    let mut command = Command::new(program("victoria-metrics", &[]));
    command.arg(format!("-storageDataPath={}", folder.path().display()));
    command.arg(format!("-httpListenAddr=127.0.0.1:{port}"));
    command.args(["-retentionPeriod=100y", "-search.latencyOffset=0s", "-memory.allowedBytes=64MB"]);
    let child = Child::start_logged("victoria-metrics", &mut command, Signal::SIGTERM, Some(folder.path()), log);
    let child = std::sync::Mutex::new(child);
    let client = super::http();
    let ready = eventually("victoria-metrics answers", || async {
        if child.lock().expect("lock").ended().is_some() {
            return Some(false);
        }
        let answer = client.get(format!("http://127.0.0.1:{port}/health")).send().await.ok()?;
        answer.status().is_success().then_some(true)
    })
    .await;
    ready.then(|| child.into_inner().expect("lock"))
}

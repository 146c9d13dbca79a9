//! Alert rules, their pages, and dashboards: all by names that the server has.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Fanfare, Settings, program, temp_dir};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

fn promtool(args: &[&str]) {
    let output = Command::new(program("promtool", &[])).current_dir(root("")).args(args).output().expect("promtool");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
}

/// Every metric that the sources name, with the prefix and without what the encoder adds.
fn known() -> BTreeSet<String> {
    let source = read(root("src/telemetry.rs"));
    let names = source.lines().filter_map(|line| line.trim().strip_prefix("pub const ")?.split_once("&str = \""));
    let own = names.map(|(_, name)| format!("fanfare_{}", name.trim_end_matches("\";")));
    let process = ["resident_memory", "open_fds", "max_fds", "start_time", "cpu"].map(|name| format!("process_{name}"));
    own.chain(process).collect()
}

/// What the encoder and Prometheus make of a name.
fn is_known(name: &str, known: &BTreeSet<String>) -> bool {
    let mut base = name;
    loop {
        if known.contains(base) {
            return true;
        }
        let ends = ["_total", "_bucket", "_count", "_sum", "_info", "_seconds", "_bytes"];
        let Some(shorter) = ends.iter().find_map(|end| base.strip_suffix(end)) else { return false };
        base = shorter;
    }
}

/// Names that look like metrics in an expression.
fn named(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| c != '_' && !c.is_ascii_alphanumeric());
    words.filter(|word| word.starts_with("fanfare_") || word.starts_with("process_")).map(str::to_owned).collect()
}

fn alerts() -> Vec<String> {
    let rules = read(root("deploy/prometheus/alerts.yaml"));
    rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ").map(str::to_owned)).collect()
}

#[test]
fn every_rule_fires_when_it_should_and_only_then() {
    promtool(&["check", "config", "--syntax-only", "deploy/prometheus/prometheus.yaml"]);
    promtool(&["test", "rules", "deploy/prometheus/tests.yaml"]);
    let tests = read(root("deploy/prometheus/tests.yaml"));
    for alert in alerts() {
        assert!(tests.contains(&format!("name: {alert} fires\n")), "{alert} has no test that it fires");
        assert!(tests.contains(&format!("name: {alert} does not fire\n")), "{alert} has no test that it does not");
    }
}

#[test]
fn every_alert_has_a_page_and_every_page_an_alert() {
    let alerts: BTreeSet<String> = alerts().into_iter().collect();
    assert!(alerts.len() > 15);
    let pages = std::fs::read_dir(root("docs/runbooks")).expect("docs/runbooks").map(|it| it.expect("entry").path());
    let pages: BTreeSet<String> =
        pages.map(|page| page.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned()).collect();
    let mut with_contents = alerts.clone();
    with_contents.insert("README".into());
    assert_eq!(pages, with_contents);
    for alert in alerts {
        let page = read(root(&format!("docs/runbooks/{alert}.md")));
        for part in ["What it means", "Where to look", "What to do"] {
            assert!(page.contains(part), "{alert}.md does not say: {part}");
        }
    }
}

#[test]
fn rules_pages_and_dashboards_name_metrics_that_exist() {
    let mut known = known();
    // Written by deploy/backup/run.
    assert!(read(root("deploy/backup/run")).contains("fanfare_backup_last_success_timestamp_seconds"));
    known.insert("fanfare_backup_last_success_timestamp".into());
    let mut texts = vec![("alerts.yaml".to_owned(), read(root("deploy/prometheus/alerts.yaml")))];
    for folder in ["docs/runbooks", "deploy/grafana/dashboards"] {
        for entry in std::fs::read_dir(root(folder)).expect("a folder") {
            let path = entry.expect("entry").path();
            texts.push((path.display().to_string(), read(path)));
        }
    }
    let mut wrongs = Vec::new();
    for (file, text) in texts {
        let names = named(&text).into_iter().filter(|name| !is_known(name, &known));
        wrongs.extend(names.map(|name| format!("{file} names {name}, which nothing reports")));
    }
    assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
}

#[test]
fn dashboards_are_whole() {
    let mut rules = "groups:\n- name: a\n  rules:\n".to_owned();
    for name in ["streams", "server"] {
        let board: Value =
            serde_json::from_str(&read(root(&format!("deploy/grafana/dashboards/{name}.json")))).expect("JSON");
        let panels = board["panels"].as_array().expect("panels");
        let ids: BTreeSet<i64> = panels.iter().map(|panel| panel["id"].as_i64().expect("id")).collect();
        assert_eq!(ids.len(), panels.len(), "panels of {name} share a number");
        for panel in panels.iter().filter(|panel| panel["type"] != "row") {
            assert_eq!(panel["datasource"]["uid"], "prometheus");
            for target in panel["targets"].as_array().expect("targets") {
                let expression = target["expr"].as_str().expect("expr").replace("$instance", ".*");
                rules.push_str(&format!("  - record: a:{}\n    expr: '{expression}'\n", rules.len()));
            }
        }
    }
    // As rules, so that Prometheus itself says whether it can read them.
    let folder = temp_dir("rules");
    let file = folder.path().join("rules.yaml");
    std::fs::write(&file, rules).expect("write");
    promtool(&["check", "rules", "--lint=none", file.to_str().expect("text")]);
}

#[tokio::test]
async fn the_server_reports_by_the_conventions_and_no_label_grows_with_its_callers() {
    let server = Fanfare::start(Settings::new().env("FANFARE__RATE__PER_ADDRESS", "0")).await;
    let client = reqwest::Client::new();
    let scrape = async || client.get(format!("{}/metrics", server.url())).send().await.expect("scrape").text().await;
    let ask = async |from: usize| {
        for n in from..from + 30 {
            let base = server.url();
            for path in [
                format!("/nowhere/{n}"),
                format!("/api/v1/inventory/{n}"),
                format!("/api/v1/inventory?category=c{n}"),
                format!("/api/v1/progress/x{n}"),
                format!("/api/v1/series/m{n}"),
            ] {
                let request = client.get(format!("{base}{path}")).header("authorization", format!("Bearer t{n}"));
                request.header("x-forwarded-for", format!("10.0.0.{n}")).send().await.expect("an answer");
            }
            let item = serde_json::json!({ "sku": format!("SKU-{n}"), "name": "x", "category": format!("c{n}") });
            client.post(format!("{base}/api/v1/inventory")).json(&item).send().await.expect("an answer");
            let method = reqwest::Method::from_bytes(format!("M{n}").as_bytes()).expect("a method");
            client.request(method, format!("{base}/health")).send().await.expect("an answer");
            let mut stream = server.ws(&format!("/ws/price?sku=S{n}")).await;
            stream.close(None).await.expect("close");
        }
    };
    let series = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').expect("a value").0.to_owned()).collect()
    };
    // The scrape itself is a route, too.
    scrape().await.expect("text");
    ask(1000).await;
    let before = scrape().await.expect("text");
    ask(2000).await;
    let after = scrape().await.expect("text");
    let grown: Vec<String> = series(&after).difference(&series(&before)).cloned().collect();
    assert!(grown.is_empty(), "new series for new callers: {grown:#?}");
    for word in ["SKU-10", "/1001", "c1001", "t1001", "10.0.0", "M1001"] {
        assert!(!after.contains(word), "{word} is in a label");
    }

    let known = known();
    for line in after.lines() {
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) else { continue };
        assert!(is_known(name, &known), "{name} is not in telemetry::name");
        assert!(name.bytes().all(|b| b == b'_' || b.is_ascii_lowercase() || b.is_ascii_digit()), "{name}");
        for unit in ["_ms", "_milliseconds", "_kb", "_mb", "_percent", "_count"] {
            assert!(!name.ends_with(unit), "{name} is not in a base unit");
        }
        if kind == "histogram" {
            assert!(
                ["_seconds", "_bytes", "_per_write"].iter().any(|end| name.ends_with(end)),
                "{name} does not say its unit"
            );
        }
        let help = after.lines().any(|line| line.starts_with(&format!("# HELP {name} ")));
        assert!(help, "{name} does not say what it is");
    }
    // Counters end in _total, and nothing else does.
    for line in series(&after) {
        let name = line.split('{').next().expect("a name");
        let counter = after.contains(&format!("# TYPE {} counter", name.trim_end_matches("_total")));
        assert_eq!(counter, name.ends_with("_total"), "{name}");
    }
}

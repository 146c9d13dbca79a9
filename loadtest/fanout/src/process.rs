//! CPU time and memory of a process with all that it started, from /proc.

use std::fs;

#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    pub cpu_s: f64,
    pub rss_kib: f64,
}

/// Nothing is known of no process: zeros.
pub fn sample(root: Option<u32>) -> Sample {
    let mut pids: Vec<u32> = root.into_iter().collect();
    let (mut total, mut next) = (Sample::default(), 0);
    while let Some(pid) = pids.get(next).copied() {
        next += 1;
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            pids.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        total.cpu_s += cpu_s(pid).unwrap_or(0.0);
        total.rss_kib += rss_kib(pid).unwrap_or(0.0);
    }
    total
}

/// User and system time; /proc counts in hundredths of a second on every Linux of today.
fn cpu_s(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / 100.0)
}

fn rss_kib(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
}

//! Synthetic messages for the feeds that have no rows in the shop: notices, a class at its notebooks, a matching batch.

use chrono::SecondsFormat;
use serde_json::{Value, json};

use crate::clock::Clock;

const PROGRESS_EVENTS: &str = "progress:events";
const MATCH_NOTIFICATIONS: &str = "match:notifications";
const BATCH_PROGRESS: &str = "batch:progress";
const SYSTEM_NOTIFICATIONS: &str = "system:notifications";

const STUDENTS: [&str; 12] = [
    "佐藤 花",
    "鈴木 健",
    "高橋 葵",
    "田中 蓮",
    "伊藤 凛",
    "渡辺 樹",
    "山本 結衣",
    "中村 陽翔",
    "Alice",
    "Bruno",
    "Chloé",
    "Dmitri",
];
const TEAMS: [&str; 3] = ["チームA", "チームB", "チームC"];
const ERRORS: [&str; 4] = [
    "NameError: name 'df' is not defined",
    "ZeroDivisionError: division by zero",
    "KeyError: '売上'",
    "SyntaxError: invalid syntax",
];
const JOBS: [(&str, &str); 5] = [
    ("ホールスタッフ", "渋谷カフェ"),
    ("レジスタッフ", "梅田マート"),
    ("Warehouse picker", "Nagoya Logistics"),
    ("塾講師", "横浜ゼミナール"),
    ("Web developer", "Fukuoka Soft"),
];

pub type Message = (&'static str, Value);

/// Put into each message just before it is sent, so that the script itself stays free of the clock.
pub fn stamp(data: &mut Value, clock: &Clock) {
    let now = clock.now().to_rfc3339_opts(SecondsFormat::Millis, true);
    for field in ["timestamp", "eventTime"] {
        if let Some(value) = data.get_mut(field) {
            *value = Value::from(now.clone());
        }
    }
}

pub fn notice(text: &str) -> Message {
    let data = json!({
        "message_type": "system_notification", "level": "info", "message": text, "synthetic": true, "timestamp": "",
    });
    (SYSTEM_NOTIFICATIONS, data)
}

/// Twelve students, each somewhere in one notebook.
#[derive(Default)]
pub struct Classroom {
    cell: [u32; STUDENTS.len()],
    runs: u32,
}

impl Classroom {
    /// The next cell that somebody runs. The harder the cell, the likelier it fails and is run again.
    pub fn cell(&mut self, random: &mut fastrand::Rng) -> Message {
        let student = random.usize(..STUDENTS.len());
        let cell = self.cell[student];
        self.runs += 1;
        let failed = random.u32(..100) < 8 + (cell % 7) * 6;
        if !failed {
            self.cell[student] = (cell + 1) % 24;
        }
        let mut data = json!({
            "message_type": "progress_update",
            "eventId": format!("demo-{:08x}-{}", random.u32(..), self.runs),
            "eventType": "cell_executed",
            "eventTime": "",
            "userId": format!("demo-student-{:02}", student + 1),
            "userName": STUDENTS[student],
            "teamName": TEAMS[student % TEAMS.len()],
            "notebookPath": "demo/データ分析入門.ipynb",
            "cellId": format!("demo-cell-{:02}", cell + 1),
            "cellIndex": cell,
            "cellType": "code",
            "executionCount": self.runs,
            "hasError": failed,
            "executionDurationMs": random.u32(20..4000),
            "metadata": {"synthetic": true},
        });
        if failed {
            data["errorMessage"] = Value::from(ERRORS[random.usize(..ERRORS.len())]);
        }
        (PROGRESS_EVENTS, data)
    }
}

/// A matching batch that runs some times a day.
#[derive(Default)]
pub struct BatchRun {
    number: u32,
    failed: u32,
}

impl BatchRun {
    pub const STEPS: usize = 20;
    const USERS_PER_STEP: usize = 50;

    /// One step forward: progress, and after the last one somebody's matches.
    pub fn step(&mut self, step: usize, random: &mut fastrand::Rng) -> Message {
        if step == 0 {
            (self.number, self.failed) = (self.number + 1, 0);
        }
        if step == Self::STEPS {
            return self.matches(random);
        }
        self.failed += u32::from(random.u32(..12) == 0);
        let state = if step + 1 == Self::STEPS { "completed" } else { "running" };
        let data = json!({
            "message_type": "batch_progress",
            "batch_id": format!("demo-{}", self.number),
            "batch_type": "daily_matching",
            "state": state,
            "processed": (step + 1) * Self::USERS_PER_STEP,
            "total": Self::STEPS * Self::USERS_PER_STEP,
            "failed": self.failed,
            "synthetic": true,
            "timestamp": "",
        });
        (BATCH_PROGRESS, data)
    }

    fn matches(&self, random: &mut fastrand::Rng) -> Message {
        let matches: Vec<Value> = JOBS
            .iter()
            .map(|(title, company_name)| {
                let score = random.u32(550..990);
                json!({"title": title, "company_name": company_name, "combined_score": f64::from(score) / 10.0})
            })
            .collect();
        let data = json!({
            "message_type": "match_notification",
            "user_id": format!("demo-user-{:03}", random.u32(1..=200)),
            "batch_id": format!("demo-{}", self.number),
            "matches": matches,
            "synthetic": true,
            "timestamp": "",
        });
        (MATCH_NOTIFICATIONS, data)
    }
}

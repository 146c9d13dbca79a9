//! Stuck, failing, asking, idle: each by its rule, told once when it comes and once when it goes.

use std::time::Duration;

use chrono::DateTime;
use fanfare::clock::Clock;
use fanfare::db::Db;
use fanfare::feeds::Outbox;
use fanfare::feeds::progress::{Context, Effects, Event, ProgressOptions, Watch, read_event};
use fanfare::queue::{BatchHandler, Queue, QueueOptions};
use fanfare::series::Writer;
use fanfare::telemetry::Registry;
use serde_json::{Value, json};

use crate::progress_kit::run;
use crate::rows_kit::Text;
use crate::support::databases;

struct Class {
    db: Db,
    clock: Clock,
    effects: Effects,
    watch: Watch,
}

impl Class {
    fn new(db: Db) -> Self {
        let clock = Clock::manual(DateTime::from_timestamp(1_795_000_000, 0).unwrap());
        let mut registry = Registry::default();
        let queue = Queue::new(db.clone(), clock.clone(), QueueOptions::default(), &mut registry);
        let (outbox, options) = (Outbox::new(queue), ProgressOptions::default());
        let effects = Effects::new(clock.clone(), outbox.clone(), Writer::nowhere(), options.clone(), &mut registry);
        let watch = Watch::new(db.clone(), clock.clone(), outbox, options, &mut registry);
        Self { db, clock, effects, watch }
    }

    /// Applies a batch that arrives now.
    async fn take(&self, events: &[Value]) {
        let context =
            Context { received_at: self.clock.now(), class: None, zone_offset_minutes: 0, max_text_bytes: 65_536 };
        let read: Vec<Event> = events.iter().map(|event| read_event(event.clone(), &context).unwrap()).collect();
        let mut tx = self.db.begin().await.unwrap();
        self.effects.apply(&mut tx, &[read]).await.unwrap();
        tx.commit().await.unwrap();
    }

    fn at(&self, second: i64) {
        let now = self.clock.now().timestamp() - 1_795_000_000;
        self.clock.advance(Duration::from_secs((second - now) as u64));
    }

    /// Signals that were told since the last look, as `student signal on`.
    async fn told(&self) -> Vec<String> {
        let sql = "SELECT data AS text FROM outbox ORDER BY id";
        let rows: Vec<Text> = self.db.fetch_all(sql, vec![]).await.unwrap();
        self.db.execute("DELETE FROM outbox", vec![]).await.unwrap();
        let messages = rows.iter().map(|row| serde_json::from_str::<Value>(&row.text).unwrap());
        let signals = messages.filter(|message| message["message_type"] == "progress_signal");
        signals
            .map(|it| format!("{} {} {}", it["userId"].as_str().unwrap(), it["signal"].as_str().unwrap(), it["active"]))
            .collect()
    }
}

#[tokio::test]
async fn failing_is_errors_in_a_row_in_whatever_order_they_come() {
    for test in databases().await {
        let class = Class::new(test.db.clone());
        class.take(&[run("1", "a", 1, 10, Some("E: x")), run("2", "a", 1, 20, Some("E: x"))]).await;
        assert!(class.told().await.is_empty());
        class.take(&[run("3", "a", 1, 30, Some("E: x"))]).await;
        assert_eq!(class.told().await, ["a failing true"]);
        class.take(&[run("3", "a", 1, 30, Some("E: x")), run("4", "a", 1, 40, Some("E: x"))]).await;
        assert!(class.told().await.is_empty(), "told once");
        // A success that arrives late, but was before the last two: two errors in a row are left.
        class.take(&[run("5", "a", 1, 25, None)]).await;
        assert_eq!(class.told().await, ["a failing false"]);
    }
}

#[tokio::test]
async fn help_is_on_until_it_is_stopped_and_runs_out_when_nobody_repeats_it() {
    for test in databases().await {
        let class = Class::new(test.db.clone());
        let help = |id: &str, kind: &str, second| {
            let mut event = run(id, "a", 1, second, None);
            event["eventType"] = kind.into();
            event
        };
        class.take(&[help("1", "help", 10)]).await;
        class.take(&[help("2", "help", 20)]).await;
        assert_eq!(class.told().await, ["a help true"]);
        class.take(&[help("3", "help_stop", 30)]).await;
        assert_eq!(class.told().await, ["a help false"]);
        // A repetition that arrives after the end, but was before it.
        class.take(&[help("4", "help", 25)]).await;
        assert!(class.told().await.is_empty());
        class.at(100);
        class.take(&[help("5", "help", 100)]).await;
        assert_eq!(class.told().await, ["a help true"]);
        class.at(1_900);
        class.take(&[run("6", "a", 1, 1_850, None)]).await;
        class.watch.look().await.unwrap();
        assert!(class.told().await.is_empty(), "half an hour is not over");
        class.at(1_901);
        class.watch.look().await.unwrap();
        assert_eq!(class.told().await, ["a help false"]);
        let sql = "SELECT CAST(count(*) AS TEXT) AS text FROM help_requests WHERE ended_at IS NOT NULL";
        assert_eq!(class.db.fetch_one::<Text>(sql, vec![]).await.unwrap().text, "2");
    }
}

#[tokio::test]
async fn stuck_is_a_multiple_of_the_class_median_and_idle_is_silence() {
    for test in databases().await {
        let class = Class::new(test.db.clone());
        // Three come through cell 2 in 150, 200 and 400 seconds: the limit is three times 200.
        for (student, seconds) in [("a", 150), ("b", 200), ("c", 400)] {
            let id = |part: &str| format!("{student}{part}");
            class.take(&[run(&id("1"), student, 1, 0, None), run(&id("2"), student, 2, seconds, None)]).await;
        }
        class.take(&[run("d1", "d", 1, 0, None), run("d2", "d", 2, 50, Some("E: x"))]).await;
        class.told().await;
        class.at(590);
        class.take(&[run("d3", "d", 2, 590, Some("E: x"))]).await;
        class.watch.look().await.unwrap();
        assert!(class.told().await.is_empty(), "not yet");
        class.at(601);
        class.watch.look().await.unwrap();
        assert_eq!(class.told().await, ["a idle true", "b idle true", "c idle true", "d stuck true"]);
        class.watch.look().await.unwrap();
        assert!(class.told().await.is_empty(), "told once");
        class.take(&[run("d4", "d", 2, 601, None), run("a3", "a", 3, 601, None)]).await;
        let mut told = class.told().await;
        told.sort();
        assert_eq!(told, ["a idle false", "d stuck false"]);
        assert_eq!(json!(class.told().await), json!([]));
    }
}

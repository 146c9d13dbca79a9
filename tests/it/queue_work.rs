//! Queued work on both databases: done, tried again, given up, replayed.

use std::time::Duration;

use chrono::DateTime;
use fanfare::clock::Clock;
use fanfare::queue::{Item, Outcome, Queue, QueueOptions, Work, push};
use fanfare::telemetry::Registry;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use crate::support::{PATIENCE, databases, eventually};

pub const TOPIC: &str = "test";

/// A handler that tells of each attempt, and does as the test says.
pub struct Script {
    pub seen: mpsc::Sender<Item>,
    pub says: Mutex<mpsc::Receiver<Outcome>>,
}

impl fanfare::queue::Handler for Script {
    async fn handle(&self, item: &Item) -> Outcome {
        self.seen.send(item.clone()).await.unwrap();
        self.says.lock().await.recv().await.unwrap()
    }
}

/// The test's side of a script.
pub struct Director {
    seen: mpsc::Receiver<Item>,
    says: mpsc::Sender<Outcome>,
}

pub fn script() -> (Script, Director) {
    let (seen_sender, seen) = mpsc::channel(1000);
    let (says, says_receiver) = mpsc::channel(1000);
    (Script { seen: seen_sender, says: Mutex::new(says_receiver) }, Director { seen, says })
}

impl Director {
    pub async fn next(&mut self) -> Item {
        tokio::time::timeout(PATIENCE, self.seen.recv()).await.expect("an attempt").unwrap()
    }

    pub async fn say(&self, outcome: Outcome) {
        self.says.send(outcome).await.unwrap();
    }

    pub fn idle(&mut self) -> bool {
        self.seen.is_empty()
    }
}

pub fn clock() -> Clock {
    Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).unwrap())
}

pub fn options() -> QueueOptions {
    QueueOptions { poll_ms: 10, max_attempts: 3, ..QueueOptions::default() }
}

/// The value of a counter or gauge in the registry's text.
pub fn metric(registry: &Registry, line: &str) -> u64 {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
    text.lines().find_map(|it| it.strip_prefix(line)?.trim().parse().ok()).unwrap_or(0)
}

/// A worker on its own task, ended with the returned token.
pub fn start(queue: &Queue, script: Script) -> (CancellationToken, tokio::task::JoinHandle<()>) {
    let (stop, queue) = (CancellationToken::new(), queue.clone());
    let token = stop.clone();
    (stop, tokio::spawn(async move { queue.run(TOPIC, script, token).await }))
}

#[tokio::test]
async fn work_exists_when_its_transaction_commits_and_is_gone_when_it_is_done() {
    for test in databases().await {
        let (clock, mut registry) = (clock(), Registry::default());
        let queue = Queue::new(test.db.clone(), clock.clone(), options(), &mut registry);
        let mut tx = test.db.begin().await.unwrap();
        push(&mut tx, TOPIC, &json!({"n": 1}), clock.now()).await.unwrap();
        tx.rollback().await.unwrap();
        let mut tx = test.db.begin().await.unwrap();
        push(&mut tx, TOPIC, &json!({"n": 2, "text": "在庫 \"7\""}), clock.now()).await.unwrap();
        push(&mut tx, "another topic", &json!({"n": 3}), clock.now()).await.unwrap();
        tx.commit().await.unwrap();

        let (script, mut director) = script();
        let (stop, worker) = start(&queue, script);
        let item = director.next().await;
        assert_eq!((item.payload, item.attempts), (json!({"n": 2, "text": "在庫 \"7\""}), 1));
        assert_eq!(item.created_at, clock.now());
        director.say(Outcome::Then(vec![Work::new(TOPIC, &json!({"n": 4}))])).await;
        assert_eq!(director.next().await.payload, json!({"n": 4}), "the successor, not the rolled back one");
        director.say(Outcome::Done).await;
        stop.cancel();
        worker.await.unwrap();
        assert!(director.idle());
        let done = r#"queue_items_finished_total{topic="test",outcome="done"}"#;
        assert_eq!(metric(&registry, done), 2, "{}", test.url);
    }
}

#[tokio::test]
async fn a_failed_attempt_comes_again_after_a_pause_that_doubles() {
    for test in databases().await {
        let (clock, mut registry) = (clock(), Registry::default());
        let queue = Queue::new(test.db.clone(), clock.clone(), options(), &mut registry);
        let (script, mut director) = script();
        let (stop, worker) = start(&queue, script);
        queue.push(TOPIC, &json!("flaky")).await.unwrap();
        for (attempt, pause_s) in [(1, 5), (2, 10)] {
            let item = director.next().await;
            assert_eq!((item.payload, item.attempts), (json!("flaky"), attempt));
            director.say(Outcome::Retry("not today".into())).await;
            wait_for(&registry, "retried", attempt.into()).await;
            // Just before the shortest possible pause: a mark that is pushed now is worked on, the item is not.
            clock.advance(Duration::from_millis(pause_s * 800 - 1));
            queue.push(TOPIC, &json!("mark")).await.unwrap();
            assert_eq!(director.next().await.payload, json!("mark"));
            director.say(Outcome::Done).await;
            wait_for(&registry, "done", attempt.into()).await;
            clock.advance(Duration::from_millis(pause_s * 200 + 1));
        }
        assert_eq!(director.next().await.attempts, 3);
        director.say(Outcome::Done).await;
        stop.cancel();
        worker.await.unwrap();
        assert!(queue.list_dead(None, 0, 10).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_never_succeeds_becomes_a_dead_letter_that_can_be_replayed_or_discarded() {
    for test in databases().await {
        let (clock, mut registry) = (clock(), Registry::default());
        let queue = Queue::new(test.db.clone(), clock.clone(), options(), &mut registry);
        let (script, mut director) = script();
        let (stop, worker) = start(&queue, script);
        queue.push(TOPIC, &json!({"to": "nobody"})).await.unwrap();
        for (attempt, counter, count) in [(1, "retried", 1), (2, "retried", 2), (3, "dead", 1)] {
            assert_eq!(director.next().await.attempts, attempt);
            director.say(Outcome::Retry("no answer".into())).await;
            wait_for(&registry, counter, count).await;
            clock.advance(Duration::from_secs(60));
        }
        let dead = queue.list_dead(Some(TOPIC), 0, 10).await.unwrap();
        let [letter] = dead.as_slice() else { panic!("{dead:?}") };
        assert_eq!((&letter.payload, letter.attempts), (&json!({"to": "nobody"}), 3));
        assert_eq!(letter.last_error.as_deref(), Some("no answer (attempt 3 of 3)"));
        assert!(queue.list_dead(Some("another topic"), 0, 10).await.unwrap().is_empty());
        assert!(queue.list_dead(None, letter.id, 10).await.unwrap().is_empty(), "pages go by id");

        assert!(queue.replay(letter.id).await.unwrap());
        assert!(!queue.replay(letter.id).await.unwrap(), "it is not dead any more");
        assert_eq!(director.next().await.attempts, 1, "a new life");
        director.say(Outcome::Dead("will never be".into())).await;
        wait_for(&registry, "dead", 2).await;
        let dead = queue.list_dead(None, 0, 10).await.unwrap();
        assert_eq!(dead[0].last_error.as_deref(), Some("will never be"), "at once, without further attempts");
        assert!(queue.discard(letter.id).await.unwrap());
        assert!(!queue.discard(letter.id).await.unwrap());
        assert!(queue.list_dead(None, 0, 10).await.unwrap().is_empty());
        stop.cancel();
        worker.await.unwrap();
    }
}

#[tokio::test]
async fn a_handler_that_panics_is_an_attempt_that_failed() {
    struct Panics;
    impl fanfare::queue::Handler for Panics {
        async fn handle(&self, item: &Item) -> Outcome {
            match item.attempts {
                1 => panic!("the first attempt panics (this is part of the test)"),
                _ => Outcome::Dead(item.payload.to_string()),
            }
        }
    }
    for test in databases().await {
        let (clock, mut registry) = (clock(), Registry::default());
        let queue = Queue::new(test.db.clone(), clock.clone(), options(), &mut registry);
        queue.push(TOPIC, &Value::Null).await.unwrap();
        let (stop, work) = (CancellationToken::new(), queue.clone());
        let token = stop.clone();
        let worker = tokio::spawn(async move { work.run(TOPIC, Panics, token).await });
        wait_for(&registry, "retried", 1).await;
        clock.advance(Duration::from_secs(5));
        wait_for(&registry, "dead", 1).await;
        stop.cancel();
        worker.await.unwrap();
    }
}

/// Waits until the counter of an outcome has a value.
pub async fn wait_for(registry: &Registry, outcome: &str, count: u64) {
    let line = format!(r#"queue_items_finished_total{{topic="test",outcome="{outcome}"}}"#);
    eventually(&format!("{count} {outcome}"), || async { (metric(registry, &line) == count).then_some(()) }).await;
}

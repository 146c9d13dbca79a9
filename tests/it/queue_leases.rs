//! Leases on both databases: no item in two hands, and none lost with its worker.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare::queue::{Handler, Item, Outcome, Queue, QueueOptions, Work};
use fanfare::telemetry::Registry;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::queue_work::{TOPIC, clock, options, script, start, wait_for};
use crate::support::{databases, eventually};

/// Counts how often each item was run, and notes when it was in two hands at once.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<HashMap<i64, Entry>>>);

#[derive(Debug, Default, PartialEq)]
struct Entry {
    runs: u32,
    hands: u32,
    doubled: bool,
}

impl Handler for Ledger {
    async fn handle(&self, item: &Item) -> Outcome {
        {
            let mut ledger = self.0.lock().unwrap();
            let entry = ledger.entry(item.id).or_default();
            entry.runs += 1;
            entry.hands += 1;
            entry.doubled |= entry.hands > 1;
        }
        // Gives every other worker a chance to take the same item.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        self.0.lock().unwrap().get_mut(&item.id).unwrap().hands -= 1;
        Outcome::Done
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_workers_of_two_processes_share_the_work_and_never_an_item() {
    const ITEMS: usize = 200;
    for test in databases().await {
        let clock = clock();
        let queues: Vec<Queue> =
            (0..2).map(|_| Queue::new(test.db.clone(), clock.clone(), options(), &mut Registry::default())).collect();
        let mut tx = test.db.begin().await.unwrap();
        for n in 0..ITEMS {
            fanfare::queue::push(&mut tx, TOPIC, &json!(n), clock.now()).await.unwrap();
        }
        tx.commit().await.unwrap();
        let (ledger, stop) = (Ledger::default(), CancellationToken::new());
        let workers: Vec<_> = queues
            .iter()
            .cycle()
            .take(4)
            .map(|queue| {
                let (queue, ledger, stop) = (queue.clone(), ledger.clone(), stop.clone());
                tokio::spawn(async move { queue.run(TOPIC, ledger, stop).await })
            })
            .collect();
        eventually("all items run", || async { (ledger.0.lock().unwrap().len() == ITEMS).then_some(()) }).await;
        stop.cancel();
        for worker in workers {
            worker.await.unwrap();
        }
        let ledger = ledger.0.lock().unwrap();
        assert!(
            ledger.values().all(|entry| *entry == Entry { runs: 1, hands: 0, doubled: false }),
            "{}: {ledger:?}",
            test.url
        );
    }
}

#[tokio::test]
async fn an_item_whose_worker_vanished_is_taken_over_when_its_lease_has_run_out() {
    for test in databases().await {
        let (clock, mut registry) = (clock(), Registry::default());
        let queue = Queue::new(test.db.clone(), clock.clone(), options(), &mut registry);
        queue.push(TOPIC, &json!("precious")).await.unwrap();
        let (first, mut director) = script();
        let (_, worker) = start(&queue, first);
        assert_eq!(director.next().await.attempts, 1);
        worker.abort();
        assert!(worker.await.unwrap_err().is_cancelled());

        let (second, mut director) = script();
        let (stop, worker) = start(&queue, second);
        clock.advance(Duration::from_millis(options().lease_ms - 1));
        queue.push(TOPIC, &json!("mark")).await.unwrap();
        assert_eq!(director.next().await.payload, json!("mark"), "the lease still runs");
        director.say(Outcome::Done).await;
        clock.advance(Duration::from_millis(1));
        let item = director.next().await;
        assert_eq!((item.payload, item.attempts), (json!("precious"), 2));
        director.say(Outcome::Done).await;
        stop.cancel();
        worker.await.unwrap();
    }
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_cannot_report() {
    for test in databases().await {
        let (clock, mut registry, mut late_registry) = (clock(), Registry::default(), Registry::default());
        let late_queue = Queue::new(test.db.clone(), clock.clone(), options(), &mut late_registry);
        let queue = Queue::new(test.db.clone(), clock.clone(), options(), &mut registry);
        queue.push(TOPIC, &json!("contested")).await.unwrap();
        let (late, mut late_director) = script();
        let (late_stop, late_worker) = start(&late_queue, late);
        late_director.next().await;
        // It takes nothing new, but still has the item in its hands.
        late_stop.cancel();
        clock.advance(Duration::from_millis(options().lease_ms));
        let (second, mut director) = script();
        let (stop, worker) = start(&queue, second);
        assert_eq!(director.next().await.attempts, 2);

        late_director.say(Outcome::Then(vec![Work::new(TOPIC, &json!("successor of a lost lease"))])).await;
        wait_for(&late_registry, "lease_lost", 1).await;
        late_worker.await.unwrap();
        director.say(Outcome::Retry("still mine to report".into())).await;
        wait_for(&registry, "retried", 1).await;
        clock.advance(Duration::from_secs(10));
        let item = director.next().await;
        assert_eq!((item.payload, item.attempts), (json!("contested"), 3), "no successor came into being");
        director.say(Outcome::Done).await;
        stop.cancel();
        worker.await.unwrap();
        assert!(director.idle());
    }
}

#[tokio::test]
async fn an_item_that_takes_its_workers_down_is_given_up() {
    for test in databases().await {
        let (clock, mut registry) = (clock(), Registry::default());
        let options = QueueOptions { max_attempts: 2, ..options() };
        let queue = Queue::new(test.db.clone(), clock.clone(), options.clone(), &mut registry);
        queue.push(TOPIC, &json!("poison")).await.unwrap();
        for attempt in 1..=2 {
            let (script, mut director) = script();
            let (_, worker) = start(&queue, script);
            assert_eq!(director.next().await.attempts, attempt);
            worker.abort();
            assert!(worker.await.unwrap_err().is_cancelled());
            clock.advance(Duration::from_millis(options.lease_ms));
        }
        let (script, mut director) = script();
        let (stop, worker) = start(&queue, script);
        wait_for(&registry, "dead", 1).await;
        assert!(director.idle(), "without another attempt");
        assert_eq!(queue.list_dead(None, 0, 10).await.unwrap()[0].payload, json!("poison"));
        stop.cancel();
        worker.await.unwrap();
    }
}

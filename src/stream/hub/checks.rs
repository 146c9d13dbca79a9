//! Model checks of what the shards share, by loom: every order in which threads can come.

use std::collections::VecDeque;
use std::sync::Arc as StdArc;

use bytes::Bytes;
use loom::sync::atomic::AtomicUsize;
use loom::sync::{Arc, Mutex};
use loom::thread;

use crate::stream::line::{Coverage, Line};
use crate::stream::{Channel, HistoryOptions, Kind, Mark, Position, Publication};

/// What `wake.rs` uses, as loom has it.
mod sync {
    pub use loom::sync::atomic::{AtomicBool, Ordering, fence};
}

#[path = "wake.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "the same file over other atomics is the point")]
mod wake;

use sync::Ordering;
use wake::Sleep;

/// Two publishers and a shard that sleeps whenever it may: whatever is in the queue when it sleeps is followed by a
/// wake-up.
#[test]
fn a_shard_never_sleeps_over_something_that_has_arrived() {
    loom::model(|| {
        let sleep = Arc::new(Sleep::new());
        let (queue, wakes) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let publishers: Vec<_> = (0..2)
            .map(|_| {
                let (sleep, queue, wakes) = (sleep.clone(), queue.clone(), wakes.clone());
                thread::spawn(move || {
                    queue.fetch_add(1, Ordering::SeqCst);
                    if sleep.must_wake() {
                        wakes.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        queue.swap(0, Ordering::SeqCst);
        let slept = sleep.may_sleep(|| queue.load(Ordering::SeqCst) == 0);
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
        if slept && queue.load(Ordering::SeqCst) > 0 {
            assert!(wakes.load(Ordering::SeqCst) > 0, "it sleeps, something waits, and nobody has woken it");
        }
    });
}

fn publication(position: &Position) -> StdArc<Publication> {
    let channel = Channel::new("c").unwrap();
    StdArc::new(Publication::new(channel, Kind::Data, Bytes::from_static(b"{}"), Vec::new(), Some(position.clone())))
}

/// A client that resumes while two things are published takes its place under the line's lock, as `join.rs` does, and
/// a publication goes to the shard under the same lock, as `sink.rs` does: it gets each exactly once, in order.
#[test]
fn a_place_is_exactly_between_two_publications() {
    loom::model(|| {
        let start = Mark { shared: Position::start(), local: Position::local_start() };
        let mut line = Line::new(HistoryOptions::default());
        line.begin(start.clone());
        let line = Arc::new(Mutex::new(line));
        let shard: Arc<Mutex<VecDeque<Option<u64>>>> = Arc::default();
        let listening = Arc::new(AtomicUsize::new(0));
        let publisher = {
            let (line, shard, listening, start) = (line.clone(), shard.clone(), listening.clone(), start.clone());
            thread::spawn(move || {
                let mut position = start.shared;
                for _ in 0..2 {
                    position = position.next();
                    let mut line = line.lock().unwrap();
                    if listening.load(Ordering::SeqCst) > 0 {
                        shard.lock().unwrap().push_back(Some(position.offset));
                    }
                    line.push(publication(&position));
                }
            })
        };
        let missed = {
            let line = line.lock().unwrap();
            let Coverage::Whole(missed) = line.missed(&[start.shared], None) else { panic!("all of it is there") };
            listening.fetch_add(1, Ordering::SeqCst);
            shard.lock().unwrap().push_back(None);
            missed.iter().map(|missed| missed.offset()).collect::<Vec<_>>()
        };
        publisher.join().unwrap();
        let live =
            shard.lock().unwrap().iter().skip_while(|command| command.is_some()).flatten().copied().collect::<Vec<_>>();
        assert_eq!([missed, live].concat(), [1, 2]);
    });
}

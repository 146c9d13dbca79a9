//! The spool: nothing is lost, nothing comes twice, whatever is cut off, and its limit holds.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::DateTime;
use fanfare::series::{Batch, Point, SeriesMetrics, Spool, Value};
use proptest::prelude::*;

use crate::support::{PATIENCE, temp_dir};

const PLENTY: u64 = 1 << 30;

fn point(number: i64) -> Point {
    Point::new("m", DateTime::from_timestamp_nanos(number)).tag("k", "v").field("n", number)
}

fn points(numbers: std::ops::Range<i64>) -> Vec<Point> {
    numbers.map(point).collect()
}

fn numbers(batch: &Batch) -> Vec<i64> {
    let number = |point: &Point| match point.fields()["n"] {
        Value::Int(number) => number,
        _ => panic!("{point:?}"),
    };
    batch.points.iter().map(number).collect()
}

fn open(folder: &Path, limit_bytes: u64) -> (Spool, SeriesMetrics) {
    let metrics = SeriesMetrics::default();
    (Spool::open(folder, limit_bytes, metrics.clone()).expect("open"), metrics)
}

/// Reads to the end; the numbers that came.
fn drain(spool: &Spool) -> Vec<i64> {
    let mut all = Vec::new();
    while let Some(batch) = spool.next(100, 1 << 20).expect("next") {
        all.extend(numbers(&batch));
        spool.commit(batch).expect("commit");
    }
    assert_eq!(spool.waiting_points(), 0);
    all
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("0")).expect("folder").map(|entry| entry.expect("entry").path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "points")).collect();
    files.sort();
    files
}

#[test]
fn what_is_appended_comes_in_order_and_leaves_with_its_commit() {
    let folder = temp_dir("spool");
    let (spool, _) = open(folder.path(), PLENTY);
    for begin in (0..1_000).step_by(10) {
        spool.append(&points(begin..begin + 10)).unwrap();
    }
    assert_eq!(spool.waiting_points(), 1_000);
    let first = spool.next(25, PLENTY).unwrap().unwrap();
    assert_eq!((numbers(&first), first.full), ((0..20).collect(), true), "whole records, as many as fit");
    spool.commit(first).unwrap();
    let second = spool.next(25, PLENTY).unwrap().unwrap();
    assert_eq!(numbers(&second)[0], 20);
    // The process ends here without a commit.
    drop((second, spool));
    let (spool, metrics) = open(folder.path(), PLENTY);
    assert_eq!(metrics.waiting.get(), 980);
    spool.append(&points(1_000..1_010)).unwrap();
    assert_eq!(drain(&spool), (20..1_010).collect::<Vec<_>>());
    drop(spool);
    assert!(drain(&open(folder.path(), PLENTY).0).is_empty());
}

#[test]
fn a_torn_end_costs_only_what_was_torn() {
    let whole = temp_dir("spool");
    let (spool, _) = open(whole.path(), PLENTY);
    for begin in (0..50).step_by(10) {
        spool.append(&points(begin..begin + 10)).unwrap();
    }
    drop(spool);
    let bytes = fs::read(&files(whole.path())[0]).unwrap();
    let record = (bytes.len() - 8) / 5;
    for cut in (8..bytes.len()).step_by(7) {
        let folder = temp_dir("spool");
        drop(open(folder.path(), PLENTY));
        let file = files(folder.path()).pop().unwrap();
        fs::write(&file, &bytes[..cut]).unwrap();
        let (spool, _) = open(folder.path(), PLENTY);
        let kept = (cut - 8) / record * 10;
        spool.append(&points(100..101)).unwrap();
        let expected: Vec<i64> = (0..kept as i64).chain([100]).collect();
        assert_eq!(drain(&spool), expected, "cut at {cut}");
    }
}

#[test]
fn damage_is_counted_and_what_comes_later_is_kept() {
    let folder = temp_dir("spool");
    let (spool, _) = open(folder.path(), PLENTY);
    for begin in (0..50).step_by(10) {
        spool.append(&points(begin..begin + 10)).unwrap();
    }
    drop(spool);
    let file = files(folder.path()).pop().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    let third = 8 + (bytes.len() - 8) / 5 * 2;
    bytes[third + 40] ^= 1;
    fs::write(&file, bytes).unwrap();
    let (spool, metrics) = open(folder.path(), PLENTY);
    spool.append(&points(100..110)).unwrap();
    assert_eq!(drain(&spool), (0..20).chain(100..110).collect::<Vec<_>>());
    assert_eq!(metrics.dropped_for("corrupt"), 30);
}

#[test]
fn the_limit_holds_and_the_oldest_go_counted() {
    let folder = temp_dir("spool");
    let limit = 1 << 20;
    let (spool, metrics) = open(folder.path(), limit);
    let mut in_hand = None;
    for begin in (0..200_000).step_by(100) {
        spool.append(&points(begin..begin + 100)).unwrap();
        if begin == 1_000 {
            in_hand = spool.next(500, PLENTY).unwrap();
        }
        let on_disk: u64 = files(folder.path()).iter().map(|file| fs::metadata(file).unwrap().len()).sum();
        assert!(on_disk <= limit, "{on_disk}");
    }
    // What was in hand when its file went is under way; it counts as neither lost nor waiting.
    let in_hand = in_hand.unwrap();
    assert_eq!(numbers(&in_hand), (0..500).collect::<Vec<_>>());
    spool.commit(in_hand).unwrap();
    let dropped = metrics.dropped_for("spool_full");
    assert!(dropped > 0);
    let left = drain(&spool);
    assert_eq!(left, (500 + dropped as i64..200_000).collect::<Vec<_>>());
}

#[test]
fn each_process_has_its_own_and_adopts_what_another_left() {
    let folder = temp_dir("spool");
    let (first, _) = open(folder.path(), PLENTY);
    let (second, _) = open(folder.path(), PLENTY);
    first.append(&points(0..10)).unwrap();
    second.append(&points(10..20)).unwrap();
    assert!(folder.path().join("1").exists());
    drop(second);
    // A third process takes the second's folder; when all have gone, one takes everything.
    let (third, _) = open(folder.path(), PLENTY);
    assert_eq!(third.waiting_points(), 10);
    third.append(&points(20..30)).unwrap();
    drop((first, third));
    let (last, _) = open(folder.path(), PLENTY);
    assert_eq!(last.waiting_points(), 30);
    assert_eq!(drain(&last), (0..30).collect::<Vec<_>>());
    drop(last);
    assert_eq!(open(folder.path(), PLENTY).0.waiting_points(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Take(usize),
    /// Reads and forgets, as a process does that ends meanwhile.
    TakeAndEnd(usize),
    End,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..40_usize).prop_map(Step::Append),
        4 => (1..60_usize).prop_map(Step::Take),
        1 => (1..60_usize).prop_map(Step::TakeAndEnd),
        1 => Just(Step::End),
    ]
}

/// What another test starts at this very moment has the closed spool's lock for as long as it is not a program of its own
/// yet; a new spool is made then, and the old one is there a little later.
fn opened_again(folder: &Path, waiting_points: u64) -> Spool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (spool, _) = open(folder, PLENTY);
        if spool.waiting_points() == waiting_points || Instant::now() > deadline {
            return spool;
        }
        drop(spool);
        std::thread::yield_now();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn it_is_a_queue_that_outlives_its_process(steps in proptest::collection::vec(step(), 1..60)) {
        let folder = temp_dir("spool");
        let (mut spool, _) = open(folder.path(), PLENTY);
        let (mut queue, mut next) = (VecDeque::new(), 0);
        for step in steps {
            match step {
                Step::Append(count) => {
                    let end = next + count as i64;
                    spool.append(&points(next..end)).unwrap();
                    queue.extend(next..end);
                    next = end;
                }
                Step::Take(most) => {
                    if let Some(batch) = spool.next(most, PLENTY).unwrap() {
                        let expected: Vec<i64> = queue.drain(..batch.points.len()).collect();
                        prop_assert_eq!(numbers(&batch), expected);
                        spool.commit(batch).unwrap();
                    } else {
                        prop_assert!(queue.is_empty());
                    }
                }
                Step::TakeAndEnd(most) => {
                    let _ = spool.next(most, PLENTY).unwrap();
                    drop(spool);
                    spool = opened_again(folder.path(), queue.len() as u64);
                }
                Step::End => {
                    drop(spool);
                    spool = opened_again(folder.path(), queue.len() as u64);
                }
            }
            prop_assert_eq!(spool.waiting_points(), queue.len() as u64);
        }
        prop_assert_eq!(drain(&spool), Vec::from(queue));
    }
}

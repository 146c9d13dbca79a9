//! Who is told what, and that nothing is left behind.

use super::*;

const MOST: Most = Most { of_connection: 3, of_channel: 4 };

fn wanted(keys: &[(&str, u64)]) -> Vec<Wanted> {
    let one = |(key, version): &(&str, u64)| Wanted { key: (*key).to_owned(), version: *version, ends_at_ms: Some(9) };
    keys.iter().map(one).collect()
}

fn item(key: &str, data: &str, version: u64) -> PollItem {
    PollItem { key: key.to_owned(), data: Some(data.to_owned().into()), version, removed: false }
}

fn state(mode: PollMode, keeps: bool, members: &[u64]) -> State<u64> {
    let mut state = State::new(mode, keeps);
    members.iter().for_each(|id| state.enter(*id, *id, Encoding::Json, Arc::default()));
    state
}

fn heard(out: Outgoing<u64>) -> Vec<(u64, usize)> {
    let mut heard: Vec<_> = out.into_iter().map(|(line, frames)| (line, frames.len())).collect();
    heard.sort_unstable();
    heard
}

#[test]
fn who_has_less_is_told_and_nobody_twice() {
    let mut state = state(PollMode::Versioned, false, &[1, 2]);
    state.track(1, wanted(&[("a", 0), ("b", 4)]), MOST).unwrap();
    state.track(2, wanted(&[("a", 6)]), MOST).unwrap();
    let names: Vec<Arc<str>> = vec!["a".into(), "b".into(), "c".into()];
    assert_eq!(state.take_cold(9), names[..2], "new to the server");
    assert_eq!(state.question(&names), [("a".into(), 0), ("b".into(), 4)], "what the one with least has");
    let (out, counts) = state.settle("x", vec![item("a", "1", 6), item("b", "1", 4), item("z", "1", 1)], false);
    assert_eq!(heard(out), [(1, 1)]);
    assert_eq!((counts.changed, counts.ignored, counts.told), (2, 1, 1));
    let (out, counts) = state.settle("x", vec![item("a", "1", 6), item("a", "0", 5), item("b", "2", 0)], false);
    assert_eq!((heard(out), counts.unchanged, counts.ignored), (vec![], 1, 2));
    // What is published just now need not be asked for once more.
    let (out, _) = state.settle("x", vec![item("a", "2", 7)], true);
    assert_eq!((heard(out), state.round().len(), state.round().len()), (vec![(1, 1), (2, 1)], 1, 2));
    state.track(2, wanted(&[("a", 0)]), MOST).unwrap();
    assert_eq!(state.take_cold(9), names[..1], "it has nothing of it");
    let removed = PollItem { key: "a".into(), removed: true, ..PollItem::default() };
    let (out, counts) = state.settle("x", vec![removed], false);
    assert_eq!((heard(out), counts.removed), (vec![(1, 1), (2, 1)], 1));
    assert_eq!(state.round(), names[1..2]);
    assert!(state.restarts("").is_none());
    assert_eq!(state.restarts("e").map(|mut lines| (lines.sort_unstable(), lines).1), Some(vec![1, 2]));
    assert!(state.is_empty() && state.restarts("e").is_none());
}

#[test]
fn what_has_no_version_is_compared() {
    let mut state = state(PollMode::Versionless, true, &[1, 2]);
    assert_eq!(state.epoch.len(), 8);
    assert_eq!(state.track(1, wanted(&[("a", 50)]), MOST), Ok(vec![]));
    assert_eq!(state.take_cold(9).len(), 1, "a number of another numbering");
    assert_eq!(heard(state.settle("x", vec![item("a", "1", 0)], false).0), [(1, 1)]);
    assert_eq!(heard(state.settle("x", vec![item("a", "1", 0)], false).0), []);
    let known = state.track(2, wanted(&[("a", 0)]), MOST).unwrap();
    assert_eq!((known.len(), &known[0].data[..], known[0].version), (1, &b"1"[..], 1), "it is kept");
    assert!(state.take_cold(9).is_empty());
    assert_eq!(heard(state.settle("x", vec![item("a", "2", 0)], false).0), [(1, 1), (2, 1)]);
    assert_eq!(heard(state.settle("x", vec![item("a", "1", 0)], false).0), [(1, 1), (2, 1)], "back again");
    assert!(state.restarts("anything").is_none());
}

#[test]
fn bounds_hold_and_nothing_is_left_behind() {
    let mut state = state(PollMode::Versioned, false, &[1, 2]);
    assert_eq!(state.track(1, wanted(&[("a", 0), ("b", 0), ("c", 0), ("d", 0)]), MOST), Err(Fault::LimitExceeded));
    assert!(state.round().is_empty() && state.take_cold(9).is_empty(), "all or none");
    state.track(1, wanted(&[("a", 0), ("b", 0), ("c", 0)]), MOST).unwrap();
    state.track(1, wanted(&[("a", 0), ("b", 0), ("c", 0)]), MOST).unwrap();
    assert_eq!(state.track(2, wanted(&[("d", 0), ("e", 0)]), MOST), Err(Fault::LimitExceeded), "of the channel");
    state.track(2, wanted(&[("a", 0), ("d", 0)]), MOST).unwrap();
    state.untrack(1, &["b".to_owned(), "z".to_owned()]);
    assert_eq!(state.round().len(), 3);
    state.track(1, wanted(&[("b", 0)]), MOST).unwrap();
    state.leave(1);
    assert_eq!((state.round().len(), state.take_cold(9).len()), (2, 2));
    state.expire(9);
    assert_eq!(state.round().len(), 2, "not yet");
    state.expire(10);
    assert!(state.round().is_empty() && !state.is_empty());
    state.track(2, wanted(&[("a", 0), ("b", 0), ("c", 0)]), MOST).unwrap();
    state.leave(2);
    assert!(state.is_empty() && state.round().is_empty() && state.take_cold(9).is_empty());
    assert_eq!(state.track(2, wanted(&[("a", 0)]), MOST), Err(Fault::PermissionDenied));
}

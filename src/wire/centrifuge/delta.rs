//! Fossil deltas: what of a text is in the one before it, by blocks.

use std::collections::HashMap;

const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";
const BLOCK: usize = 16;
/// Blocks of one content that are looked at: texts that repeat themselves must not cost the square of their length.
const MOST_ALIKE: usize = 8;
/// Longer texts are not compared.
const MOST_BYTES: usize = 1 << 20;

/// What makes `target` of `source`, as text; `None` where there is nothing to compare.
pub fn patch(source: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if source.len() < BLOCK || target.len() < BLOCK || source.len().max(target.len()) > MOST_BYTES {
        return None;
    }
    let mut blocks = HashMap::<&[u8], Vec<usize>>::new();
    for (index, block) in source.chunks_exact(BLOCK).enumerate() {
        let known = blocks.entry(block).or_default();
        if known.len() < MOST_ALIKE {
            known.push(index * BLOCK);
        }
    }
    let mut out = Vec::with_capacity(64);
    number(target.len() as u64, &mut out);
    out.push(b'\n');
    let (mut done, mut at) = (0, 0);
    while at + BLOCK <= target.len() {
        let alike = blocks.get(&target[at..at + BLOCK]).into_iter().flatten();
        let best = alike.map(|from| extend(source, target, *from, at, done)).max_by_key(|found| found.length);
        match best.and_then(|found| whole_characters(target, found)) {
            Some(Match { from, to, length }) if length >= BLOCK / 2 => {
                insert(&target[done..to], &mut out);
                number(length as u64, &mut out);
                out.push(b'@');
                number(from as u64, &mut out);
                out.push(b',');
                done = to + length;
                at = done;
            }
            _ => at += 1,
        }
    }
    insert(&target[done..], &mut out);
    number(u64::from(checksum(target)), &mut out);
    out.push(b';');
    Some(out)
}

/// `length` bytes that stand in the source at `from` and in the target at `to`.
#[derive(Clone, Copy)]
struct Match {
    from: usize,
    to: usize,
    length: usize,
}

/// As far as both agree, both ways, but not into what is written already.
fn extend(source: &[u8], target: &[u8], from: usize, to: usize, done: usize) -> Match {
    let back = (1..=from.min(to - done)).take_while(|n| source[from - n] == target[to - n]).count();
    let (from, to) = (from - back, to - back);
    let length = source[from..].iter().zip(&target[to..]).take_while(|(a, b)| a == b).count();
    Match { from, to, length }
}

/// The patch is text: what is inserted must not begin or end within a character.
fn whole_characters(target: &[u8], found: Match) -> Option<Match> {
    let begins = |at: usize| target.get(at).is_none_or(|byte| byte & 0xC0 != 0x80);
    let skip = (0..found.length).find(|skip| begins(found.to + skip))?;
    let (from, to) = (found.from + skip, found.to + skip);
    let length = (0..=found.length - skip).rev().find(|length| begins(to + length))?;
    Some(Match { from, to, length })
}

fn insert(bytes: &[u8], out: &mut Vec<u8>) {
    if !bytes.is_empty() {
        number(bytes.len() as u64, out);
        out.push(b':');
        out.extend_from_slice(bytes);
    }
}

fn number(mut value: u64, out: &mut Vec<u8>) {
    let begin = out.len();
    loop {
        out.push(DIGITS[(value & 63) as usize]);
        value >>= 6;
        if value == 0 {
            break;
        }
    }
    out[begin..].reverse();
}

/// The sum of big-endian words, the last one filled up with zeros.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.chunks(4).fold(0u32, |sum, chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        sum.wrapping_add(u32::from_be_bytes(word))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_number(patch: &[u8], at: &mut usize) -> u64 {
        let mut value = 0;
        while let Some(digit) = DIGITS.iter().position(|digit| *digit == patch[*at]) {
            (value, *at) = (value << 6 | digit as u64, *at + 1);
        }
        value
    }

    /// The client's half.
    fn apply(source: &[u8], patch: &[u8]) -> Vec<u8> {
        let (mut at, mut out) = (0, Vec::new());
        let length = read_number(patch, &mut at);
        assert_eq!(patch[at], b'\n');
        at += 1;
        loop {
            let value = read_number(patch, &mut at);
            let command = patch[at];
            at += 1;
            match command {
                b'@' => {
                    let from = read_number(patch, &mut at) as usize;
                    assert_eq!(patch[at], b',');
                    at += 1;
                    out.extend_from_slice(&source[from..from + value as usize]);
                }
                b':' => {
                    out.extend_from_slice(&patch[at..at + value as usize]);
                    at += value as usize;
                }
                b';' => {
                    assert_eq!(value, u64::from(checksum(&out)));
                    assert_eq!((out.len() as u64, at), (length, patch.len()));
                    return out;
                }
                other => panic!("{other}"),
            }
        }
    }

    proptest! {
        #[test]
        fn a_patch_gives_the_target_and_is_text(parts in proptest::collection::vec("[a-dé日]{0,40}", 1..12), cut in 0usize..12, extra in "[a-dé日]{0,20}") {
            let source = parts.concat();
            let (before, after) = parts.split_at(cut.min(parts.len()));
            let target = [&after.concat(), &extra, &before.concat()].map(String::as_str).concat();
            if let Some(patch) = patch(source.as_bytes(), target.as_bytes()) {
                prop_assert!(std::str::from_utf8(&patch).is_ok());
                prop_assert_eq!(apply(source.as_bytes(), &patch), target.into_bytes());
            }
        }
    }

    #[test]
    fn edits_at_both_ends_leave_the_middle() {
        let middle: String = (0..100).map(|i| format!("\"field{i}\":{i},")).collect();
        let (a, b) = (format!("{{\"v\":1,{middle}\"end\":1}}"), format!("{{\"v\":22,{middle}\"end\":\"other\"}}"));
        let made = patch(a.as_bytes(), b.as_bytes()).unwrap();
        assert!(made.len() < 100, "{}", made.len());
        assert_eq!(apply(a.as_bytes(), &made), b.as_bytes());
    }
}

//! Frames in every cut, against the RFC's own examples and rules.

use proptest::prelude::*;

use super::super::frame::{Opcode, frame};
use super::*;

const PLAIN: Reading = Reading { max_message_bytes: 1000, deflated: false };

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        n @ 0..126 => out.push(0x80 | n as u8),
        n => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
    }
    let mask = [1, 2, 3, 4];
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, k)| b ^ k));
    out
}

/// Everything that comes out when `input` arrives in pieces of `step` bytes.
fn read_in_steps(input: &[u8], step: usize) -> Result<Vec<String>, Close> {
    let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
    for piece in input.chunks(step.max(1)) {
        decoder.read(&mut piece.to_vec(), PLAIN, &mut |message| seen.push(format!("{message:?}")))?;
        // Another one goes on where this one stands.
        let mut rest = std::mem::take(&mut decoder).into_bytes();
        decoder.read(&mut rest, PLAIN, &mut |message| seen.push(format!("{message:?}")))?;
    }
    assert_eq!(decoder.held_bytes(), 0);
    Ok(seen)
}

#[test]
fn messages_survive_any_fragmentation() {
    let mut input = masked(0x81, "日本".as_bytes());
    input.extend(masked(0x01, &"日".as_bytes()[..2]));
    input.extend(masked(0x89, b"p"));
    input.extend(masked(0x80, &"日".as_bytes()[2..]));
    input.extend(masked(0x82, &[7; 300]));
    input.extend(masked(0x88, &[3, 232]));
    let whole = read_in_steps(&input, input.len()).unwrap();
    assert_eq!(whole.len(), 5);
    assert_eq!(whole[2], "Text(\"日\")");
    assert_eq!(whole[4], "Close(Some(1000))");
    for step in 1..40 {
        assert_eq!(read_in_steps(&input, step).unwrap(), whole);
    }
}

#[test]
fn what_breaks_the_protocol_is_named() {
    let unmasked = frame(Opcode::Text, b"x").to_vec();
    let cases: [(Vec<u8>, Close); 9] = [
        (unmasked, Close::Protocol),
        (masked(0xC1, b"x"), Close::Protocol),
        (masked(0x83, b"x"), Close::Protocol),
        (masked(0x80, b"x"), Close::Protocol),
        (masked(0x09, b"x"), Close::Protocol),
        (masked(0x88, &[3]), Close::Protocol),
        (masked(0x88, &[3, 237]), Close::Protocol),
        (masked(0x81, b"\xff"), Close::InvalidUtf8),
        (masked(0x82, &[0; 1001]), Close::TooBig),
    ];
    for (input, close) in cases {
        assert_eq!(read_in_steps(&input, 1000), Err(close), "{input:?}");
    }
}

#[test]
fn compressed_messages_are_read_whole_and_in_fragments() {
    let reading = Reading { deflated: true, ..PLAIN };
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let mut input = masked(0xC1, &hello);
    input.extend(masked(0x41, &hello[..3]));
    input.extend(masked(0x89, b"p"));
    input.extend(masked(0x80, &hello[3..]));
    input.extend(masked(0x81, b"plain"));
    for step in 1..=input.len() {
        let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
        for piece in input.chunks(step) {
            let on = &mut |message: Incoming<'_>| seen.push(format!("{message:?}"));
            decoder.read(&mut piece.to_vec(), reading, on).unwrap();
        }
        let expected = ["Text(\"Hello\")", "Ping([112])", "Text(\"Hello\")", "Text(\"plain\")"];
        assert_eq!(seen, expected, "in steps of {step}");
    }
    let read = |input: Vec<u8>| Decoder::default().read(&mut input.clone(), reading, &mut |_| {});
    let continued = [masked(0x41, &hello[..3]), masked(0xC0, &hello[3..])].concat();
    assert_eq!(read(continued), Err(Close::Protocol), "the bit is the first frame's alone");
    assert_eq!(read(masked(0xC9, b"p")), Err(Close::Protocol));
    assert_eq!(read(masked(0xC1, &[0xff; 9])), Err(Close::Protocol));
    assert_eq!(Decoder::default().read(&mut masked(0xC1, &hello), PLAIN, &mut |_| {}), Err(Close::Protocol));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), step in 1usize..50, deflated: bool) {
        let mut decoder = Decoder::default();
        let reading = Reading { max_message_bytes: 100, deflated };
        prop_assert!(whole_frame(&bytes).is_none_or(|length| length <= bytes.len()));
        for piece in bytes.chunks(step) {
            if decoder.read(&mut piece.to_vec(), reading, &mut |_| {}).is_err() {
                break;
            }
            prop_assert!(decoder.held_bytes() <= 2 * (100 + 14));
        }
    }
}

//! What must hold of any bytes that a peer sends. `fuzz/` calls these with whatever it finds, `fuzz.rs` with what proptest
//! makes up.

use bytes::Bytes;
use fanfare::stream::{Channel, Filter, Kind, Publication, Term};
use fanfare::wire::{Decoder, Incoming, Reading, inflate, is_json, sse, top_level_fields, whole_frame, with_field};

const MOST: usize = 4096;

/// Frames come out the same in whatever pieces they arrive, and what is held is bounded. The first byte says how they are
/// read, the second how they are cut.
pub fn frames(data: &[u8]) {
    let [mode, step, bytes @ ..] = data else { return };
    let reading = Reading { max_message_bytes: MOST, deflated: mode & 1 == 1 };
    let read = |step: usize| {
        let (mut decoder, mut seen, mut end) = (Decoder::default(), Vec::new(), None);
        for piece in bytes.chunks(step.max(1)) {
            let on = &mut |message: Incoming<'_>| seen.push(format!("{message:?}"));
            if let Err(close) = decoder.read(&mut piece.to_vec(), reading, on) {
                end = Some(close);
                break;
            }
            assert!(decoder.held_bytes() <= 2 * (MOST + 14));
            if seen.last().is_some_and(|last: &String| last.starts_with("Close")) {
                break;
            }
        }
        (seen, end)
    };
    assert_eq!(read(bytes.len()), read(usize::from(*step)));
    assert!(whole_frame(bytes).is_none_or(|length| length <= bytes.len()));
}

/// What is inflated is within its bound, and nothing else is said about it.
pub fn compression(data: &[u8]) {
    if let Ok(out) = inflate(data, MOST) {
        assert!(out.len() <= MOST);
    }
}

/// Whatever a handshake says is taken or refused with a reason.
pub fn handshake(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.splitn(3, '\n').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    let (query, id, offers) = (next(), next(), next());
    for (_, feed) in fanfare::feeds::ALL {
        fanfare::session::examine(feed, &query, &id, &offers);
    }
}

/// An event is read by a browser as it was written, and ends with the only blank line in it.
pub fn events(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let event = sse::event_with_id("e:1", &sse::event(text.as_bytes()));
    let written = std::str::from_utf8(&event).expect("text");
    let (lines, end) = written.split_at(written.len() - 2);
    assert!(end == "\n\n" && !lines.contains("\n\n") && !lines.contains('\r'));
    let mut lines = lines.split('\n');
    assert_eq!(lines.next(), Some("id: e:1"));
    let read: Vec<&str> = lines.map(|line| line.strip_prefix("data: ").expect("a line of data")).collect();
    assert_eq!(read.join("\n"), text.replace("\r\n", "\n").replace('\r', "\n"));
}

/// A filter looks at any JSON without a fault, agrees with the fields that are found, and one more field keeps it JSON.
pub fn filters(data: &[u8]) {
    let Some((value, json)) = data.split_first() else { return };
    if is_json(json).is_err() {
        return;
    }
    let fields = top_level_fields(json);
    let joined = with_field(json, "_position", "1");
    assert!(is_json(&joined).is_ok(), "{}", String::from_utf8_lossy(&joined));
    let channel = Channel::new("a:b").expect("a name");
    let publication = Publication::new(channel, Kind::Data, Bytes::copy_from_slice(json), Vec::new(), None);
    let wanted = char::from(*value).to_string();
    for name in fields.iter().map(|(name, _)| name.clone()).chain([String::new()]) {
        let term = Term { on: None, fields: vec![name.clone()], values: vec![wanted.clone()] };
        let expected = fields.iter().any(|(key, value)| *key == name && *value == wanted);
        assert_eq!(Filter::new(vec![term]).passes(&publication), expected);
    }
}

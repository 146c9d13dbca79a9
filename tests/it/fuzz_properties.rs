//! What must hold of any bytes that a peer sends. `fuzz/` calls these with whatever it finds, `fuzz.rs` with what proptest
//! makes up.

use bytes::Bytes;
use fanfare::auth::{AuthOptions, Credentials, Gate, Secret};
use fanfare::clock::Clock;
use fanfare::series::{Point, Value as FieldValue, encode_all};
use fanfare::session::centrifuge::tag_filter;
use fanfare::stream::{Channel, Filter, Kind, Publication, Term};
use fanfare::wire::centrifuge::{
    Command, Delta, Encoding, FilterNode, Reply, Shape, Told, json_text, patch, publication_frame,
};
use fanfare::wire::{
    Decoder, Dialect, Incoming, Reading, inflate, is_json, sse, top_level_fields, whole_frame, with_field,
};
use prost::Message;
use serde_json::Value;

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

/// What a client of the channel protocol sends is understood or not; what is understood says the same in both encodings.
/// The first byte says in which it comes.
pub fn commands(data: &[u8]) {
    let Some((mode, message)) = data.split_first() else { return };
    let encoding = if mode & 1 == 0 { Encoding::Json } else { Encoding::Protobuf };
    let _ = encoding.is_pong(message);
    if let Ok(commands) = encoding.commands(message) {
        assert!(!commands.is_empty());
        let packed: Vec<u8> = commands.iter().flat_map(Command::encode_length_delimited_to_vec).collect();
        assert_eq!(Encoding::Protobuf.commands(&packed).as_ref(), Ok(&commands));
        for node in commands.iter().filter_map(|command| command.subscribe.as_ref()?.tf.as_ref()) {
            let _ = tag_filter(node);
        }
    }
}

/// Whatever JSON is published reads the same in every dialect.
pub fn dialects(data: &[u8]) {
    if is_json(data).is_err() {
        return;
    }
    let payload = |frame: &Bytes| match frame[1] {
        126 => frame[4..].to_vec(),
        127 => frame[10..].to_vec(),
        _ => frame[2..].to_vec(),
    };
    assert_eq!(payload(&Dialect::Json.encode(data)), data);
    let packed = payload(&Dialect::MessagePack.encode(data));
    let unpacked: Value = rmp_serde::from_slice(&packed).expect("MessagePack");
    // What it has no words for comes as text.
    if unpacked.as_str().map(str::as_bytes) != Some(data) {
        assert_eq!(unpacked, serde_json::from_slice::<Value>(data).expect("JSON"));
    }
    let tags = [("k\"\n".to_owned(), String::from_utf8_lossy(data).into_owned())];
    let told = Told { channel: "a:\"b", data, offset: 7, tags: &tags, ..Told::default() };
    let one_line = |bytes: &[u8]| bytes.iter().filter(|byte| !b"\r\n".contains(byte)).copied().collect::<Vec<u8>>();
    for shape in (0..Shape::COUNT).filter_map(Shape::at) {
        let written = payload(&publication_frame(shape, told));
        if shape.encoding == Encoding::Protobuf {
            let publication = Reply::decode_length_delimited(&written[..]).expect("a reply");
            let publication = publication.push.and_then(|push| push.publication).expect("a publication");
            assert_eq!((&publication.data[..], publication.offset), (data, 7));
            continue;
        }
        assert!(!written.contains(&b'\n'));
        let text = std::str::from_utf8(&written).expect("text");
        let data_text = match shape.delta {
            Delta::Off => String::from_utf8(one_line(data)).expect("text"),
            _ => json_text(std::str::from_utf8(data).expect("text")),
        };
        assert!(text.contains(&format!("\"data\":{data_text},")), "{text}");
        assert!(is_json(&written).is_ok());
    }
}

/// A patch makes the second text of the first, and of two texts it is text. The first byte says where the first ends.
pub fn deltas(data: &[u8]) {
    let Some((cut, text)) = data.split_first() else { return };
    let (source, target) = text.split_at(usize::from(*cut).min(text.len()));
    // What has nothing in common is no test of what is copied.
    for (source, target) in [(source.to_vec(), target.to_vec()), (text.to_vec(), [target, text, source].concat())] {
        let Some(patch) = patch(&source, &target) else { continue };
        assert_eq!(patched(&source, &patch).as_deref(), Some(&target[..]));
        let texts = std::str::from_utf8(&source).is_ok() && std::str::from_utf8(&target).is_ok();
        assert!(!texts || std::str::from_utf8(&patch).is_ok());
    }
}

/// The client's half of a Fossil delta.
fn patched(source: &[u8], patch: &[u8]) -> Option<Vec<u8>> {
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";
    let (mut at, mut out) = (0, Vec::new());
    let number = |at: &mut usize| {
        let mut value = 0u64;
        while let Some(digit) = digits.iter().position(|digit| patch.get(*at) == Some(digit)) {
            (value, *at) = (value << 6 | digit as u64, *at + 1);
        }
        *at += 1;
        (value as usize, patch.get(*at - 1).copied())
    };
    let (length, Some(b'\n')) = number(&mut at) else { return None };
    loop {
        match number(&mut at) {
            (count, Some(b'@')) => {
                let (from, Some(b',')) = number(&mut at) else { return None };
                out.extend_from_slice(source.get(from..from + count)?);
            }
            (count, Some(b':')) => {
                out.extend_from_slice(patch.get(at..at + count)?);
                at += count;
            }
            (sum, Some(b';')) => {
                let word =
                    |chunk: &[u8]| (0..4).fold(0u32, |word, i| word << 8 | u32::from(*chunk.get(i).unwrap_or(&0)));
                let checksum = out.chunks(4).map(word).fold(0, u32::wrapping_add);
                return (sum == checksum as usize && at == patch.len() && out.len() == length).then_some(out);
            }
            _ => return None,
        }
    }
}

/// Nobody is let in by what the secret has not signed, whatever its header says; and what it has signed is taken or refused,
/// without a fault. A header and claims, a line each.
pub fn tokens(data: &[u8]) {
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE;
    const SECRET: &str = "a secret of at least thirty-two characters";
    static GATE: std::sync::LazyLock<Gate> = std::sync::LazyLock::new(|| {
        let options = AuthOptions { secret_key: Some(Secret::from(SECRET)), ..AuthOptions::default() };
        Gate::new(&options, Clock::system(), &mut Default::default()).expect("a gate")
    });
    let examine = |token: &str| GATE.examine(&Credentials { bearer: Some(token), ..Credentials::default() });
    let text = String::from_utf8_lossy(data);
    assert!(examine(&text).is_err());
    let (header, claims) = text.split_once('\n').unwrap_or((r#"{"alg":"HS256"}"#, &text));
    let signed = format!("{}.{}", URL_SAFE.encode(header), URL_SAFE.encode(claims));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
    let mut signature = aws_lc_rs::hmac::sign(&key, signed.as_bytes()).as_ref().to_vec();
    if examine(&format!("{signed}.{}", URL_SAFE.encode(&signature))).is_ok() {
        let header: Value = serde_json::from_str(header).expect("a header");
        assert_eq!(header["alg"], "HS256");
        let claims: Value = serde_json::from_str(claims).expect("claims");
        assert!(claims["channel"].is_null(), "a subscription token opens nothing else");
    }
    assert!(examine(&format!("{signed}.")).is_err());
    signature[usize::from(*data.first().unwrap_or(&0)) % 32] ^= 1;
    assert!(examine(&format!("{signed}.{}", URL_SAFE.encode(&signature))).is_err());
}

/// A client's filter lets pass what it says, by tag or else by field. A filter and data, as JSON, a line each.
pub fn tag_filters(data: &[u8]) {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let (filter, json) = (lines.next().unwrap_or_default(), lines.next().unwrap_or(b"{}"));
    let Ok(node) = serde_json::from_slice::<FilterNode>(filter) else { return };
    if is_json(json).is_err() {
        return;
    }
    let Ok(condition) = tag_filter(&node) else { return };
    let tags = vec![("t".to_owned(), "10".to_owned()), ("a".to_owned(), "tag".to_owned())];
    let channel = Channel::new("a:b").expect("a name");
    let publication = Publication::new(channel, Kind::Data, Bytes::copy_from_slice(json), tags.clone(), None);
    let fields = top_level_fields(json);
    let values = |key: &str| {
        let of = |all: &[(String, String)]| {
            all.iter().filter(|(name, _)| name == key).map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        let tagged = of(&tags);
        if tagged.is_empty() { of(&fields) } else { tagged }
    };
    assert_eq!(Filter::default().with_condition(condition).passes(&publication), holds(&node, &values));
}

fn holds(node: &FilterNode, values: &dyn Fn(&str) -> Vec<String>) -> bool {
    let any = |holds: &dyn Fn(&str) -> bool| values(&node.key).iter().any(|value| holds(value));
    let ordered = |holds: fn(&f64, &f64) -> bool| {
        any(&|value| match (value.parse(), node.val.parse()) {
            (Ok(value), Ok(wanted)) => holds(&value, &wanted),
            _ => false,
        })
    };
    match (node.op.as_str(), node.cmp.as_str()) {
        ("and", _) => node.nodes.iter().all(|node| holds(node, values)),
        ("or", _) => node.nodes.iter().any(|node| holds(node, values)),
        ("not", _) => !holds(&node.nodes[0], values),
        (_, "eq") => any(&|value| value == node.val),
        (_, "neq") => !any(&|value| value == node.val),
        (_, "in") => any(&|value| node.vals.iter().any(|wanted| wanted == value)),
        (_, "nin") => !any(&|value| node.vals.iter().any(|wanted| wanted == value)),
        (_, "ex") => any(&|_| true),
        (_, "nex") => !any(&|_| true),
        (_, "sw") => any(&|value| value.starts_with(&node.val)),
        (_, "ew") => any(&|value| value.ends_with(&node.val)),
        (_, "ct") => any(&|value| value.contains(&node.val)),
        (_, "lt") => ordered(f64::lt),
        (_, "lte") => ordered(f64::le),
        (_, "gt") => ordered(f64::gt),
        (_, "gte") => ordered(f64::ge),
        other => panic!("{other:?} was taken"),
    }
}

/// One point is one line, which InfluxDB's own reader reads as it was meant. Names and values, a line each.
pub fn lines(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.split('\u{1f}');
    let mut next = || parts.next().unwrap_or_default();
    let at = chrono::DateTime::from_timestamp_nanos(7);
    let mut point = Point::new(&format!("m{}", next()), at).tag(&format!("t{}", next()), next());
    point = point.field(&format!("f{}", next()), next());
    if let Ok(number) = next().parse::<f64>() {
        point = point.field("g", number);
    }
    if point.check().is_err() {
        return;
    }
    let line = encode_all(std::slice::from_ref(&point));
    let read: Vec<_> = influxdb_line_protocol::parse_lines(&line).collect::<Result<_, _>>().expect(&line);
    assert_eq!((read.len(), read[0].series.measurement.as_str()), (1, point.measurement()), "{line:?}");
    let found: Vec<_> = read[0].series.tag_set.iter().flatten().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    assert_eq!(found, point.tags().iter().map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>(), "{line:?}");
    assert_eq!(read[0].field_set.len(), point.fields().len());
    for ((key, value), (their_key, theirs)) in point.fields().iter().zip(&read[0].field_set) {
        let same = match (value, theirs) {
            (FieldValue::Text(ours), influxdb_line_protocol::FieldValue::String(theirs)) => ours == theirs.as_str(),
            (FieldValue::Float(ours), influxdb_line_protocol::FieldValue::F64(theirs)) => ours == theirs,
            _ => false,
        };
        assert!(same && key.as_str() == their_key.as_str(), "{line:?}");
    }
}

//! Pushes that many get: written once, by hand, around the data as it was published.

use std::fmt::Write;

use bytes::Bytes;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::raw::one_line;
use super::{ClientInfo, Delta, Encoding, Presence, Push, Reply, Shape, Unsubscribe, Unsubscribed, patch};
use crate::wire::{Opcode, frame};

/// What of a publication is told.
#[derive(Clone, Copy, Default)]
pub struct Told<'a> {
    pub channel: &'a str,
    pub data: &'a [u8],
    /// 0: none that all nodes share.
    pub offset: u64,
    pub tags: &'a [(String, String)],
    /// The publication before, where patches are wanted.
    pub base: Option<&'a [u8]>,
    /// A `ClientInfo` as JSON, of what a client published.
    pub info: Option<&'a str>,
    /// Of a map. Empty: none.
    pub key: &'a str,
    /// The key is gone, and there is no data.
    pub removed: bool,
    /// Of a key that is polled for. 0: none.
    pub version: u64,
}

/// What happens on a channel beside publications.
pub enum Event {
    Join(ClientInfo),
    Leave(ClientInfo),
    Unsubscribe(Unsubscribed),
}

/// The whole frame that tells a publication.
pub fn publication_frame(shape: Shape, told: Told<'_>) -> Bytes {
    let patch = match (shape.delta, told.base) {
        // A patch that is no shorter is not worth its name.
        (Delta::Patch, Some(base)) => patch(base, told.data).filter(|patch| patch.len() < told.data.len()),
        _ => None,
    };
    match shape.encoding {
        Encoding::Protobuf => frame(Opcode::Binary, &protobuf(told, patch.as_deref())),
        encoding => {
            let mut out = String::with_capacity(told.data.len() + told.channel.len() + 64);
            if encoding == Encoding::Json {
                out.push_str("{\"push\":");
            }
            out.push_str("{\"channel\":");
            out.push_str(&json_text(told.channel));
            out.push_str(",\"pub\":{\"data\":");
            let mut out = out.into_bytes();
            match (&patch, shape.delta) {
                _ if told.removed => out.extend_from_slice(b"null"),
                (Some(patch), _) => out.extend_from_slice(json_text(&String::from_utf8_lossy(patch)).as_bytes()),
                (None, Delta::Off) => out.extend_from_slice(&one_line(told.data)),
                (None, _) => out.extend_from_slice(json_text(&String::from_utf8_lossy(told.data)).as_bytes()),
            }
            out.extend_from_slice(rest(told, patch.is_some()).as_bytes());
            out.extend_from_slice(if encoding == Encoding::Json { b"}}}" } else { b"}}" });
            frame(Opcode::Text, &out)
        }
    }
}

fn rest(told: Told<'_>, delta: bool) -> String {
    let mut out = String::new();
    if let Some(info) = told.info {
        let _ = write!(out, ",\"info\":{info}");
    }
    if told.offset > 0 {
        let _ = write!(out, ",\"offset\":{}", told.offset);
    }
    if !told.tags.is_empty() {
        let tags = told.tags.iter().map(|(name, value)| format!("{}:{}", json_text(name), json_text(value)));
        let _ = write!(out, ",\"tags\":{{{}}}", tags.collect::<Vec<_>>().join(","));
    }
    if delta {
        out.push_str(",\"delta\":true");
    }
    if !told.key.is_empty() {
        let _ = write!(out, ",\"key\":{}", json_text(told.key));
    }
    if told.removed {
        out.push_str(",\"removed\":true");
    }
    if told.version > 0 {
        let _ = write!(out, ",\"version\":{}", told.version);
    }
    out
}

fn protobuf(told: Told<'_>, patch: Option<&[u8]>) -> Vec<u8> {
    let publication = super::Publication {
        data: Bytes::copy_from_slice(patch.unwrap_or(told.data)),
        info: told.info.and_then(|info| serde_json::from_str(info).ok()),
        offset: told.offset,
        tags: told.tags.iter().cloned().collect(),
        delta: patch.is_some(),
        key: told.key.to_owned(),
        removed: told.removed,
        version: told.version,
    };
    // Reply{push: Push{channel, pub}}, from the inside out.
    let mut push = Vec::with_capacity(publication.encoded_len() + told.channel.len() + 16);
    prost::encoding::string::encode(2, &told.channel.to_owned(), &mut push);
    encode_key(4, WireType::LengthDelimited, &mut push);
    encode_varint(publication.encoded_len() as u64, &mut push);
    push.extend_from_slice(&publication.encode_to_vec());
    let mut reply = Vec::with_capacity(push.len() + 8);
    encode_key(4, WireType::LengthDelimited, &mut reply);
    encode_varint(push.len() as u64, &mut reply);
    reply.extend_from_slice(&push);
    let mut out = Vec::with_capacity(reply.len() + 8);
    encode_varint(reply.len() as u64, &mut out);
    out.extend_from_slice(&reply);
    out
}

/// The frame that tells something else that happened on a channel.
pub fn event_frame(encoding: Encoding, channel: &str, event: Event) -> Bytes {
    let mut push = Push { channel: channel.to_owned(), ..Push::default() };
    match event {
        Event::Join(info) => push.join = Some(Presence { info: Some(info) }),
        Event::Leave(info) => push.leave = Some(Presence { info: Some(info) }),
        Event::Unsubscribe(why) => {
            push.unsubscribe = Some(Unsubscribe { code: why.code(), reason: why.reason().to_owned() });
        }
    }
    encoding.reply(&Reply { push: Some(push), ..Reply::default() })
}

/// Text as JSON.
pub fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_say_the_same() {
        let tags = vec![("k".to_owned(), "v\"".to_owned())];
        let told = Told {
            channel: "price:updates",
            data: b"{\"a\":\n1}",
            offset: 7,
            tags: &tags,
            info: Some(r#"{"user":"u","client":"c"}"#),
            key: "k",
            version: 1 << 40,
            ..Told::default()
        };
        let shape = Shape { encoding: Encoding::Json, delta: Delta::Off };
        let payload = |frame: Bytes| crate::wire::take_frame(&mut frame.into()).unwrap().1;
        let text = payload(publication_frame(shape, told));
        let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert!(!text.contains(&b'\n'));
        assert_eq!(json["push"]["pub"]["tags"]["k"], "v\"");
        assert_eq!(json["push"]["pub"]["info"]["client"], "c");
        let packed = payload(publication_frame(Shape { encoding: Encoding::Protobuf, ..shape }, told));
        let reply = Reply::decode_length_delimited(packed).unwrap();
        let push = reply.push.unwrap();
        let publication = push.publication.unwrap();
        assert_eq!((push.channel.as_str(), publication.offset, &publication.data[..]), (told.channel, 7, told.data));
        assert_eq!((json["push"]["pub"]["key"].as_str(), publication.key.as_str()), (Some("k"), "k"));
        assert_eq!((json["push"]["pub"]["version"].as_u64(), publication.version), (Some(1 << 40), 1 << 40));
        assert_eq!(publication.info.unwrap().user, "u");
        let bare = payload(publication_frame(Shape { encoding: Encoding::Bare, ..shape }, told));
        assert!(bare.starts_with(br#"{"channel":"price:updates","pub":{"data":"#));
    }
}

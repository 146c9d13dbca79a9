//! What Fanfare nodes tell each other on `fanfare:{<channel>}`; the plain channel carries the data alone, for publishers
//! and subscribers that are not Fanfare. A publication is `<offset> <epoch> <length of the key> <tags as JSON>\n<key><data>`,
//! a canary `@ <offset> <epoch> <nonce>`.

use std::sync::Arc;

use bytes::Bytes;

use super::super::{Channel, Position, Tags};

/// Names between nodes begin with this. The braces put what belongs to one channel into one slot of a cluster.
const PREFIX: &str = "fanfare:{";

pub(super) fn nodes_channel(channel: &Channel) -> String {
    format!("{PREFIX}{channel}}}")
}

/// The channel whose nodes' channel `name` is.
pub(super) fn of_nodes_channel(name: &str) -> Option<&str> {
    name.strip_prefix(PREFIX)?.strip_suffix('}')
}

/// The keys under which is kept who watches the channel whose presence channel this is: the nodes by the end of their
/// lease, and the number of each node's last note. What belongs to one node follows the first, behind a colon.
pub(super) fn presence_keys(channel: &Channel) -> [String; 2] {
    ["nodes", "numbers"].map(|part| format!("{PREFIX}{channel}}}:{part}"))
}

/// The keys that hold a channel's numbering, history, and publishers' keys.
pub(super) fn keys(channel: &Channel) -> Vec<String> {
    ["meta", "log", "keys"].iter().map(|part| format!("{PREFIX}{channel}}}:{part}")).collect()
}

/// The keys that hold a channel's map: values, keys in order, when they end, and versions.
pub(super) fn map_keys(channel: &Channel) -> Vec<String> {
    ["map", "map-keys", "map-ends", "map-versions"].iter().map(|part| format!("{PREFIX}{channel}}}:{part}")).collect()
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Envelope {
    Publication {
        position: Position,
        tags: Tags,
        key: Option<Arc<str>>,
        data: Bytes,
    },
    /// Where the channel stood when a node asked; it came through the channel itself, so the channel works.
    Canary {
        position: Position,
        nonce: String,
    },
}

impl Envelope {
    /// `None` for anything that a node did not write.
    pub fn parse(message: &Bytes) -> Option<Self> {
        if let Some(canary) = message.strip_prefix(b"@ ") {
            let mut words = std::str::from_utf8(canary).ok()?.split(' ');
            let position = position(&mut words)?;
            return Some(Self::Canary { position, nonce: words.next()?.to_owned() });
        }
        let end = message.iter().position(|byte| *byte == b'\n')?;
        let head = std::str::from_utf8(&message[..end]).ok()?;
        let mut words = head.splitn(4, ' ');
        let position = position(&mut words)?;
        let key_end = end + 1 + words.next()?.parse::<usize>().ok().filter(|length| *length < message.len() - end)?;
        let tags = serde_json::from_str(words.next()?).ok()?;
        let key = std::str::from_utf8(&message[end + 1..key_end]).ok()?;
        let key = (!key.is_empty()).then(|| key.into());
        Some(Self::Publication { position, tags, key, data: message.slice(key_end..) })
    }
}

fn position<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Position> {
    let offset = words.next()?.parse().ok()?;
    Some(Position { offset, epoch: words.next()?.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_scripts_write_is_read() {
        let message = Bytes::from_static(b"7 abcdefgh 3 [[\"category\",\"\xe5\xae\xb6 x\"]]\no-9{\"a\":\n1}");
        let expected = Envelope::Publication {
            position: Position { offset: 7, epoch: "abcdefgh".into() },
            tags: vec![("category".to_owned(), "家 x".to_owned())],
            key: Some("o-9".into()),
            data: Bytes::from_static(b"{\"a\":\n1}"),
        };
        assert_eq!(Envelope::parse(&message), Some(expected));
        let canary = Envelope::Canary { position: Position { offset: 0, epoch: "e".into() }, nonce: "n1".into() };
        assert_eq!(Envelope::parse(&Bytes::from_static(b"@ 0 e n1")), Some(canary));
        for other in [&b"{\"a\":1}"[..], b"7 abc\n{}", b"x abc 0 []\n{}", b"7 abc 9 []\n{}", b"@ 7", b""] {
            assert_eq!(Envelope::parse(&Bytes::copy_from_slice(other)), None);
        }
    }

    #[test]
    fn names_lead_back_to_their_channel() {
        let channel = Channel::new("a:{b}:c").unwrap();
        assert_eq!(of_nodes_channel(&nodes_channel(&channel)), Some("a:{b}:c"));
        assert_eq!(of_nodes_channel("inventory:updates"), None);
    }
}

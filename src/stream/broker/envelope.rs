//! What Fanfare nodes tell each other beside a message: `<offset> <epoch> <tags as JSON>\n<data>` on `fanfare:<channel>`.
//! The plain channel carries the data alone, for publishers and subscribers that are not Fanfare.

use bytes::Bytes;

use super::super::{Position, Tags};

/// Channels between nodes begin with this; the rest is the plain channel's name.
pub(super) const PREFIX: &str = "fanfare:";

pub(super) struct Envelope {
    pub position: Position,
    pub tags: Tags,
    pub data: Bytes,
}

impl Envelope {
    /// `None` for anything that a node did not write.
    pub fn parse(message: &Bytes) -> Option<Self> {
        let end = message.iter().position(|byte| *byte == b'\n')?;
        let head = std::str::from_utf8(&message[..end]).ok()?;
        let mut words = head.splitn(3, ' ');
        let offset = words.next()?.parse().ok()?;
        let epoch = words.next()?.to_owned();
        let tags = serde_json::from_str(words.next()?).ok()?;
        Some(Self { position: Position { offset, epoch }, tags, data: message.slice(end + 1..) })
    }
}

/// Eight random letters.
pub(super) fn new_epoch() -> String {
    (0..8).map(|_| fastrand::alphabetic()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_script_writes_is_read() {
        let message = Bytes::from_static(b"7 abcdefgh [[\"category\",\"\xe5\xae\xb6 x\"]]\n{\"a\":\n1}");
        let envelope = Envelope::parse(&message).unwrap();
        assert_eq!(envelope.position, Position { offset: 7, epoch: "abcdefgh".into() });
        assert_eq!(envelope.tags, [("category".to_owned(), "家 x".to_owned())]);
        assert_eq!(&envelope.data[..], b"{\"a\":\n1}");
        for other in [&b"{\"a\":1}"[..], b"7 abc\n{}", b"x abc []\n{}", b""] {
            assert!(Envelope::parse(&Bytes::copy_from_slice(other)).is_none());
        }
    }
}

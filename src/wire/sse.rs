//! Server-sent events: text blocks with a blank line behind each. The end of a connection is an event too, as there is no
//! close frame.

use bytes::Bytes;

use super::Close;
use super::frame::close_reason;

/// An event that carries `json`. Line ends within it part it into lines, which the client joins again.
pub fn event(json: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(json.len() + 8);
    let mut rest = json;
    loop {
        out.extend_from_slice(b"data: ");
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let (line, behind) = match end {
            Some(end) if rest[end..].starts_with(b"\r\n") => (&rest[..end], Some(&rest[end + 2..])),
            Some(end) => (&rest[..end], Some(&rest[end + 1..])),
            None => (rest, None),
        };
        out.extend_from_slice(line);
        out.push(b'\n');
        match behind {
            Some(behind) => rest = behind,
            None => break,
        }
    }
    out.push(b'\n');
    Bytes::from(out)
}

/// The same event, after which the client stands at `id`.
pub fn event_with_id(id: &str, event: &[u8]) -> Bytes {
    [b"id: ", id.as_bytes(), b"\n", event].concat().into()
}

/// Where the client stands, and nothing else: no event comes of it.
pub fn id(id: &str) -> Bytes {
    format!("id: {id}\n\n").into()
}

/// How long the client waits before it comes back.
pub fn retry(after_ms: u64) -> Bytes {
    format!("retry: {after_ms}\n\n").into()
}

/// A comment, and where the client stands: without it, one whose filter lets little pass would fall behind the history.
pub fn heartbeat_at(id: &str) -> Bytes {
    format!(":\nid: {id}\n\n").into()
}

/// A comment, which keeps proxies from taking the connection for dead.
pub(super) fn heartbeat() -> Bytes {
    Bytes::from_static(b":\n\n")
}

/// The last word: what a WebSocket says in its close frame.
pub(super) fn close(close: Close, detail: &str) -> Bytes {
    let said = serde_json::json!({
        "code": close.code(), "reason": close_reason(close, detail), "reconnect": close.reconnect(),
    });
    Bytes::from(format!("event: close\ndata: {said}\n\n"))
}

/// How long the first block of `text` is, its blank line included.
pub(super) fn block_length(text: &[u8]) -> usize {
    text.windows(2).position(|two| two == b"\n\n").map_or(text.len(), |at| at + 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a browser makes of it, by the HTML standard: lines end with CR LF, CR or LF.
    fn read(stream: &str) -> (Vec<String>, String) {
        let (mut events, mut data, mut id) = (Vec::new(), Vec::<String>::new(), String::new());
        for line in stream.replace("\r\n", "\n").replace('\r', "\n").split('\n') {
            match line.split_once(": ") {
                _ if line.is_empty() && !data.is_empty() => events.push(std::mem::take(&mut data).join("\n")),
                Some(("data", text)) => data.push(text.to_owned()),
                Some(("id", text)) => id = text.to_owned(),
                _ => {}
            }
        }
        (events, id)
    }

    proptest! {
        #[test]
        fn a_browser_reads_what_was_written(texts in proptest::collection::vec("[a-z{}:\r\n ]{0,30}", 1..6)) {
            let mut stream = Vec::new();
            for (n, text) in texts.iter().enumerate() {
                let block = event_with_id(&format!("e:{n}"), &event(text.as_bytes()));
                prop_assert_eq!(block_length(&block), block.len(), "no blank line within");
                stream.extend_from_slice(&block);
            }
            let (events, id) = read(std::str::from_utf8(&stream).unwrap());
            let expected: Vec<String> = texts.iter().map(|text| text.replace("\r\n", "\n").replace('\r', "\n")).collect();
            prop_assert_eq!(events, expected);
            prop_assert_eq!(id, format!("e:{}", texts.len() - 1));
        }
    }
}

//! The properties of `fuzz_properties.rs` for a minute's worth of made-up input: any bytes, and what nearly is right.

use fanfare::wire::Deflate;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::fuzz_properties as property;
use crate::stream_ws::masked;

/// Frames that a client might send, with one wrong here and there.
fn conversation() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop_oneof![Just(0x81u8), Just(0x82), Just(0x01), Just(0x00), Just(0x80), Just(0x89), Just(0xC1), Just(0x41)],
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        3 => vec(any::<u8>(), 0..200),
        3 => "[a-zé日]{0,80}".prop_map(String::into_bytes),
        1 => "[ab]{0,600}".prop_map(|text| Deflate { min_bytes: 1, level: 1 }.pack(text.as_bytes()).unwrap_or_default()),
    ];
    vec((first, payload), 0..8)
        .prop_map(|frames| frames.iter().flat_map(|(first, payload)| masked(*first, payload)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn frames(head in any::<[u8; 2]>(), bytes in prop_oneof![conversation(), vec(any::<u8>(), 0..300)]) {
        property::frames(&[&head[..], &bytes].concat());
    }

    #[test]
    fn compression(bytes in vec(any::<u8>(), 0..300)) {
        property::compression(&bytes);
    }

    #[test]
    fn handshakes(
        query in prop_oneof![".{0,80}", "((since|sku|format|max_hz|snapshot|auth|user_id)=[~a-zA-Z0-9:,.%-]{0,20}&){0,5}"],
        id in prop_oneof![".{0,40}", "([~a-zA-Z]{1,9}:[0-9]{1,21},?){0,70}"],
        offers in prop_oneof![".{0,40}", "(permessage-deflate|; ?(server|client)_(max_window_bits|no_context_takeover)|=[0-9\"]{1,3}|, ?){0,8}"],
    ) {
        property::handshake(format!("{query}\n{id}\n{offers}").as_bytes());
    }

    #[test]
    fn events(text in "[ -~\r\n日\u{2028}]{0,80}") {
        property::events(text.as_bytes());
    }

    #[test]
    fn filters(value in any::<u8>(), json in "\\{(\"[a-c]\": ?(\"[a-c]?\"|[0-9]|null|\\[1\\]|\\{\\})(, ?\"[a-c]\":\"[a-c]\")?)?\\}|[0-9]|\"[a-z]*\"|\\[\\]") {
        property::filters(&[&[value][..], json.as_bytes()].concat());
    }

    #[test]
    fn commands(mode in any::<u8>(), message in prop_oneof![
        vec(any::<u8>(), 0..200),
        "(\\{\"id\":[0-9]{1,3},\"(connect|subscribe|publish|history|rpc|nothing)\":\\{(\"(channel|data|tf|flag|since)\":(\"x\"|1|\\{\\}|null),?){0,2}\\}\\}\n?){0,3}".prop_map(String::into_bytes),
    ]) {
        property::commands(&[&[mode][..], &message].concat());
    }

    #[test]
    fn dialects(json in "[ \r\n]?(\\{(\"[a-cé]\": ?(\"[a-cé\\\\n]?\"|-?[0-9]{1,22}|[0-9]\\.[0-9]e[0-9]{1,3}|null|\\[1,\n2\\]|\\{\\})(, ?\"d\":\"[a-c]\")?)?\\}|\"[a-z]*\"|\\[\\])[ \n]?") {
        property::dialects(json.as_bytes());
    }

    #[test]
    fn deltas(cut in any::<u8>(), text in prop_oneof!["[abé日]{0,200}".prop_map(String::into_bytes), vec(any::<u8>(), 0..300)]) {
        property::deltas(&[&[cut][..], &text].concat());
    }

    #[test]
    fn tokens(
        header in prop_oneof!["\\{\"alg\":\"(HS256|HS384|none|RS256|)\"(,\"kid\":\"[a-z]\")?(,\"crit\":\\[\"b\"\\])?\\}", ".{0,20}"],
        claims in prop_oneof!["\\{(\"(sub|channel|channels|subs|exp|nbf|aud|iss|info|b64info|jti|role|override)\":(\"[a-z]{0,4}\"|-?[0-9]{1,20}|null|\\[\"a\"\\]|\\{\\}))?\\}", ".{0,40}"],
    ) {
        property::tokens(format!("{header}\n{claims}").as_bytes());
    }

    #[test]
    fn tag_filters(
        leaves in vec(("[ta-c]", "(eq|neq|in|nin|ex|nex|sw|ew|ct|lt|lte|gt|gte|no)", "(tag|1|10|-1|a|)"), 1..4),
        op in "(and|or|not|xor)",
        json in "\\{(\"[a-c]\":(\"[a-c]?\"|[0-9]{1,2}|null)(,\"[a-c]\":\"[a-c]\")?)?\\}",
    ) {
        let leaf = |(key, cmp, val): &(String, String, String)| {
            format!(r#"{{"key":"{key}","cmp":"{cmp}","val":"{val}","vals":["{val}"]}}"#)
        };
        let nodes: Vec<String> = leaves.iter().map(leaf).collect();
        property::tag_filters(format!("{}\n{json}", nodes[0]).as_bytes());
        property::tag_filters(format!(r#"{{"op":"{op}","nodes":[{}]}}{}{json}"#, nodes.join(","), "\n").as_bytes());
    }

    #[test]
    fn lines(parts in vec("[a, =\\\\\"\n#é0-9.e-]{0,8}", 0..7)) {
        property::lines(parts.join("\u{1f}").as_bytes());
    }
}

//! Looking at JSON without building it.

use std::collections::BTreeMap;

use serde::de::{Error, IgnoredAny};
use serde_json::value::RawValue;

/// Whether `data` is exactly one JSON value, in UTF-8.
pub fn is_json(data: &[u8]) -> Result<(), serde_json::Error> {
    // A string that is skipped over is not looked into, and one bad byte in a text frame ends the client's connection.
    let text = std::str::from_utf8(data).map_err(serde_json::Error::custom)?;
    serde_json::from_str::<IgnoredAny>(text).map(|_| ())
}

/// The scalar fields of a JSON object's top level as text: strings without quotes, numbers and booleans as written.
/// Anything but an object has none.
pub fn top_level_fields(data: &[u8]) -> Vec<(String, String)> {
    let Ok(object) = serde_json::from_slice::<BTreeMap<String, &RawValue>>(data) else { return Vec::new() };
    object
        .into_iter()
        .filter_map(|(name, value)| {
            let text = match value.get().as_bytes().first()? {
                b'{' | b'[' | b'n' => return None,
                b'"' => serde_json::from_str(value.get()).ok()?,
                _ => value.get().to_owned(),
            };
            Some((name, text))
        })
        .collect()
}

/// The numbers of an object's top level that stand under one of `names`, as they are written.
pub fn numbers_of<'a>(data: &'a [u8], names: &[&'static str]) -> Vec<(&'static str, &'a str)> {
    let Ok(object) = serde_json::from_slice::<BTreeMap<&str, &'a RawValue>>(data) else { return Vec::new() };
    let number = |text: &&str| text.as_bytes().first().is_some_and(|first| *first == b'-' || first.is_ascii_digit());
    let found = names.iter().filter_map(|name| object.get(name).map(|value| (*name, value.get())));
    found.filter(|(_, text)| number(text)).collect()
}

/// The object with one more field at its end; anything that is not an object becomes `{"data": …}` first.
/// `value` is JSON already.
pub fn with_field(json: &[u8], name: &str, value: &str) -> Vec<u8> {
    let body = json.trim_ascii();
    let mut out = Vec::with_capacity(body.len() + name.len() + value.len() + 16);
    match body.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}")) {
        Some(fields) => {
            out.push(b'{');
            out.extend_from_slice(fields);
            if !fields.trim_ascii().is_empty() {
                out.push(b',');
            }
        }
        None => {
            out.extend_from_slice(b"{\"data\":");
            out.extend_from_slice(body);
            out.push(b',');
        }
    }
    out.extend_from_slice(format!("\"{name}\":{value}}}").as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_scalars_of_the_top_level() {
        let fields =
            top_level_fields(br#"{"sku":"A\u002d1","n":12.50,"ok":true,"none":null,"deep":{"sku":"B"},"list":[1]}"#);
        let expected = [("n", "12.50"), ("ok", "true"), ("sku", "A-1")];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(top_level_fields(b"[1,2]").is_empty());
        assert!(top_level_fields(b"nonsense").is_empty());
    }

    #[test]
    fn one_more_field_is_valid_json_whatever_it_joins() {
        for (json, expected) in [
            ("{}", r#"{"p":1}"#),
            (" { } ", r#"{ "p":1}"#),
            (r#"{"a":"}"}"#, r#"{"a":"}","p":1}"#),
            ("[1]", r#"{"data":[1],"p":1}"#),
            ("\"{x}\"", r#"{"data":"{x}","p":1}"#),
        ] {
            let joined = with_field(json.as_bytes(), "p", "1");
            assert_eq!(String::from_utf8_lossy(&joined), expected);
            assert!(is_json(&joined).is_ok());
        }
    }

    #[test]
    fn numbers_are_taken_as_written() {
        let data = br#"{"a":1.50,"b":"2","c":-3e2,"d":null}"#;
        assert_eq!(numbers_of(data, &["a", "b", "c", "d", "e"]), [("a", "1.50"), ("c", "-3e2")]);
    }

    #[test]
    fn one_value_and_nothing_else() {
        assert!(is_json(b" {\"a\":1}\n").is_ok());
        assert!(is_json(b"{} {}").is_err());
        assert!(is_json(b"").is_err());
        assert!(is_json(b"{\"a\":\xff}").is_err());
        assert!(is_json(b"{\"a\":\"\xff\"}").is_err());
    }
}

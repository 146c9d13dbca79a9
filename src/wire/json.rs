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
    fn one_value_and_nothing_else() {
        assert!(is_json(b" {\"a\":1}\n").is_ok());
        assert!(is_json(b"{} {}").is_err());
        assert!(is_json(b"").is_err());
        assert!(is_json(b"{\"a\":\xff}").is_err());
        assert!(is_json(b"{\"a\":\"\xff\"}").is_err());
    }
}

//! JSON text to MessagePack, streamed: maps stay maps, nothing is built in between.

use serde::Serialize;

/// MessagePack has no words for some JSON: half of a surrogate pair, a number beyond 64 bits, more than 128 levels. Such
/// a text comes out whole, as one string.
pub fn from_json(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let mut input = serde_json::Deserializer::from_slice(json);
    let mut output = rmp_serde::Serializer::new(&mut out);
    if serde_transcode::transcode(&mut input, &mut output).is_err() {
        out.clear();
        // Writing into memory does not fail; the text is UTF-8, as it was checked when it was published.
        let _ = String::from_utf8_lossy(json).serialize(&mut rmp_serde::Serializer::new(&mut out));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_stay_maps_and_values_survive() {
        let json = r#"{"message_type":"inventory_update","item_id":7,"price":12.5,"low":false,"none":null,"tags":["a","日本"],"big":-9007199254740993}"#;
        let packed = from_json(json.as_bytes());
        assert_eq!(packed[0], 0x87, "a map of seven");
        let back: serde_json::Value = rmp_serde::from_slice(&packed).unwrap();
        assert_eq!(back, serde_json::from_str::<serde_json::Value>(json).unwrap());
    }

    #[test]
    fn what_cannot_be_said_stays_text() {
        for json in [r#"["\ud800"]"#, "[1e999]"] {
            assert_eq!(rmp_serde::from_slice::<String>(&from_json(json.as_bytes())).unwrap(), json);
        }
    }
}

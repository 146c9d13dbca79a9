//! JSON text to MessagePack, streamed: maps stay maps, nothing is built in between.

/// `json` must be valid; what is not comes out as MessagePack nil, which a caller that checked never sees.
pub fn from_json(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let mut input = serde_json::Deserializer::from_slice(json);
    let mut output = rmp_serde::Serializer::new(&mut out);
    if serde_transcode::transcode(&mut input, &mut output).is_err() {
        out.clear();
        out.push(0xc0);
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
}

//! JSON inside JSON: it stands as it is, and is bytes in Protobuf.

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Error, Serialize, Serializer};
use serde_json::value::RawValue;

/// What is missing or null is empty.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let raw = Option::<Box<RawValue>>::deserialize(deserializer)?;
    Ok(raw.map(|raw| Bytes::from(String::from(Box::<str>::from(raw)))).unwrap_or_default())
}

pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    if bytes.is_empty() {
        return serializer.serialize_none();
    }
    let line = one_line(bytes);
    serde_json::from_slice::<&RawValue>(&line).map_err(S::Error::custom)?.serialize(serializer)
}

/// The same JSON without line breaks, which part messages: within JSON they are nothing but white space.
pub fn one_line(json: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if json.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        json.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect::<Vec<_>>().into()
    } else {
        json.into()
    }
}

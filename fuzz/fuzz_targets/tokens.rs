//! See tests/it/fuzz_properties.rs, which has the property.
#![no_main]

#[path = "../../tests/it/fuzz_properties.rs"]
#[allow(dead_code, reason = "each target is one of its properties")]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::tokens(data));

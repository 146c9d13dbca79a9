//! Published messages, held to the schemas of the channel they are for.

use std::collections::HashMap;

use jsonschema::Validator;
use serde_json::Value;

use super::messages::{CHANNELS, schema};
use super::options::{ContractOptions, Strictness};
use crate::http::{FieldError, Problem};

/// Validators of every channel that has messages of its own, compiled once. Other channels cost one look-up.
pub struct Check {
    strictness: Strictness,
    channels: HashMap<&'static str, Vec<(&'static str, Validator)>>,
}

/// Where a message breaks its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// A JSON pointer to the wrong field, from the message's root on.
    pub pointer: String,
    pub message: String,
}

/// A message with many faults is told of the first few.
const MOST_MISFITS: usize = 10;

impl Check {
    /// Fails when a schema is not one, which a test keeps from happening.
    pub fn new(options: &ContractOptions) -> Result<Self, String> {
        let mut channels = HashMap::new();
        if options.messages != Strictness::Off {
            for channel in CHANNELS {
                let validators = channel.messages.iter().map(|name| {
                    let built = jsonschema::draft202012::new(&schema(name));
                    Ok((*name, built.map_err(|error| format!("{name}: {error}"))?))
                });
                channels.insert(channel.channel, validators.collect::<Result<Vec<_>, String>>()?);
            }
        }
        Ok(Self { strictness: options.messages, channels })
    }

    /// Whether `data` may be published on `channel`.
    pub fn check(&self, channel: &str, data: &[u8]) -> Result<(), Vec<Misfit>> {
        let Some(known) = self.channels.get(channel) else { return Ok(()) };
        // What is not JSON is refused by whoever takes it.
        let Ok(message) = serde_json::from_slice::<Value>(data) else { return Ok(()) };
        let named = message.get("message_type").and_then(Value::as_str);
        let Some((_, validator)) = known.iter().find(|(name, _)| Some(*name) == named) else {
            if self.strictness != Strictness::Strict {
                return Ok(());
            }
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            let message = format!("is one of {}", names.join(", "));
            return Err(vec![Misfit { pointer: "/message_type".into(), message }]);
        };
        if validator.is_valid(&message) {
            return Ok(());
        }
        let misfits = validator.iter_errors(&message).take(MOST_MISFITS).map(|error| {
            let mut pointer = error.instance_path().to_string();
            // A field that is missing is named by where it should stand.
            if let jsonschema::error::ValidationErrorKind::Required { property } = error.kind() {
                let name = property.as_str().unwrap_or_default().replace('~', "~0").replace('/', "~1");
                pointer = format!("{pointer}/{name}");
            }
            Misfit { pointer, message: error.to_string() }
        });
        Err(misfits.collect())
    }
}

/// The answer to who published it: each wrong field by a JSON pointer into the request.
pub fn problem(misfits: Vec<Misfit>) -> Problem {
    let error = |Misfit { pointer, message }| FieldError::new(format!("/data{pointer}"), message);
    Problem::invalid(misfits.into_iter().map(error).collect())
}

//! The server's documents, and JSON held to them.

use fanfare::contract;
use jsonschema::Validator;
use serde_json::{Value, json};

/// A validator for the schema at `pointer` of the OpenAPI document.
pub fn validator(pointer: &str) -> Validator {
    let document = contract::openapi();
    assert!(document.pointer(pointer).is_some(), "there is no {pointer}");
    let schema = json!({"$ref": format!("#{}", pointer.replace("{", "%7B").replace("}", "%7D").replace(" ", "%20")), "components": document["components"], "paths": document["paths"]});
    jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap()
}

#[track_caller]
pub fn fits(validator: &Validator, value: &Value, what: &str) {
    let wrong: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(wrong.is_empty(), "{what}: {wrong:#?}\nin {value:#}");
}

/// `/` as a step of a JSON pointer.
pub fn step(text: &str) -> String {
    text.replace('~', "~0").replace('/', "~1")
}

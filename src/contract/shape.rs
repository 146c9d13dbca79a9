//! Small steps through JSON documents.

use serde_json::{Map, Value};

/// The object at a JSON pointer.
pub fn object_at<'a>(document: &'a mut Value, pointer: &str) -> Option<&'a mut Map<String, Value>> {
    document.pointer_mut(pointer)?.as_object_mut()
}

/// Writes the fields of `over` into `under`, objects into objects.
pub fn merge(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (name, value) in over {
                merge(under.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over.clone(),
    }
}

/// Visits every object of a document, parents first.
pub fn each_object(document: &mut Value, visit: &mut impl FnMut(&mut Map<String, Value>)) {
    match document {
        Value::Object(fields) => {
            visit(fields);
            fields.values_mut().for_each(|value| each_object(value, visit));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| each_object(value, visit)),
        _ => {}
    }
}

/// Takes null out of a schema: what a URL says is never null, and a value that stands there is not one either.
pub fn never_null(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            fields.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(choices)) = fields.get_mut("oneOf") {
        choices.retain(|choice| choice["type"] != "null");
        if let [only] = choices.as_slice() {
            let only = only.clone();
            fields.remove("oneOf");
            if let Value::Object(only) = only {
                fields.extend(only);
            }
        }
    }
}

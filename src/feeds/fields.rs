//! `?fields=id,name`: the parts of a resource that its reader wants.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::http::{FieldError, Problem};

/// Checked names in the resource's own order; nothing for all of them.
#[derive(Clone, Debug, Default)]
pub struct Fields(Option<Vec<&'static str>>);

/// One resource with some of its fields, each as it is written in the whole.
pub type Picked = Box<RawValue>;

/// Of one resource.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FieldsParameter {
    /// Names of fields by comma, or `light`.
    fields: Option<String>,
}

impl FieldsParameter {
    pub fn read(&self, known: &'static [&'static str], light: &'static [&'static str]) -> Result<Fields, Problem> {
        Fields::parse(self.fields.as_deref(), known, light).map_err(|error| Problem::invalid(vec![error]))
    }
}

impl Fields {
    /// Reads a parameter: names by comma, or `light` for the resource's own short form.
    pub fn parse(
        asked: Option<&str>,
        known: &'static [&'static str],
        light: &'static [&'static str],
    ) -> Result<Self, FieldError> {
        let Some(asked) = asked else { return Ok(Self(None)) };
        if asked == "light" {
            return Ok(Self(Some(light.to_vec())));
        }
        let names: Vec<&str> = asked.split(',').map(str::trim).collect();
        if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
            let message = format!("has no field {unknown:?}; there are {}", known.join(", "));
            return Err(FieldError::new("fields", message));
        }
        Ok(Self(Some(known.iter().copied().filter(|name| names.contains(name)).collect())))
    }

    /// `None` where all fields are wanted.
    pub fn of_each<T: Serialize>(&self, items: &[T]) -> Result<Option<Vec<Picked>>, Problem> {
        let Some(names) = &self.0 else { return Ok(None) };
        items.iter().map(|item| pick(item, names)).collect::<Result<_, _>>().map(Some).map_err(Problem::internal)
    }

    /// One resource as JSON.
    pub fn of(&self, item: &impl Serialize) -> Result<Vec<u8>, Problem> {
        match &self.0 {
            None => serde_json::to_vec(item).map_err(Problem::internal),
            Some(names) => Ok(pick(item, names).map_err(Problem::internal)?.get().as_bytes().to_vec()),
        }
    }
}

/// By way of text: an exact decimal stays what it is.
fn pick(item: &impl Serialize, names: &[&'static str]) -> serde_json::Result<Picked> {
    let whole = serde_json::to_string(item)?;
    let values: HashMap<&str, &RawValue> = serde_json::from_str(&whole)?;
    let mut picked = String::with_capacity(whole.len());
    for name in names {
        let Some(value) = values.get(name) else { continue };
        picked.push(if picked.is_empty() { '{' } else { ',' });
        picked.push('"');
        picked.push_str(name);
        picked.push_str("\":");
        picked.push_str(value.get());
    }
    picked.push_str(if picked.is_empty() { "{}" } else { "}" });
    RawValue::from_string(picked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Thing {
        id: i64,
        price: crate::db::Money,
        note: Option<&'static str>,
    }

    const KNOWN: &[&str] = &["id", "price", "note"];

    #[test]
    fn fields_keep_their_order_and_their_digits() {
        let thing = Thing { id: 7, price: "12345678901.2345".parse().unwrap(), note: None };
        let of = |asked| String::from_utf8(Fields::parse(asked, KNOWN, &["id"]).unwrap().of(&thing).unwrap()).unwrap();
        assert_eq!(of(Some("note, price")), r#"{"price":12345678901.2345,"note":null}"#);
        assert_eq!(of(Some("light")), r#"{"id":7}"#);
        assert_eq!(of(None), r#"{"id":7,"price":12345678901.2345,"note":null}"#);
        for bad in ["", "id,", "ID", "id;note", "secret"] {
            assert!(Fields::parse(Some(bad), KNOWN, &["id"]).is_err(), "{bad}");
        }
    }
}

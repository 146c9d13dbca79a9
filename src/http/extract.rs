//! Extractors that answer with problem details which name the field.

use std::fmt;

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};

use super::{BodyError, FieldError, Problem};

/// A JSON body, in and out. A strict body's type carries `#[serde(deny_unknown_fields)]`.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        let essence = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        if essence != "application/json" && !(essence.starts_with("application/") && essence.ends_with("+json")) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media-type",
                "send the body as Content-Type: application/json",
            ));
        }
        let body = Bytes::from_request(request, state).await.map_err(body_problem)?;
        parse(&body).map(Json)
    }
}

/// A body as it is, of whatever type.
pub struct RawBody(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Bytes::from_request(request, state).await.map(RawBody).map_err(body_problem)
    }
}

/// Reads JSON; the problem names the field.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut input = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(NamedFields(&mut input)).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        match error.classify() {
            serde_json::error::Category::Data => misfit(&path, &error.to_string()),
            _ => Problem::bad_request(format!("the body is not valid JSON: {error}")),
        }
    })?;
    input.end().map_err(|error| Problem::bad_request(format!("the body is not one JSON value: {error}")))?;
    Ok(value)
}

/// Takes an object where a type has fields. Left to itself, serde takes a list for their values in order, too.
struct NamedFields<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for NamedFields<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(OfObject(visitor))
    }

    // What is not a struct at the top is a list or any value, and says itself what it is.
    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct OfObject<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for OfObject<V> {
    type Value = V::Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(out)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(map)
    }
}

/// 422 for JSON of the wrong shape. What is unknown or missing is named in the message, anything else by its path.
fn misfit(path: &str, message: &str) -> Problem {
    let message = &in_words(message.split(" at line ").next().unwrap_or(message));
    let quoted = |prefix| message.strip_prefix(prefix)?.split('`').next();
    let named = quoted("unknown field `").or_else(|| quoted("missing field `"));
    let field = match (named, path) {
        (Some(name), "." | "") => name.to_owned(),
        (Some(name), path) if path == name || path.ends_with(&format!(".{name}")) => path.to_owned(),
        (Some(name), path) => format!("{path}.{name}"),
        (None, "." | "") => "body".to_owned(),
        (None, path) => path.to_owned(),
    };
    Problem::invalid(vec![FieldError::new(field, message.to_owned())])
}

/// What was expected, in words of JSON and not of the language that this is written in.
fn in_words(message: &str) -> String {
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return match message {
            "invalid digit found in string" | "cannot parse integer from empty string" => "not an integer".to_owned(),
            "invalid float literal" | "cannot parse float from empty string" => "not a number".to_owned(),
            "provided string was not `true` or `false`" => "neither true nor false".to_owned(),
            "number too large to fit in target type" | "number too small to fit in target type" => {
                "an integer out of range".to_owned()
            }
            _ => message.to_owned(),
        };
    };
    let expected = match expected {
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "an integer",
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "an integer that is not negative",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "an object",
        other if other.starts_with("struct ") => "an object",
        other => other,
    };
    format!("{found}, expected {expected}")
}

fn body_problem(rejection: BytesRejection) -> Problem {
    match BodyError::find(&rejection) {
        Some(error) => error.into(),
        // Whoever sets axum's own limit on a route gets the same answer.
        None if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the body is larger than the limit of this server")
        }
        None => Problem::bad_request("the body could not be read to its end"),
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
            Err(error) => Problem::internal(error).into_response(),
        }
    }
}

/// Query parameters; unknown or malformed ones are a 400 that names them.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or("");
        let pairs = serde_urlencoded::Deserializer::new(url::form_urlencoded::parse(query.as_bytes()));
        serde_path_to_error::deserialize(pairs).map(Query).map_err(|error| {
            let path = error.path().to_string();
            let message = in_words(&error.into_inner().to_string());
            let named = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
            let field = named.map_or(path, str::to_owned);
            Problem::bad_request(format!("query parameter {field}: {message}")).with_field(field, message)
        })
    }
}

/// Path parameters; malformed ones are a 400.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Path::<T>::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(value)| Path(value))
            .map_err(|rejection| Problem::bad_request(rejection.body_text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Wanted {
        #[serde(rename = "count")]
        _count: u32,
        #[serde(rename = "tags")]
        _tags: Vec<String>,
    }

    fn refusal(body: &str) -> String {
        let error = serde_json::from_str::<Wanted>(body).unwrap_err().to_string();
        in_words(error.split(" at line ").next().unwrap())
    }

    #[test]
    fn a_wrong_type_is_said_in_words_of_json() {
        let two = r#"invalid type: string "two", expected an integer that is not negative"#;
        assert_eq!(refusal(r#"{"count": "two", "tags": []}"#), two);
        assert_eq!(refusal(r#"{"count": 2, "tags": {}}"#), "invalid type: map, expected a list");
        assert_eq!(refusal(r#"{"count": 2, "tags": [1]}"#), "invalid type: integer `1`, expected a string");
        assert_eq!(refusal("7"), "invalid type: integer `7`, expected an object");
        assert_eq!(in_words("invalid digit found in string"), "not an integer");
    }
}

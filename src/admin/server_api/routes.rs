//! `POST /api/<method>`: 200 with a result or an error, or, where the caller wants it so, HTTP's own codes.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Refusal, ServerApi};
use crate::auth::Identity;
use crate::http::{Json, Problem};
use crate::wire::centrifuge::Fault;

/// Asks for HTTP's codes with the value `transport`.
const ERROR_MODE: &str = "x-centrifugo-error-mode";
/// Commands of one batch.
const MOST_COMMANDS: usize = 1_000;

/// `POST /api/{method}`.
pub async fn method(
    State(api): State<ServerApi>,
    Path(method): Path<String>,
    caller: Identity,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let request = object(&body)?;
    Ok(answer(&headers, api.call(&caller, &method, request).await))
}

#[derive(Deserialize)]
struct Batch {
    commands: Vec<Map<String, Value>>,
}

/// `POST /api/batch`: one after the other; what fails does not keep the others from being done.
pub async fn batch(State(api): State<ServerApi>, caller: Identity, body: Bytes) -> Result<Json<Value>, Problem> {
    let Batch { commands } = serde_json::from_value(Value::Object(object(&body)?))
        .map_err(|error| Problem::bad_request(error.to_string()))?;
    if commands.len() > MOST_COMMANDS {
        return Err(Problem::bad_request(format!("a batch has at most {MOST_COMMANDS} commands")));
    }
    let mut replies = Vec::with_capacity(commands.len());
    for command in commands {
        let mut parts = command.into_iter();
        let result = match (parts.next(), parts.next()) {
            (Some((method, Value::Object(request))), None) => {
                api.call(&caller, &method, request).await.map(|result| json!({ method: result }))
            }
            _ => Err(Fault::BadRequest.into()),
        };
        replies.push(result.unwrap_or_else(|refusal| json!({ "error": refusal })));
    }
    Ok(Json(json!({ "replies": replies })))
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    // No body is no fields: some methods have none.
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| Problem::bad_request(error.to_string()))
}

fn answer(headers: &HeaderMap, result: Result<Value, Refusal>) -> Response {
    let by_transport = headers.get(ERROR_MODE).is_some_and(|mode| mode == "transport");
    match result {
        Ok(result) => Json(json!({ "result": result })).into_response(),
        Err(refusal) if by_transport => {
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, Json(refusal)).into_response()
        }
        Err(refusal) => Json(json!({ "error": refusal })).into_response(),
    }
}

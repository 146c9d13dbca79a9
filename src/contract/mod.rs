//! The contract, live: what the server says of itself as OpenAPI and AsyncAPI, and messages held to what it says.

mod answers; // what every operation may answer beside its success
mod asyncapi; // feeds, channels and messages as AsyncAPI 3
mod check; // published messages, held to their schemas
mod messages; // the schema of each message
mod openapi; // every endpoint as OpenAPI 3.1
mod options;
pub mod routes;
mod shape; // small steps through JSON documents
mod streams; // streams, as HTTP sees them

use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::Value;

pub use check::{Check, Misfit, problem};
pub use messages::{CHANNELS, CONTROL, ChannelMessages, schema as message_schema};
pub use options::{ContractOptions, Strictness};

static OPENAPI: LazyLock<Value> = LazyLock::new(openapi::document);
static ASYNCAPI: LazyLock<Value> = LazyLock::new(asyncapi::document);
static OPENAPI_BYTES: LazyLock<Bytes> = LazyLock::new(|| OPENAPI.to_string().into());
static ASYNCAPI_BYTES: LazyLock<Bytes> = LazyLock::new(|| ASYNCAPI.to_string().into());

/// The HTTP API as OpenAPI 3.1, built once.
pub fn openapi() -> &'static Value {
    &OPENAPI
}

/// The feeds as AsyncAPI 3, built once.
pub fn asyncapi() -> &'static Value {
    &ASYNCAPI
}

//! Who watches a channel.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Admin;
use crate::http::{FieldError, Json, Problem, Query};
use crate::stream::Channel;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Which {
    channel: String,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Watching<'a> {
    channel: &'a str,
    num_clients: u64,
    num_users: u64,
    #[schema(value_type = Vec<Object>)]
    /// At most `stream.presence.max_listed`.
    clients: Vec<Box<RawValue>>,
}

/// `GET /api/v1/presence?channel=…`: who watches it, on all nodes.
#[utoipa::path(get, path = "/api/v1/presence", tag = "operators", params(Which), responses((status = 200, description = "Found", body = Watching)))]
pub async fn presence(State(admin): State<Admin>, Query(which): Query<Which>) -> Result<Response, Problem> {
    let channel = Channel::new(&which.channel)
        .map_err(|error| Problem::invalid(vec![FieldError::new("channel", error.to_string())]))?;
    if channel.is_presence() {
        return Err(Problem::invalid(vec![FieldError::new("channel", "is the watched channel's name")]));
    }
    let presence = admin.inner.node.presence();
    let presence = presence.ok_or_else(|| Problem::unavailable("presence has not been started", 5))?;
    let present = presence.list(&channel).await.map_err(|error| {
        tracing::warn!(%error, %channel, "who is present could not be read");
        Problem::unavailable("the message broker is not available", 1)
    })?;
    let (num_clients, num_users, clients) = (present.num_clients, present.num_users, present.clients);
    let watching = Json(Watching { channel: channel.as_str(), num_clients, num_users, clients });
    Ok(([(header::CACHE_CONTROL, "no-store")], watching).into_response())
}

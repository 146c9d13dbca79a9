//! Where every message went: the ledger, and one message for one client.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::Admin;
use crate::http::{FieldError, Json, Problem, Query};
use crate::stream::{Account, Channel, Fate};

#[derive(Serialize, utoipa::ToSchema)]
struct Books {
    /// Whether offered + recovered = delivered + filtered + conflated + pending + dropped on every channel.
    balanced: bool,
    channels: BTreeMap<String, Line>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Line {
    #[serde(flatten)]
    account: Account,
    imbalance: i64,
}

/// `GET /api/v1/ledger`: what became of every publication for every connection of this node, by channel.
#[utoipa::path(get, path = "/api/v1/ledger", tag = "operators", responses((status = 200, description = "Found", body = Books)))]
pub async fn ledger(State(admin): State<Admin>) -> Response {
    let ledger = admin.inner.node.hub().ledger().await;
    let channels = ledger.into_iter().map(|(channel, account)| {
        let imbalance = account.imbalance();
        (channel, Line { account, imbalance })
    });
    let channels: BTreeMap<String, Line> = channels.collect();
    let balanced = channels.values().all(|line| line.imbalance == 0);
    ([(header::CACHE_CONTROL, "no-store")], Json(Books { balanced, channels })).into_response()
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Which {
    channel: String,
    offset: u64,
    /// The channel's present one, when it is not given.
    epoch: Option<String>,
    client: String,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Explained {
    channel: String,
    offset: u64,
    client: String,
    #[serde(flatten)]
    fate: Fate,
}

/// `GET /api/v1/explain?channel=…&offset=…&client=…`: what became of one message for one client.
#[utoipa::path(get, path = "/api/v1/explain", tag = "operators", params(Which), responses((status = 200, description = "Found", body = Explained)))]
pub async fn explain(State(admin): State<Admin>, Query(which): Query<Which>) -> Result<Json<Explained>, Problem> {
    let channel = Channel::new(&which.channel)
        .map_err(|error| Problem::invalid(vec![FieldError::new("channel", error.to_string())]))?;
    let fate = admin.inner.node.explain(&channel, which.epoch.as_deref(), which.offset, &which.client).await;
    Ok(Json(Explained { channel: which.channel, offset: which.offset, client: which.client, fate }))
}

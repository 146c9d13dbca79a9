//! The operators' endpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{Admin, ServiceHealth, VERSION, metrics};
use crate::auth::Identity;
use crate::http::{FieldError, Json, Problem};
use crate::session::centrifuge::control_channel;
use crate::stream::{CLIENT_INFO, Channel, MAP_TAG, Outgoing, PublishError, Tags, Version};

#[derive(Serialize, utoipa::ToSchema)]
pub struct Liveness {
    status: &'static str,
    version: &'static str,
    uptime_s: u64,
}

/// `GET /health`: this process answers. Asks nothing else, so that a database that is down restarts no server.
#[utoipa::path(get, path = "/health", tag = "operators", responses((status = 200, description = "Found", body = Liveness)))]
pub async fn health(State(admin): State<Admin>) -> Json<Liveness> {
    Json(Liveness { status: "healthy", version: VERSION, uptime_s: admin.uptime().as_secs() })
}

#[derive(Serialize, utoipa::ToSchema)]
struct Detailed<'a> {
    status: &'static str,
    version: &'static str,
    uptime_s: u64,
    services: BTreeMap<&'static str, &'a ServiceHealth>,
}

/// `GET /health/detailed`: each service with its state; 503 when one is down without which this server cannot work.
#[utoipa::path(get, path = "/health/detailed", tag = "operators", responses((status = 200, description = "It can work", body = Detailed), (status = 503, description = "It cannot", body = Detailed)))]
pub async fn health_detailed(State(admin): State<Admin>) -> Response {
    let report = admin.check().await;
    let status = if report.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let detailed = Detailed {
        status: report.status(),
        version: VERSION,
        uptime_s: admin.uptime().as_secs(),
        services: report.services.iter().map(|service| (service.name, service)).collect(),
    };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(detailed)).into_response()
}

/// `GET /health/ready`: whether this server can work now; 503 when not. For load balancers.
#[utoipa::path(get, path = "/health/ready", tag = "operators", responses((status = 200, description = "It can work", body = Value), (status = 503, description = "It cannot", body = Value)))]
pub async fn ready(State(admin): State<Admin>) -> Response {
    let report = admin.check().await;
    let status = if report.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = Json(serde_json::json!({ "status": report.status() }));
    (status, [(header::CACHE_CONTROL, "no-store")], body).into_response()
}

/// `GET /metrics`: everything that is counted, as OpenMetrics text.
#[utoipa::path(get, path = "/metrics", tag = "operators", responses((status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8")))]
pub async fn metrics(State(admin): State<Admin>) -> Result<Response, Problem> {
    let ledger = admin.inner.node.hub().ledger().await;
    // Off the async threads: counting thousands of open descriptors takes milliseconds.
    let encoded = tokio::task::spawn_blocking(move || metrics::text(&admin.inner.registry, &ledger)).await;
    let text = encoded.map_err(Problem::internal)?.map_err(Problem::internal)?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

/// `GET /system-info`: version, uptime, pools, engines, connections.
#[utoipa::path(get, path = "/system-info", tag = "operators", responses((status = 200, description = "Found", body = serde_json::Value)))]
pub async fn system_info(State(admin): State<Admin>) -> Json<serde_json::Value> {
    Json(admin.system_info())
}

/// What a trusted back end publishes.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishBody {
    channel: String,
    #[schema(value_type = Option<serde_json::Value>)]
    /// Any JSON value; subscribers get its very bytes.
    #[serde(default, deserialize_with = "given")]
    data: Option<Box<RawValue>>,
    /// The same in base64, instead of `data`.
    b64data: Option<String>,
    /// Names and values for filters whose value does not stand in the data.
    #[serde(default)]
    tags: BTreeMap<String, String>,
    /// The publisher's own name for this message: published once, however often it is sent.
    idempotency_key: Option<String>,
    /// Whoever listens now gets it, and nobody else; it has no position, tags, key or version.
    #[serde(default)]
    skip_history: bool,
    /// Which of several states of one thing it is: after a newer one it is not published. 0: none.
    #[serde(default)]
    version: u64,
    /// Versions of another name do not count.
    #[serde(default)]
    version_epoch: String,
    /// Taken, and without effect: patches are made for all who ask for them.
    #[serde(default, rename = "delta")]
    _delta: bool,
}

/// The longest `idempotency_key`.
const MOST_KEY_BYTES: usize = 255;

#[derive(Serialize, utoipa::ToSchema)]
pub struct Published {
    result: PublishedAt,
}

#[derive(Serialize, utoipa::ToSchema)]
struct PublishedAt {
    offset: u64,
    epoch: String,
}

/// `POST /api/publish`: publishes as it is, past the feeds and their rules.
#[utoipa::path(post, path = "/api/publish", tag = "publishing", request_body = PublishBody, responses((status = 200, description = "Found", body = Published)))]
pub async fn publish(
    State(admin): State<Admin>,
    caller: Identity,
    Json(body): Json<PublishBody>,
) -> Result<Json<Published>, Problem> {
    let channel = Channel::new(&body.channel)
        .map_err(|error| Problem::invalid(vec![FieldError::new("channel", error.to_string())]))?;
    if !caller.may_publish(channel.as_str()) || channel == control_channel() {
        tracing::warn!(target: "security", subject = %caller.subject, %channel, "publish refused");
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", "this key may not publish on this channel"));
    }
    if let Some(own) = [CLIENT_INFO, MAP_TAG].iter().find(|tag| body.tags.contains_key(**tag)) {
        return Err(Problem::invalid(vec![FieldError::new("tags", format!("{own} is the server's own"))]));
    }
    let data = data_of(body.data, body.b64data)?;
    if let Some(check) = &admin.check {
        check(channel.as_str(), &data)?;
    }
    let tags: Tags = body.tags.into_iter().collect();
    let key: Option<Arc<str>> = body.idempotency_key.map(Into::into);
    if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > MOST_KEY_BYTES) {
        return Err(Problem::invalid(vec![FieldError::new("idempotency_key", "has 1 to 255 bytes")]));
    }
    let version = (body.version > 0).then_some(Version { number: body.version, of: body.version_epoch });
    let node = &admin.inner.node;
    let published = if body.skip_history {
        refuse_more_than_data(&tags, &key, &version)?;
        node.tell(&channel, data).await.map(|()| None)
    } else {
        node.publish_message(&channel, Outgoing { data, tags, key, version }).await.map(Some)
    };
    match published {
        Ok(position) => {
            let (offset, epoch) = position.map_or((0, String::new()), |at| (at.offset, at.epoch.to_string()));
            Ok(Json(Published { result: PublishedAt { offset, epoch } }))
        }
        Err(PublishError::NotJson(reason)) => Err(Problem::invalid(vec![FieldError::new("data", reason)])),
        Err(error @ PublishError::Unavailable(_)) => {
            tracing::warn!(%error, %channel, "raw publish failed");
            Err(Problem::unavailable("the message broker is not available", 1))
        }
    }
}

/// `null` is a value like others.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

fn data_of(plain: Option<Box<RawValue>>, in_base64: Option<String>) -> Result<Bytes, Problem> {
    let invalid = |field: &'static str, why: &str| Problem::invalid(vec![FieldError::new(field, why.to_owned())]);
    match (plain, in_base64) {
        (Some(data), None) => Ok(String::from(Box::<str>::from(data)).into()),
        (None, Some(text)) => {
            let data = BASE64_STANDARD.decode(text).map_err(|_| invalid("b64data", "is not base64"))?;
            Ok(data.into())
        }
        _ => Err(invalid("data", "is there, or b64data instead")),
    }
}

/// What nobody keeps is the data alone, known to nobody by name or number.
fn refuse_more_than_data(tags: &Tags, key: &Option<Arc<str>>, version: &Option<Version>) -> Result<(), Problem> {
    if tags.is_empty() && key.is_none() && version.is_none() {
        return Ok(());
    }
    let why = "with skip_history there are no tags, idempotency_key and version";
    Err(Problem::invalid(vec![FieldError::new("skip_history", why.to_owned())]))
}

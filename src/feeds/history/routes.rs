//! `/api/v1/series` and `/api/v1/series-dead-letters`.

use std::collections::BTreeMap;

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{History, time};
use crate::feeds::body::utc;
use crate::feeds::failure::Failure;
use crate::http::{FieldError, Json, Path, Problem, Query};
use crate::series::{DeadLetter, Range, ReadError, Step};

/// What is asked without `from`.
const DEFAULT_FROM: &str = "-1h";

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Series)]
pub struct Answer {
    measurement: String,
    field: String,
    tags: BTreeMap<String, String>,
    #[serde(serialize_with = "utc::serialize")]
    from: DateTime<Utc>,
    #[serde(serialize_with = "utc::serialize")]
    to: DateTime<Utc>,
    step_ms: u64,
    points: Vec<Step>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterParameters {
    limit: Option<usize>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = RefusedPoints)]
pub struct DeadLetterList {
    items: Vec<DeadLetter>,
}

/// One field of a measurement over a stretch of time. Whatever is not a parameter of ours is a tag.
#[utoipa::path(get, path = "/api/v1/series/{measurement}", tag = "history", params(("measurement" = String, Path), ("field" = String, Query), ("from" = Option<String>, Query), ("to" = Option<String>, Query), ("step" = Option<String>, Query)), responses((status = 200, description = "Found", body = Answer)))]
pub async fn range(
    State(history): State<History>,
    Path(measurement): Path<String>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Json<Answer>, Failure> {
    let now = history.clock.now();
    let range = read(&measurement, parameters, now).map_err(|wrong| Problem::invalid(vec![wrong]))?;
    let points = history.store.range(&range).await.map_err(|error| match &error {
        ReadError::Unavailable(_) => {
            tracing::warn!(%error, "history cannot be read");
            Problem::unavailable("the store of time series does not answer", 5)
        }
        ReadError::Refused(_) => Problem::internal(error),
    })?;
    Ok(Json(Answer {
        from: DateTime::from_timestamp_nanos(range.from_ns),
        to: DateTime::from_timestamp_nanos(range.to_ns),
        step_ms: u64::try_from(range.step().as_millis()).unwrap_or(u64::MAX),
        measurement: range.measurement,
        field: range.field,
        tags: range.tags,
        points,
    }))
}

/// Points that the store refused, the newest first.
#[utoipa::path(get, path = "/api/v1/series-dead-letters", tag = "history", params(DeadLetterParameters), responses((status = 200, description = "Found", body = DeadLetterList)))]
pub async fn dead_letters(
    State(history): State<History>,
    Query(parameters): Query<DeadLetterParameters>,
) -> Result<Json<DeadLetterList>, Failure> {
    let limit = parameters.limit.unwrap_or(50);
    if !(1..=1000).contains(&limit) {
        return Err(Problem::invalid(vec![FieldError::new("limit", "is from 1 to 1000")]).into());
    }
    let listed = tokio::task::spawn_blocking(move || history.dead.list(limit)).await;
    let items = listed.map_err(Problem::internal)?.map_err(Problem::internal)?;
    Ok(Json(DeadLetterList { items }))
}

fn read(measurement: &str, parameters: Vec<(String, String)>, now: DateTime<Utc>) -> Result<Range, FieldError> {
    let (mut field, mut from, mut to, mut step) = (None, None, None, None);
    let mut tags = BTreeMap::new();
    for (key, value) in parameters {
        let known = match key.as_str() {
            "field" => &mut field,
            "from" => &mut from,
            "to" => &mut to,
            "step" => &mut step,
            _ => {
                if tags.contains_key(&key) {
                    return Err(FieldError::new(key, "is given twice"));
                }
                tags.insert(key, value);
                continue;
            }
        };
        if known.is_some() {
            return Err(FieldError::new(key, "is given twice"));
        }
        *known = Some(value);
    }
    let moment = |name: &'static str, text: Option<String>, default: &str| {
        let message = "is `now`, a span before now such as -30m, or a time such as 2026-01-31T12:00:00Z";
        time::moment(text.as_deref().unwrap_or(default), now).ok_or_else(|| FieldError::new(name, message))
    };
    let field = field.filter(|field| !field.is_empty()).ok_or_else(|| FieldError::new("field", "is required"))?;
    let (from, to) = (moment("from", from, DEFAULT_FROM)?, moment("to", to, "now")?);
    let message = "is a number and ms, s, m, h, d or w, such as 30s";
    let step = step.map(|step| time::span(&step).ok_or_else(|| FieldError::new("step", message))).transpose()?;
    Range::new(measurement, &field, tags, (from, to), step).map_err(|error| FieldError::new(error.field, error.message))
}

//! Where signals go beside the log and `/metrics`.

use serde::{Deserialize, Serialize};

/// Traces and error reports; neither is sent unless it is told where to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryOptions {
    /// Base URL of an OpenTelemetry collector (OTLP over HTTP), such as `http://127.0.0.1:4318`; traces go to `/v1/traces`.
    pub otlp_url: Option<String>,
    /// Share of the requests without a `traceparent` that are traced, 0 to 1. A `traceparent` decides for itself.
    pub sample_ratio: f64,
    /// Of a Sentry-compatible receiver: `https://KEY@HOST/PROJECT`.
    pub sentry_dsn: Option<String>,
    /// What traces and reports say where they come from, such as `production`.
    pub environment: String,
}

impl Default for TelemetryOptions {
    fn default() -> Self {
        Self { otlp_url: None, sample_ratio: 0.01, sentry_dsn: None, environment: "production".into() }
    }
}

impl TelemetryOptions {
    /// One line for each rule that is broken.
    pub fn check(&self) -> Result<(), TelemetryError> {
        let is_http = |text: &str| {
            url::Url::parse(text).is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host())
        };
        if self.otlp_url.as_deref().is_some_and(|url| !is_http(url)) {
            return Err(TelemetryError(
                "telemetry.otlp_url (OTEL_EXPORTER_OTLP_ENDPOINT) is http:// or https:// and a host",
            ));
        }
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            return Err(TelemetryError("telemetry.sample_ratio is from 0 to 1"));
        }
        if self.sentry_dsn.as_deref().is_some_and(|dsn| super::errors::Receiver::parse(dsn).is_none()) {
            return Err(TelemetryError("telemetry.sentry_dsn (SENTRY_DSN) is https://KEY@HOST/PROJECT"));
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TelemetryError(&'static str);

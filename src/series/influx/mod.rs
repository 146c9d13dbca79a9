//! InfluxDB 2, and whatever takes its writes.
//!
//! Writes go through the crate `influxdb2`, in one sized, compressed body each. Of that crate only the one call is used:
//! it neither escapes lines nor bounds times, so lines are our own and its HTTP client is given a timeout. It hides the
//! headers of answers, too; what a store that pushes back asks for is found out by a write of nothing.

mod answer; // what statuses mean
mod csv; // what queries answer
mod flux; // queries and tasks
mod setup; // buckets and tasks, for `fanfare migrate`

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use influxdb2::RequestError;
use influxdb2::api::write::TimestampPrecision;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use url::Url;

use self::answer::later;
use super::store::{ReadError, Series, WriteError};
use super::{Point, Range, SeriesOptions, Step, encode_all};
use crate::clock::Clock;

pub use setup::SetupError;

/// An answer to a question that is longer than this is not read to its end.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Where the store is.
#[derive(Clone)]
pub struct InfluxOptions {
    /// `http://` or `https://`.
    pub url: Url,
    pub token: String,
    pub org: String,
    pub bucket: String,
}

/// A store that speaks InfluxDB's HTTP API. Cloning shares its connections.
#[derive(Clone)]
pub struct Influx(Arc<Inner>);

struct Inner {
    at: InfluxOptions,
    options: SeriesOptions,
    clock: Clock,
    /// The crate knows no TLS here and no path before the API's; `None` where one of them is needed.
    writer: Option<influxdb2::Client>,
    /// Questions, set-up, and writes that the crate cannot do.
    client: reqwest::Client,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[error("the client of the series store cannot be made: {0}")]
pub struct ClientError(String);

impl Influx {
    /// Makes clients; nothing is connected yet.
    pub fn new(at: InfluxOptions, options: SeriesOptions, clock: Clock) -> Result<Self, ClientError> {
        let timeout = Duration::from_millis(options.timeout_ms);
        let wrong = |error: &dyn std::fmt::Display| ClientError(error.to_string());
        let client = reqwest::Client::builder().timeout(timeout).build().map_err(|error| wrong(&error))?;
        let plain = at.url.scheme() == "http" && at.url.path() == "/";
        let writer = match plain {
            false => None,
            true => {
                use reqwest011::header;
                let mut headers = header::HeaderMap::new();
                headers.insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
                headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
                let builder = reqwest011::Client::builder().http1_only().timeout(timeout).default_headers(headers);
                // The URL has been parsed: this does not panic.
                let (url, org, token) = (at.url.as_str(), at.org.as_str(), at.token.as_str());
                let made = influxdb2::ClientBuilder::with_builder(builder, url, org, token).build();
                Some(made.map_err(|error| wrong(&error))?)
            }
        };
        Ok(Self(Arc::new(Inner { at, options, clock, writer, client })))
    }

    /// A request to a path of the API.
    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}/{path}", self.0.at.url.as_str().trim_end_matches('/'));
        let request = self.0.client.request(method, url);
        match self.0.at.token.as_str() {
            "" => request,
            token => request.header(AUTHORIZATION, format!("Token {token}")),
        }
    }

    /// Through the crate: the status and the text of an answer that is no success.
    async fn write_by_crate(&self, client: &influxdb2::Client, body: Bytes) -> Result<(), WriteError> {
        let (client, org, bucket) = (client.clone(), self.0.at.org.clone(), self.0.at.bucket.clone());
        // In a task of its own: a panic of the crate is an error like others.
        let write = tokio::spawn(async move {
            client.write_line_protocol_with_precision(&org, &bucket, body, TimestampPrecision::Nanoseconds).await
        });
        match write.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(RequestError::Http { status, text })) => {
                let pushes_back = matches!(status.as_u16(), 429 | 503);
                let after = if pushes_back { self.asked_pause().await } else { None };
                answer::of(status.as_u16(), &text, after)
            }
            Ok(Err(RequestError::ReqwestProcessing { source })) => {
                Err(later("unreachable", chain(&source.without_url())))
            }
            Ok(Err(error)) => Err(later("unreachable", error.to_string())),
            Err(error) => Err(later("client", error.to_string())),
        }
    }

    /// Writes nothing, to see what the store says about coming back; `None` when it says nothing of that.
    async fn asked_pause(&self) -> Option<Duration> {
        match self.write_by_ourselves(gzip(b"").ok()?).await {
            Err(WriteError::Later { after, .. }) => after,
            _ => None,
        }
    }

    async fn write_by_ourselves(&self, body: Bytes) -> Result<(), WriteError> {
        let query = [("org", self.0.at.org.as_str()), ("bucket", self.0.at.bucket.as_str()), ("precision", "ns")];
        let request = self.request(reqwest::Method::POST, "api/v2/write").query(&query);
        let request =
            request.header(CONTENT_TYPE, "text/plain; charset=utf-8").header(CONTENT_ENCODING, "gzip").body(body);
        let unreachable = |error: reqwest::Error| later("unreachable", chain(&error.without_url()));
        let response = request.send().await.map_err(unreachable)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let asked = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = asked.and_then(|asked| answer::pause(asked, self.0.clock.now()));
        let text = response.text().await.map_err(unreachable)?;
        answer::of(status, &text, after)
    }

    /// The bucket that has the oldest of these steps, and whether it holds aggregates.
    fn bucket_for(&self, range: &Range) -> (String, bool) {
        let age_s = (self.0.clock.now_ms() - range.from_ns / 1_000_000) / 1_000;
        let (bucket, options) = (&self.0.at.bucket, &self.0.options);
        let within = |keep_s: u64| age_s <= i64::try_from(keep_s).unwrap_or(i64::MAX);
        if within(options.keep_points_s) || !range.is_made_of(60_000_000_000) {
            (bucket.clone(), false)
        } else if within(options.keep_minutes_s) || !range.is_made_of(3_600_000_000_000) {
            (flux::minutes_of(bucket), true)
        } else {
            (flux::hours_of(bucket), true)
        }
    }

    async fn ask(&self, flux: String) -> Result<String, ReadError> {
        let request = self.request(reqwest::Method::POST, "api/v2/query").query(&[("org", &self.0.at.org)]);
        let request =
            request.header(CONTENT_TYPE, "application/vnd.flux").header("accept", "application/csv").body(flux);
        let unavailable = |error: reqwest::Error| ReadError::Unavailable(chain(&error.without_url()));
        let mut response = request.send().await.map_err(unavailable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(unavailable)? {
            body.extend_from_slice(&part);
            if body.len() > MAX_ANSWER_BYTES {
                return Err(ReadError::Refused("the answer is too long".into()));
            }
        }
        let text = String::from_utf8_lossy(&body).into_owned();
        match status.as_u16() {
            200 => Ok(text),
            429 | 500.. => Err(ReadError::Unavailable(answer::message(&text))),
            _ => Err(ReadError::Refused(answer::message(&text))),
        }
    }
}

#[async_trait]
impl Series for Influx {
    fn name(&self) -> &'static str {
        "influxdb"
    }

    async fn write(&self, points: &[Point]) -> Result<u64, WriteError> {
        let owned = points.to_vec();
        let body = tokio::task::spawn_blocking(move || gzip(encode_all(&owned).as_bytes())).await;
        let body = match body {
            Ok(Ok(body)) => body,
            Ok(Err(error)) => return Err(later("client", error.to_string())),
            Err(error) => return Err(later("client", error.to_string())),
        };
        match &self.0.writer {
            Some(client) => self.write_by_crate(client, body).await?,
            None => self.write_by_ourselves(body).await?,
        }
        Ok(points.len() as u64)
    }

    async fn range(&self, range: &Range) -> Result<Vec<Step>, ReadError> {
        let (bucket, rolled) = self.bucket_for(range);
        csv::steps(&self.ask(flux::range(&bucket, rolled, range)).await?)
    }

    async fn ping(&self) -> Result<(), String> {
        let answer = self.request(reqwest::Method::GET, "ping").send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        answer.map(drop).map_err(|error| chain(&error.without_url()))
    }
}

fn gzip(text: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::fast());
    encoder.write_all(text)?;
    Ok(encoder.finish()?.into())
}

/// An error and what caused it, in one line: the outermost alone says only "error sending request".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

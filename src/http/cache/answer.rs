//! A kept answer: its bytes, their tag, and the forms in which clients take it.

use std::io::Write;
use std::sync::OnceLock;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::http::ETag;
use crate::http::assets::{Precompressed, accepts};
use crate::http::layers::COMPRESS_FROM_BYTES;

/// Larger answers are compressed on their way, each time: at once they would hold up other requests.
const COMPRESS_UP_TO_BYTES: usize = 128 * 1024;
/// Quick, and within a tenth of what the slow qualities reach.
const BROTLI_QUALITY: i32 = 4;
const ZSTD_LEVEL: i32 = 3;
/// Whoever keeps an answer asks whether it still holds before he uses it; and nobody keeps it for others.
pub(in crate::http) const FRESHNESS: HeaderValue = HeaderValue::from_static("private, no-cache");

/// JSON, and what is made of it once for all who ask.
pub struct Answer {
    body: Bytes,
    tag: ETag,
    coded: [OnceLock<Option<Bytes>>; 3],
}

type Compress = fn(&[u8]) -> std::io::Result<Vec<u8>>;

/// By preference: the smallest first. Name, what tags of it end with, and how it is made.
const CODINGS: [(&str, &str, Compress); 3] = [("br", "-br", brotli), ("zstd", "-zstd", zstd), ("gzip", "-gzip", gzip)];

impl Answer {
    pub fn new(body: Vec<u8>) -> Self {
        let tag = ETag::of(&body);
        Self { body: body.into(), tag, coded: Default::default() }
    }

    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// What it takes in memory, its compressed forms included.
    pub fn size_bytes(&self) -> usize {
        let coded = self.coded.iter().filter_map(|form| form.get()?.as_ref()).map(Bytes::len);
        size_of::<Self>() + self.body.len() + coded.sum::<usize>()
    }

    /// 304 to whoever has it in any form, otherwise the form that he takes.
    pub fn respond(&self, headers: &HeaderMap) -> Response {
        let form = CODINGS.iter().enumerate().find_map(|(index, coding)| {
            let fits = (COMPRESS_FROM_BYTES as usize..=COMPRESS_UP_TO_BYTES).contains(&self.body.len());
            if !fits || !accepts(headers, coding.0) {
                return None;
            }
            let coded = self.coded[index].get_or_init(|| coding.2(&self.body).ok().map(Bytes::from));
            coded.as_ref().map(|coded| (coding, coded.clone()))
        });
        let tag = form.as_ref().map_or_else(|| self.tag.clone(), |(coding, _)| self.tag.variant(coding.1));
        let known = self.tag.is_known_to(headers)
            || CODINGS.iter().any(|(_, suffix, _)| self.tag.variant(suffix).is_known_to(headers));
        let mut response = match &form {
            _ if known => StatusCode::NOT_MODIFIED.into_response(),
            None => Body::from(self.body.clone()).into_response(),
            Some((coding, coded)) => {
                let mut response = Body::from(coded.clone()).into_response();
                response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.0));
                response
            }
        };
        if form.is_some() || known {
            // The tag is that of these very bytes.
            response.extensions_mut().insert(Precompressed);
        }
        let headers = response.headers_mut();
        if !known {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        headers.insert(header::ETAG, tag.header());
        headers.insert(header::CACHE_CONTROL, FRESHNESS);
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        response
    }
}

fn brotli(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let parameters = brotli::enc::BrotliEncoderParams { quality: BROTLI_QUALITY, ..Default::default() };
    let mut coded = Vec::with_capacity(body.len() / 4);
    brotli::BrotliCompress(&mut &*body, &mut coded, &parameters)?;
    Ok(coded)
}

fn zstd(body: &[u8]) -> std::io::Result<Vec<u8>> {
    zstd::bulk::compress(body, ZSTD_LEVEL)
}

fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::default());
    encoder.write_all(body)?;
    encoder.finish()
}

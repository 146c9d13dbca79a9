//! What back ends tell of keys that are polled for.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::methods::{may, read};
use super::{Refusal, ServerApi};
use crate::auth::Identity;
use crate::session::centrifuge::check_key;
use crate::wire::centrifuge::Fault;
use crate::wire::is_json;

#[derive(Deserialize)]
struct Publishing {
    channel: String,
    key: String,
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    version: u64,
    #[serde(default)]
    epoch: String,
}

impl ServerApi {
    /// `shared_poll_publish`: new data of a key, told at once and not asked for in the next round.
    pub(super) async fn poll_publish(&self, caller: &Identity, request: &[u8]) -> Result<Value, Refusal> {
        let Publishing { channel, key, data, b64data, version, epoch } = read(request)?;
        may(caller, caller.may_publish(&channel))?;
        check_key(&key)?;
        let data: Bytes = match (data, b64data) {
            (Some(data), _) => String::from(Box::<str>::from(data)).into(),
            (None, Some(text)) => BASE64_STANDARD.decode(text).map_err(|_| Fault::BadRequest)?.into(),
            (None, None) => return Err(Fault::BadRequest.into()),
        };
        is_json(&data).map_err(|_| Fault::BadRequest)?;
        self.0.channels.poll_publish(&channel, key, data, (version, epoch)).await?;
        Ok(json!({}))
    }
}

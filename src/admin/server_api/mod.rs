//! What back ends ask of the channel protocol over HTTP: one method a request, or several in a batch.

mod maps; // the newest value of each key
mod methods; // what each method does
mod polled; // keys that are polled for
pub mod routes;

use std::sync::Arc;

use serde::Serialize;

use crate::session::centrifuge::Channels;
use crate::wire::centrifuge::Fault;

/// Cloning shares it.
#[derive(Clone)]
pub struct ServerApi(Arc<Inner>);

struct Inner {
    channels: Channels,
}

impl ServerApi {
    pub fn new(channels: Channels) -> Self {
        Self(Arc::new(Inner { channels }))
    }
}

/// Why a method has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Refusal {
    code: u32,
    message: &'static str,
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self { code: fault.code(), message: fault.message() }
    }
}

impl Refusal {
    /// As HTTP would say it.
    fn status(self) -> u16 {
        match self.code {
            101 => 401,
            103 => 403,
            102 | 104 => 404,
            107 | 108 => 400,
            111 => 429,
            112 => 416,
            113 => 409,
            _ => 500,
        }
    }
}

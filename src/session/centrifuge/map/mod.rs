//! Map subscriptions: the newest value of each key of a channel, page by page, and from then on what changes.

mod options;
mod publish; // clients that write
mod subscribe; // state, stream, live

use std::sync::Arc;

pub use options::{ClientKey, MapMode, MapOptions, SubscriptionType};

use super::Channels;
use super::options::ChannelOptions;
use crate::stream::{BrokerError, Channel, MapKind};
use crate::wire::centrifuge::Fault;

/// The longest key, in bytes.
const MOST_KEY_BYTES: usize = 255;

impl Channels {
    /// The map with this name: what it is published on, and how it is kept. 108: the channel has none.
    pub fn map_of(&self, name: &str) -> Result<(Channel, MapKind, &ChannelOptions), Fault> {
        let (channel, options) = self.options_of(name)?;
        if !options.subscription_type.is_map() {
            return Err(Fault::NotAvailable);
        }
        Ok((channel, options.map.kind(), options))
    }

    /// Whether whatever is published on the channel has a key.
    pub fn is_keyed(&self, name: &str) -> bool {
        self.options_of(name).is_ok_and(|(_, options)| options.subscription_type != SubscriptionType::Stream)
    }
}

pub(super) fn failed(channel: &Channel) -> impl FnOnce(BrokerError) -> Fault {
    move |error| {
        tracing::warn!(%error, %channel, "a map cannot be reached");
        Fault::Internal
    }
}

/// A key that can be written.
pub fn check_key(key: &str) -> Result<(), Fault> {
    if key.is_empty() || key.len() > MOST_KEY_BYTES { Err(Fault::BadRequest) } else { Ok(()) }
}

/// What is told of one publication, many times over.
type Publications = Vec<Arc<crate::stream::Publication>>;

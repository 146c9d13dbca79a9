//! How strictly published messages are held to their schemas.

use serde::{Deserialize, Serialize};

/// What the contract's own parts are set to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct ContractOptions {
    /// What `POST /api/publish` asks of a message on a feed's channel: `off`, `known` or `strict`.
    pub messages: Strictness,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Strictness {
    /// Nothing: any JSON passes.
    Off,
    /// A message whose `message_type` the channel knows fits that type's schema; others pass, as back ends may have
    /// types of their own.
    #[default]
    Known,
    /// Every message is one that the channel knows, and fits its schema.
    Strict,
}

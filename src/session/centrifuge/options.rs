//! Settings of the channel protocol: the connection's bounds, and what each namespace's channels can.

use std::time::Duration;

use regex::Regex;
use serde::Deserialize;

use super::map::{MapOptions, SubscriptionType};
use super::poll::{PollOptions, SharedPollOptions};
use crate::stream::HistoryOptions;

/// Settings of connections.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CentrifugeOptions {
    /// Whether clients without a token may connect, as nobody in particular.
    pub allow_anonymous: bool,
    /// Channels of one connection.
    pub max_channels: usize,
    /// Commands of one connection a second; more end it with 3013.
    pub max_commands_per_s: u32,
    /// Connections of one user on this node. 0: no bound.
    pub max_connections_per_user: usize,
    /// The most publications of one recovery or one answer about the past.
    pub max_publications: usize,
    /// How long a connection may take to say who it is.
    pub stale_after_ms: u64,
    /// How long after its end a connection or a subscription waits to be refreshed.
    pub expired_after_ms: u64,
    /// How back ends are polled.
    pub shared_poll: SharedPollOptions,
}

impl Default for CentrifugeOptions {
    fn default() -> Self {
        Self {
            allow_anonymous: false,
            max_channels: 128,
            max_commands_per_s: 1_000,
            max_connections_per_user: 0,
            max_publications: 300,
            stale_after_ms: 10_000,
            expired_after_ms: 25_000,
            shared_poll: SharedPollOptions::default(),
        }
    }
}

/// What a namespace's channels can; `[channel]` is for channels without one.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct ChannelOptions {
    /// What stands before the colon. Of `[channel]`: empty.
    pub name: String,
    /// Whether it is known who is on a channel.
    pub presence: bool,
    /// Whether joins and leaves are told to whoever asks for them.
    pub join_leave: bool,
    /// The same to all.
    pub force_push_join_leave: bool,
    /// Publications that clients can look back to, at most `stream.history.messages`. 0: none.
    pub history_size: usize,
    /// For how long, at most `stream.history.age_s`.
    pub history_ttl_s: u64,
    pub allow_positioning: bool,
    pub force_positioning: bool,
    pub allow_recovery: bool,
    pub force_recovery: bool,
    /// `stream`: everything that was missed; `cache`: the newest.
    pub force_recovery_mode: RecoveryMode,
    pub allow_subscribe_for_client: bool,
    pub allow_subscribe_for_anonymous: bool,
    pub allow_publish_for_client: bool,
    pub allow_publish_for_subscriber: bool,
    pub allow_publish_for_anonymous: bool,
    pub allow_history_for_client: bool,
    pub allow_history_for_subscriber: bool,
    pub allow_history_for_anonymous: bool,
    pub allow_presence_for_client: bool,
    pub allow_presence_for_subscriber: bool,
    pub allow_presence_for_anonymous: bool,
    /// `news#7,9`: for users 7 and 9.
    pub allow_user_limited_channels: bool,
    /// What the name has to match behind the namespace, as a regular expression. Unset: any.
    pub channel_regex: Option<String>,
    /// In cache mode: the newest comes with every subscription, whether the client asks for it or not.
    pub auto_cache_recover: bool,
    /// Taken for the sake of other servers' settings: patches are made for all who ask for them.
    pub delta_publish: bool,
    /// `["fossil"]`: publications can come as patches.
    pub allowed_delta_types: Vec<String>,
    /// Whether subscribers can filter by tags and fields.
    pub allow_tags_filter: bool,
    /// Whether clients may publish any JSON (`json`, the default) or objects only.
    pub publication_data_format: DataFormat,
    /// `map`: subscribers get the newest value of each key; `map_clients` and `map_users`: of who is on another channel;
    /// `shared_poll`: what a back end answers about the keys that they name.
    pub subscription_type: SubscriptionType,
    /// How maps are kept.
    pub map: MapOptions,
    /// Which back end is polled, and how.
    pub shared_poll: PollOptions,
    /// `<prefix><channel>` is the map of who is on a channel of this namespace, by connection. Empty: there is none.
    pub map_clients_presence_channel_prefix: String,
    /// The same by user.
    pub map_users_presence_channel_prefix: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum RecoveryMode {
    #[default]
    Stream,
    Cache,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum DataFormat {
    #[default]
    Json,
    JsonObject,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChannelOptionsError {
    #[error("namespaces: the name {0:?} is not two or more of A-Z, a-z, 0-9, - and _")]
    Name(String),
    #[error("namespaces: {0:?} stands there twice")]
    Twice(String),
    #[error("namespaces: {0:?} is the server's own")]
    Reserved(String),
    #[error("channel.name: [channel] is for channels without a namespace and has no name")]
    Named,
    #[error("{0}: history_size and history_ttl_s are set both or neither")]
    HalfHistory(String),
    #[error("{0}: stream.history keeps {1} publications for {2} s, less than history_size or history_ttl_s")]
    History(String, usize, u64),
    #[error("{0}: recovery and positioning need a history")]
    NoHistory(String),
    #[error("{0}: allowed_delta_types knows \"fossil\" only")]
    Delta(String),
    #[error("{0}: channel_regex is no regular expression: {1}")]
    Regex(String, String),
    #[error("{0}: auto_cache_recover needs force_recovery_mode = \"cache\"")]
    NoCache(String),
    #[error("{0}: map: {1}")]
    Map(String, &'static str),
    #[error("{0}: shared_poll: {1}")]
    Poll(String, String),
    #[error("{0}: {1:?} begins no channel of a namespace with this subscription_type")]
    MapPrefix(String, String),
    #[error("centrifuge: every bound but max_connections_per_user is at least 1")]
    Zero,
}

/// The server's own channels are nobody's namespace.
const RESERVED: [&str; 2] = ["presence", "system"];

impl ChannelOptions {
    /// What the feeds' own channels can.
    pub(super) fn of_feeds(history: &HistoryOptions) -> Self {
        Self {
            presence: true,
            history_size: history.messages,
            history_ttl_s: history.age_s,
            allow_positioning: true,
            allow_recovery: true,
            allow_history_for_subscriber: true,
            allow_presence_for_subscriber: true,
            allowed_delta_types: vec!["fossil".into()],
            allow_tags_filter: true,
            ..Self::default()
        }
    }

    pub(super) fn has_history(&self) -> bool {
        self.history_size > 0 && self.history_ttl_s > 0
    }

    pub(super) fn history_ttl(&self) -> Duration {
        Duration::from_secs(self.history_ttl_s)
    }

    /// It has been checked at the start.
    pub(super) fn regex(&self) -> Option<Regex> {
        self.channel_regex.as_deref().and_then(|regex| Regex::new(regex).ok())
    }

    fn check(&self, of_all: &CentrifugeOptions, history: &HistoryOptions) -> Result<(), ChannelOptionsError> {
        let name = || if self.name.is_empty() { "channel".to_owned() } else { format!("namespaces: {}", self.name) };
        if (self.history_size > 0) != (self.history_ttl_s > 0) {
            return Err(ChannelOptionsError::HalfHistory(name()));
        }
        if self.history_size > history.messages || self.history_ttl_s > history.age_s {
            return Err(ChannelOptionsError::History(name(), history.messages, history.age_s));
        }
        let past = [self.allow_positioning, self.force_positioning, self.allow_recovery, self.force_recovery];
        if past.contains(&true) && !self.has_history() {
            return Err(ChannelOptionsError::NoHistory(name()));
        }
        if let Some(Err(error)) = self.channel_regex.as_deref().map(Regex::new) {
            return Err(ChannelOptionsError::Regex(name(), error.to_string()));
        }
        if self.auto_cache_recover && self.force_recovery_mode != RecoveryMode::Cache {
            return Err(ChannelOptionsError::NoCache(name()));
        }
        if self.allowed_delta_types.iter().any(|kind| kind != "fossil") {
            return Err(ChannelOptionsError::Delta(name()));
        }
        if self.subscription_type.is_map() {
            self.map.check(self.subscription_type, history).map_err(|why| ChannelOptionsError::Map(name(), why))?;
        }
        if self.subscription_type == SubscriptionType::SharedPoll {
            self.shared_poll.check(&of_all.shared_poll).map_err(|why| ChannelOptionsError::Poll(name(), why))?;
        }
        Ok(())
    }
}

/// Refuses what could not work, before a port is bound.
pub fn check(
    options: &CentrifugeOptions,
    channel: &ChannelOptions,
    namespaces: &[ChannelOptions],
    history: &HistoryOptions,
) -> Result<(), ChannelOptionsError> {
    let CentrifugeOptions { max_channels, max_publications, stale_after_ms, max_commands_per_s, .. } = *options;
    if max_channels == 0 || max_publications == 0 || stale_after_ms == 0 || max_commands_per_s == 0 {
        return Err(ChannelOptionsError::Zero);
    }
    if !channel.name.is_empty() {
        return Err(ChannelOptionsError::Named);
    }
    channel.check(options, history)?;
    for (index, namespace) in namespaces.iter().enumerate() {
        let name = &namespace.name;
        if name.len() < 2 || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
            return Err(ChannelOptionsError::Name(name.clone()));
        }
        if RESERVED.contains(&name.as_str()) {
            return Err(ChannelOptionsError::Reserved(name.clone()));
        }
        if namespaces[..index].iter().any(|other| other.name == *name) {
            return Err(ChannelOptionsError::Twice(name.clone()));
        }
        namespace.check(options, history)?;
    }
    for of in namespaces.iter().chain([channel]) {
        let clients = (&of.map_clients_presence_channel_prefix, SubscriptionType::MapClients);
        let users = (&of.map_users_presence_channel_prefix, SubscriptionType::MapUsers);
        for (prefix, wanted) in [clients, users].into_iter().filter(|(prefix, _)| !prefix.is_empty()) {
            let found = prefix.split_once(':').and_then(|(name, _)| namespaces.iter().find(|other| other.name == name));
            if found.is_none_or(|found| found.subscription_type != wanted) {
                return Err(ChannelOptionsError::MapPrefix(of.name.clone(), prefix.clone()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let history = HistoryOptions::default();
        let named = |name: &str| ChannelOptions { name: name.into(), ..ChannelOptions::default() };
        let of = |namespaces: &[ChannelOptions]| {
            check(&CentrifugeOptions::default(), &ChannelOptions::default(), namespaces, &history)
        };
        assert_eq!(of(&[named("chat"), named("news")]), Ok(()));
        assert_eq!(of(&[named("a")]), Err(ChannelOptionsError::Name("a".into())));
        assert_eq!(of(&[named("chat"), named("chat")]), Err(ChannelOptionsError::Twice("chat".into())));
        assert_eq!(of(&[named("presence")]), Err(ChannelOptionsError::Reserved("presence".into())));
        let recovery = ChannelOptions { allow_recovery: true, ..named("chat") };
        assert_eq!(of(&[recovery]), Err(ChannelOptionsError::NoHistory("namespaces: chat".into())));
        let long = ChannelOptions { history_size: 1 << 30, history_ttl_s: 1, ..named("chat") };
        assert!(matches!(of(&[long]), Err(ChannelOptionsError::History(..))));
    }
}

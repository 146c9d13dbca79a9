//! What a channel's name means, and who may do what there.

use super::Channels;
use super::options::ChannelOptions;
use crate::auth::Identity;
use crate::session::right::hears_all;
use crate::stream::{Channel, FeedSpec, Filter, Term};
use crate::wire::centrifuge::{Fault, FilterNode};

/// A channel as a client names it.
#[derive(Clone)]
pub(super) struct Place<'a> {
    /// What is published on.
    pub channel: Channel,
    /// The client's name for it, where that stands for a part of the channel, such as `price:sku.A-1`.
    pub alias: Option<Channel>,
    pub filter: Filter,
    pub options: &'a ChannelOptions,
    pub feed: Option<&'static FeedSpec>,
    /// `$…`: for holders of a subscription token.
    private: bool,
    /// `…#7,9`: for these users.
    users: Option<String>,
}

/// Who asks.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    /// `None`: nobody in particular.
    pub identity: Option<&'a Identity>,
    pub user: &'a str,
    /// The server lets everybody do everything.
    pub open: bool,
    pub subscribed: bool,
}

impl Channels {
    pub(super) fn place(&self, name: &str) -> Result<Place<'_>, Fault> {
        let channel = Channel::new(name).map_err(|_| Fault::BadRequest)?;
        let bare = name.strip_prefix('$').unwrap_or(name);
        let users = bare.rsplit_once('#').map(|(_, users)| users.to_owned());
        let of_feed = |feed, channel, alias, filter| Place {
            channel,
            alias,
            filter,
            options: &self.0.of_feeds,
            feed: Some(feed),
            private: false,
            users: None,
        };
        if let Some(feed) = self.0.feeds.iter().find(|feed| feed.channels.contains(&name)) {
            return Ok(of_feed(feed, channel, None, Filter::default()));
        }
        if let Some((feed, first, filter)) = self.part_of_feed(name) {
            return Ok(of_feed(feed, first, Some(channel), filter));
        }
        let options = match bare.split_once(':') {
            None => &self.0.without_namespace,
            Some((namespace, _)) => self.0.namespaces.get(namespace).ok_or(Fault::UnknownChannel)?,
        };
        let rest = bare.split_once(':').map_or(bare, |(_, rest)| rest);
        if self.0.regexes.get(&options.name).is_some_and(|regex| !regex.is_match(rest)) {
            return Err(Fault::BadRequest);
        }
        let private = name.starts_with('$');
        Ok(Place { channel, alias: None, filter: Filter::default(), options, feed: None, private, users })
    }

    /// `price:sku.A-1`: what is told on the feed's first channel of that value.
    fn part_of_feed(&self, name: &str) -> Option<(&'static FeedSpec, Channel, Filter)> {
        let (of, rest) = name.split_once(':')?;
        let feed = self.0.feeds.iter().find(|feed| feed.name == of)?;
        let (param, value) = rest.split_once('.').filter(|(_, value)| !value.is_empty())?;
        let param = feed.filters.iter().find(|known| known.name == param)?;
        let value = if param.upper_case { value.to_uppercase() } else { value.to_owned() };
        let fields = param.fields.iter().map(|field| (*field).to_owned()).collect();
        let channel = Channel::new(feed.channels.first()?).ok()?;
        Some((*feed, channel, Filter::new(vec![Term { on: None, fields, values: vec![value] }])))
    }
}

impl Place<'_> {
    /// Without a subscription token.
    pub fn may_subscribe(&self, who: Asking<'_>) -> bool {
        if let Some(feed) = self.feed {
            let known = who.identity.filter(|_| !who.user.is_empty() || who.open);
            return known.is_some_and(|identity| identity.may_listen(feed.name, feed.channels));
        }
        if self.private {
            return false;
        }
        if let Some(users) = self.users.as_ref().filter(|_| self.options.allow_user_limited_channels) {
            return who.open || (!who.user.is_empty() && users.split(',').any(|user| user == who.user));
        }
        let name = self.channel.as_str();
        // A key that is made for certain channels says so itself.
        let scoped = who.identity.is_some_and(|identity| identity.scopes.is_some() && identity.may_subscribe(name));
        who.open
            || scoped
            || who.allowed(self.options.allow_subscribe_for_client, self.options.allow_subscribe_for_anonymous)
    }

    /// What of the channel a subscriber without a token hears, where some of it belongs to single users.
    pub fn heard_by(&self, who: Asking<'_>) -> Result<Filter, Fault> {
        let own = self.feed.and_then(|feed| feed.own.as_ref()).filter(|_| self.is_guarded_from(who));
        let Some(own) = own else { return Ok(self.filter.clone()) };
        if self.filter.values_of(own.field).any(|value| value != who.user) {
            return Err(Fault::PermissionDenied);
        }
        let on = Some(Channel::new(own.channel).map_err(|_| Fault::Internal)?);
        let term = Term { on, fields: vec![own.field.to_owned()], values: vec![who.user.to_owned()] };
        Ok(self.filter.clone().and(term))
    }

    /// Whether the caller must not have all that is told here.
    fn is_guarded_from(&self, who: Asking<'_>) -> bool {
        let Some(feed) = self.feed.filter(|_| !who.open) else { return false };
        let guards = feed.own.as_ref().is_some_and(|own| own.channel == self.channel.as_str());
        guards && !who.identity.is_some_and(|identity| hears_all(identity, feed))
    }

    pub fn may_publish(&self, who: Asking<'_>) -> bool {
        if self.alias.is_some() {
            return false;
        }
        let options = self.options;
        let trusted = who.identity.is_some_and(|identity| identity.may_publish(self.channel.as_str()));
        trusted
            || self.allows(
                who,
                options.allow_publish_for_client,
                options.allow_publish_for_subscriber,
                options.allow_publish_for_anonymous,
            )
    }

    pub fn may_see_history(&self, who: Asking<'_>) -> Result<(), Fault> {
        let options = self.options;
        if !options.has_history() || self.alias.is_some() {
            return Err(Fault::NotAvailable);
        }
        if self.is_guarded_from(who) {
            return Err(Fault::PermissionDenied);
        }
        let allowed = self.allows(
            who,
            options.allow_history_for_client,
            options.allow_history_for_subscriber,
            options.allow_history_for_anonymous,
        );
        if allowed { Ok(()) } else { Err(Fault::PermissionDenied) }
    }

    pub fn may_see_presence(&self, who: Asking<'_>) -> Result<(), Fault> {
        let options = self.options;
        if !options.presence || self.alias.is_some() {
            return Err(Fault::NotAvailable);
        }
        if self.is_guarded_from(who) {
            return Err(Fault::PermissionDenied);
        }
        let allowed = self.allows(
            who,
            options.allow_presence_for_client,
            options.allow_presence_for_subscriber,
            options.allow_presence_for_anonymous,
        );
        if allowed { Ok(()) } else { Err(Fault::PermissionDenied) }
    }

    pub fn allows(&self, who: Asking<'_>, client: bool, subscriber: bool, anonymous: bool) -> bool {
        // What an open server gives away is everything but private channels.
        (who.open && !self.private) || who.allowed(client, anonymous) || (subscriber && who.subscribed)
    }
}

impl Asking<'_> {
    fn allowed(&self, clients: bool, anonymous: bool) -> bool {
        (clients && !self.user.is_empty()) || (anonymous && self.user.is_empty())
    }
}

/// The most conditions of one filter.
const MOST_NODES: usize = 100;

/// Checks a client's tag filter.
pub fn tag_filter(node: &FilterNode) -> Result<crate::stream::Condition, Fault> {
    let mut left = MOST_NODES;
    condition(node, &mut left).ok_or(Fault::BadRequest)
}

fn condition(node: &FilterNode, left: &mut usize) -> Option<crate::stream::Condition> {
    use crate::stream::{Comparison, Condition};
    *left = left.checked_sub(1)?;
    let mut nodes = || node.nodes.iter().map(|node| condition(node, left)).collect::<Option<Vec<_>>>();
    let (key, val) = (node.key.clone(), node.val.clone());
    Some(match node.op.as_str() {
        "and" => Condition::All(nodes().filter(|nodes| !nodes.is_empty())?),
        "or" => Condition::Any(nodes().filter(|nodes| !nodes.is_empty())?),
        "not" => match nodes()?.pop() {
            Some(only) if node.nodes.len() == 1 => Condition::Not(Box::new(only)),
            _ => return None,
        },
        "" if !key.is_empty() => {
            let number = || val.parse::<f64>().ok().filter(|number| number.is_finite()).map(|_| val.clone());
            let comparison = match node.cmp.as_str() {
                "eq" => Comparison::In(vec![val]),
                "neq" => {
                    return Some(Condition::Not(Box::new(Condition::Tag {
                        key,
                        comparison: Comparison::In(vec![val]),
                    })));
                }
                "in" => Comparison::In(node.vals.clone()),
                "nin" => {
                    let comparison = Comparison::In(node.vals.clone());
                    return Some(Condition::Not(Box::new(Condition::Tag { key, comparison })));
                }
                "ex" => Comparison::Exists,
                "nex" => return Some(Condition::Not(Box::new(Condition::Tag { key, comparison: Comparison::Exists }))),
                "sw" => Comparison::StartsWith(val),
                "ew" => Comparison::EndsWith(val),
                "ct" => Comparison::Contains(val),
                "lt" => Comparison::Less(number()?),
                "lte" => Comparison::AtMost(number()?),
                "gt" => Comparison::Greater(number()?),
                "gte" => Comparison::AtLeast(number()?),
                _ => return None,
            };
            Condition::Tag { key, comparison }
        }
        _ => return None,
    })
}

//! Scopes: what a key may, named one by one. `read write subscribe:price:* publish:inventory:updates events:write`

use std::fmt;
use std::str::FromStr;

use super::Permission;

/// A set of scopes, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    /// `read`, `write`, `delete`, `manage`: what the roles are made of.
    May(Permission),
    /// `admin`: everything.
    Admin,
    /// `subscribe:<pattern>`: hear channels. Their history and presence go with it.
    Subscribe(Pattern),
    /// `publish:<pattern>`: publish on channels.
    Publish(Pattern),
    /// `feed:<name>`: open a live feed.
    Feed(Pattern),
    /// `events:write`: post learning events, nothing else.
    Events,
}

/// A name in which each `*` stands for any text, colons included.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern(String);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is not a scope: there are read, write, delete, manage, admin, events:write, feed:<name>, subscribe:<pattern> and publish:<pattern>"
)]
pub struct ScopeError(String);

impl Scopes {
    pub(super) fn allow(&self, permission: Permission) -> bool {
        self.any(|scope| *scope == Scope::May(permission))
    }

    pub(super) fn allow_subscribe(&self, channel: &str) -> bool {
        self.any(|scope| matches!(scope, Scope::Subscribe(pattern) if pattern.matches(channel)))
    }

    pub(super) fn allow_publish(&self, channel: &str) -> bool {
        self.any(|scope| matches!(scope, Scope::Publish(pattern) if pattern.matches(channel)))
    }

    pub(super) fn publish(&self) -> bool {
        self.any(|scope| matches!(scope, Scope::Publish(_)))
    }

    pub(super) fn allow_feed(&self, feed: &str) -> bool {
        self.any(|scope| matches!(scope, Scope::Feed(pattern) if pattern.matches(feed)))
    }

    pub(super) fn allow_events(&self) -> bool {
        self.any(|scope| *scope == Scope::Events)
    }

    pub(super) fn only_events(&self) -> bool {
        self.0.iter().all(|scope| *scope == Scope::Events)
    }

    fn any(&self, granted: impl Fn(&Scope) -> bool) -> bool {
        self.0.iter().any(|scope| *scope == Scope::Admin || granted(scope))
    }
}

impl FromStr for Scopes {
    type Err = ScopeError;

    /// Scopes with spaces between them.
    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let scopes = text.split_whitespace().map(str::parse).collect::<Result<Vec<_>, _>>()?;
        if scopes.is_empty() { Err(ScopeError(text.to_owned())) } else { Ok(Self(scopes)) }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let permissions = [Permission::Read, Permission::Write, Permission::Delete, Permission::Manage];
        if let Some(permission) = permissions.into_iter().find(|permission| permission.as_str() == text) {
            return Ok(Self::May(permission));
        }
        match text.split_once(':') {
            _ if text == "admin" => Ok(Self::Admin),
            Some(("events", "write")) => Ok(Self::Events),
            Some(("subscribe", pattern)) if !pattern.is_empty() => Ok(Self::Subscribe(Pattern(pattern.to_owned()))),
            Some(("publish", pattern)) if !pattern.is_empty() => Ok(Self::Publish(Pattern(pattern.to_owned()))),
            Some(("feed", pattern)) if !pattern.is_empty() => Ok(Self::Feed(Pattern(pattern.to_owned()))),
            _ => Err(ScopeError(text.to_owned())),
        }
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (scope, at) in self.0.iter().zip(0..) {
            f.write_str(if at == 0 { "" } else { " " })?;
            match scope {
                Scope::May(permission) => f.write_str(permission.as_str())?,
                Scope::Admin => f.write_str("admin")?,
                Scope::Events => f.write_str("events:write")?,
                Scope::Subscribe(pattern) => write!(f, "subscribe:{}", pattern.0)?,
                Scope::Publish(pattern) => write!(f, "publish:{}", pattern.0)?,
                Scope::Feed(pattern) => write!(f, "feed:{}", pattern.0)?,
            }
        }
        Ok(())
    }
}

impl Pattern {
    /// In time linear in both lengths for each star: the pieces between stars are found one after the other.
    fn matches(&self, name: &str) -> bool {
        let mut pieces = self.0.split('*');
        let Some(rest) = name.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        let Some(mut rest) = rest.strip_suffix(last) else { return false };
        for piece in pieces {
            let Some(at) = rest.find(piece) else { return false };
            rest = &rest[at + piece.len()..];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, matches) in [
            ("price:updates", "price:updates", true),
            ("price:updates", "price:updates2", false),
            ("price:*", "price:", true),
            ("price:*", "price:sku.A:b", true),
            ("price:*", "prices:x", false),
            ("*", "", true),
            ("*:alerts", "stock:alerts", true),
            ("*:alerts", "alerts", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("a**c", "abc", true),
        ] {
            assert_eq!(Pattern(pattern.into()).matches(name), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn only_known_scopes_are_read() {
        let all = "read write delete manage admin subscribe:price:* publish:inventory:updates feed:price events:write";
        assert_eq!(all.parse::<Scopes>().unwrap().to_string(), all);
        for wrong in ["", " ", "reads", "subscribe", "subscribe:", "events:read", "events", "read,write", "Admin", "*"]
        {
            assert!(wrong.parse::<Scopes>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_scope_gives_what_it_says_and_no_more() {
        let scopes: Scopes = "subscribe:price:* publish:inventory:*".parse().unwrap();
        assert!(scopes.allow_subscribe("price:updates") && !scopes.allow_subscribe("inventory:updates"));
        assert!(scopes.allow_publish("inventory:updates") && !scopes.allow_publish("price:updates"));
        assert!(!scopes.allow(Permission::Read) && !scopes.allow_events() && !scopes.allow_feed("price"));
        let events: Scopes = "events:write".parse().unwrap();
        assert!(events.allow_events() && events.only_events() && !events.allow(Permission::Write));
        assert!(!"events:write read".parse::<Scopes>().unwrap().only_events());
        let admin: Scopes = "admin".parse().unwrap();
        assert!(admin.allow(Permission::Manage) && admin.allow_publish("x") && admin.allow_events());
        assert!(!admin.only_events());
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_it_was_made_from(parts in prop::collection::vec("[a-c:]{0,4}", 1..5), gap in "[a-c:]{0,3}") {
            prop_assert!(Pattern(parts.join("*")).matches(&parts.join(&gap)));
        }
    }
}

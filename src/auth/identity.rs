//! Identities, roles and permissions.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{Claims, Scopes, TokenId};

/// Who is calling. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The token's `sub`, `key:` and the start of the key's hash, or `anonymous`.
    pub subject: Arc<str>,
    pub role: Role,
    /// What it was proved by.
    pub proof: Proof,
    /// Narrows what it may to these; then the role says nothing.
    pub scopes: Option<Arc<Scopes>>,
}

/// What a caller showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing, as nothing is asked for.
    Open,
    ApiKey,
    /// A token with its claims, and the name by which it can be revoked.
    Token {
        claims: Arc<Claims>,
        id: TokenId,
    },
}

/// What a caller is; each role may do all that the one before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads.
    User,
    /// Reads, writes and deletes.
    Manager,
    /// Everything.
    Admin,
}

/// What an endpoint asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    Read,
    Write,
    Delete,
    Manage,
}

impl Identity {
    pub fn new(subject: impl Into<Arc<str>>, role: Role, proof: Proof) -> Self {
        Self { subject: subject.into(), role, proof, scopes: None }
    }

    /// The caller of a server that has no secret and no keys: anybody may do anything.
    pub fn anonymous_admin() -> Self {
        Self::new("anonymous", Role::Admin, Proof::Open)
    }

    /// Narrows it to scopes.
    pub fn with_scopes(self, scopes: Arc<Scopes>) -> Self {
        Self { scopes: Some(scopes), ..self }
    }

    pub fn may(&self, permission: Permission) -> bool {
        match &self.scopes {
            Some(scopes) => scopes.allow(permission),
            None => self.role >= permission.least_role(),
        }
    }

    /// Whether it may hear what is published on a channel.
    pub fn may_subscribe(&self, channel: &str) -> bool {
        match &self.scopes {
            Some(scopes) => scopes.allow_subscribe(channel),
            None => self.role >= Role::User,
        }
    }

    /// Whether it may open a live feed: by the feed's name, or by all of its channels.
    pub fn may_listen(&self, feed: &str, channels: &[&str]) -> bool {
        match &self.scopes {
            Some(scopes) => {
                scopes.allow_feed(feed)
                    || (!channels.is_empty() && channels.iter().all(|name| scopes.allow_subscribe(name)))
            }
            None => self.role >= Role::User,
        }
    }

    /// Whether it may publish on a channel past the feeds' rules.
    pub fn may_publish(&self, channel: &str) -> bool {
        match &self.scopes {
            Some(scopes) => scopes.allow_publish(channel),
            None => self.role >= Role::Manager,
        }
    }

    /// Whether there is a channel at all that it may publish on.
    pub fn publishes(&self) -> bool {
        match &self.scopes {
            Some(scopes) => scopes.publish(),
            None => self.role >= Role::Manager,
        }
    }

    /// Whether it may post learning events.
    pub fn may_post_events(&self) -> bool {
        match &self.scopes {
            Some(scopes) => scopes.allow_events(),
            None => self.role >= Role::Manager,
        }
    }

    /// Whether it can do nothing but post events, so that its key may stand in a URL, where it ends in logs.
    pub fn only_posts_events(&self) -> bool {
        self.scopes.as_ref().is_some_and(|scopes| scopes.only_events())
    }

    /// When the proof ends, in milliseconds since 1970; a connection that is open then has to be closed or refreshed.
    pub fn ends_at_ms(&self) -> Option<i64> {
        match &self.proof {
            Proof::Token { claims, .. } => claims.connection_ends_at_ms(),
            Proof::Open | Proof::ApiKey => None,
        }
    }

    pub fn claims(&self) -> Option<&Arc<Claims>> {
        match &self.proof {
            Proof::Token { claims, .. } => Some(claims),
            Proof::Open | Proof::ApiKey => None,
        }
    }
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Manager => "manager",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a role is user, manager or admin")]
pub struct RoleError;

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        [Role::User, Role::Manager, Role::Admin].into_iter().find(|role| role.as_str() == text).ok_or(RoleError)
    }
}

impl Permission {
    pub fn as_str(self) -> &'static str {
        match self {
            Permission::Read => "read",
            Permission::Write => "write",
            Permission::Delete => "delete",
            Permission::Manage => "manage",
        }
    }

    fn least_role(self) -> Role {
        match self {
            Permission::Read => Role::User,
            Permission::Write | Permission::Delete => Role::Manager,
            Permission::Manage => Role::Admin,
        }
    }
}

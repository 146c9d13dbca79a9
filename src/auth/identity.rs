//! Identities, roles and permissions.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Who is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The token's `sub`, `key:` and the start of the key's hash, or `anonymous`.
    pub subject: Arc<str>,
    pub role: Role,
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
    /// The caller of a server that has no secret and no keys: anybody may do anything.
    pub fn anonymous_admin() -> Self {
        Self { subject: "anonymous".into(), role: Role::Admin }
    }

    pub fn may(&self, permission: Permission) -> bool {
        let needs = match permission {
            Permission::Read => Role::User,
            Permission::Write | Permission::Delete => Role::Manager,
            Permission::Manage => Role::Admin,
        };
        self.role >= needs
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
}

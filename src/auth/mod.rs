//! Who is calling, and what it may do. Knows no HTTP: `http::guard` reads the credentials out of a request.

mod accounts; // who logs in with a password
mod claims; // what a token says
mod gate; // credentials → identity
mod identity;
mod jwks; // public keys of others who sign tokens
mod keys; // API keys
mod options;
mod revocation; // what was taken back before its time
mod scope; // what a key may, one by one
mod secret;
mod token;

pub use accounts::{AccountError, AccountInfo, Accounts, Notice, Session};
pub use claims::{Claims, Info, Overrides, ServerSub, TokenId};
pub use gate::{AuthError, Credentials, Gate};
pub use identity::{Identity, Permission, Proof, Role};
pub use keys::MintedKey;
pub use options::{AuthOptions, AuthOptionsError};
pub use revocation::{Revocation, Revocations};
pub use scope::{ScopeError, Scopes};
pub use secret::Secret;
pub use token::{TokenError, issue_token};

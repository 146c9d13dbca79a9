//! Who is calling, and what it may do. Knows no HTTP: `http::guard` reads the credentials out of a request.

mod gate;
mod identity;
mod options;
mod secret;
mod token;

pub use gate::{AuthError, Credentials, Gate};
pub use identity::{Identity, Permission, Role};
pub use options::{AuthOptions, AuthOptionsError};
pub use secret::Secret;
pub use token::{TokenError, issue_token};

//! The edge kit: what every HTTP endpoint shares.

pub mod accounts;
pub mod assets;
pub mod cache; // answers that are kept while their rows stay
pub mod guard;
pub mod layers;
pub mod limits;
pub mod outbound; // what this server asks of others
pub mod server;
pub mod tls; // ended in front of everything else

mod body;
mod connection; // one, of HTTP/1 or HTTP/2
mod error;
mod etag;
mod extract;
mod origin;
mod proxies;
mod side_redis; // a Redis that helps but is not needed
mod trace;

pub use body::{BodyError, BoundedBody};
pub use cache::{Answer, Cache, Made, Sharing};
pub use error::{FieldError, Problem};
pub use etag::ETag;
pub use extract::{Json, Path, Query, RawBody, parse};
pub use origin::{OriginError, Origins};
pub use proxies::{TrustedProxies, TrustedProxiesError};
pub use trace::TraceId;

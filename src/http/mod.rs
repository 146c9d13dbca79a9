//! The edge kit: what every HTTP endpoint shares.

mod error;
mod extract;

pub use error::{FieldError, Problem};
pub use extract::{Json, Path, Query};

//! The business: each feed's rule, storage and routes in a folder of its own. No feed uses another.

mod catalog; // the five live feeds: channels and filters

pub use catalog::*;

//! The business: each feed's rule, storage and routes in a folder of its own. No feed uses another.

mod action; // created, updated, deleted
mod alert; // what people are told of by e-mail and webhook
mod body; // partial updates and times in JSON
mod catalog; // the five live feeds: channels and filters
mod cursor; // where a page begins
mod failure; // why something did not happen, as an answer
mod fields; // the parts of a resource that its reader wants
mod figures; // gauges that are counted now and then
pub mod history; // time series, read
pub mod inventory;
pub mod matching;
mod kept; // lists that are kept while their rows stay
mod noted; // what is noted of changes
mod outbox; // rows and their publications are one
pub mod page; // lists in pages
pub mod price;
pub mod progress;
mod snapshot; // the rows behind a feed, as of a position
mod text; // checks of input fields
mod totals; // how long lists are, counted once

pub use alert::TOPIC as ALERT_TOPIC;
pub use catalog::*;
pub use figures::Figures;
pub use kept::Kept;
pub use outbox::{Outbox, RecordOptions, RecordReader, Recorder, Relay};
pub use snapshot::{Rows, Source};

//! What was: time series of stock levels, prices and the server's own figures, as feeds have written them.

mod own; // the server's own figures
pub mod routes;
mod time; // times and spans as people write them

use std::sync::Arc;

use crate::clock::Clock;
use crate::series::{DeadLetters, Series};

pub use own::OwnFigures;

/// The readers' side of the time series. Cloning shares it.
#[derive(Clone)]
pub struct History {
    store: Arc<dyn Series>,
    dead: DeadLetters,
    clock: Clock,
}

impl History {
    pub fn new(store: Arc<dyn Series>, dead: DeadLetters, clock: Clock) -> Self {
        Self { store, dead, clock }
    }
}

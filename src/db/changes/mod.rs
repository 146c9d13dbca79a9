//! Which rows have changed since an answer was made, as the triggers of migration 0075 write it down.
//!
//! Asked of the primary for each request, so no message between nodes has to arrive for an answer to be right; requests
//! that come together share one statement. What a look finds is remembered (`log.rs`), so whether an answer still holds is
//! said without another.

mod log; // what is known of changes
mod look; // asking for those since the last look
mod trim; // deleting what everybody has seen

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::latest::Latest;
use super::{Db, DbError, Engine};
pub use log::{Depends, Moment};

use self::log::Log;
use self::look::Look;
pub(super) use self::trim::Trim;

/// What this process knows of changes.
#[derive(Default)]
pub(super) struct Changes {
    latest: Latest<Moment>,
    log: Mutex<Log>,
    look: Arc<tokio::sync::Mutex<Look>>,
    trim: tokio::sync::Mutex<Trim>,
}

impl Changes {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Db {
    /// Where the tables stand, at a moment after this was asked; `None` when the database does not say.
    pub async fn moment(&self) -> Option<Moment> {
        let look = async {
            let (db, begun) = (self.clone(), Instant::now());
            // By itself: whoever asked may go away in the middle, and the connection is to stay usable.
            let looked = tokio::spawn(async move { db.look().await }).await;
            self.metrics.observe(begun, look::text(&self.engine));
            match looked {
                Ok(Ok(moment)) => Some(moment),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the database does not say what has changed");
                    None
                }
                Err(_) => None,
            }
        };
        self.changes.latest.get(look).await
    }

    async fn look(&self) -> Result<Moment, DbError> {
        let mut look = self.changes.look.lock().await;
        let seen = match &self.engine {
            Engine::Sqlite { readers, .. } => look.sqlite(readers).await,
            Engine::Postgres(pool) => look.postgres(pool).await,
        };
        match seen {
            Ok(seen) => Ok(self.changes.log().apply(seen)),
            Err(error) => {
                // What has been missed cannot be known.
                *look = Look::default();
                Err(error)
            }
        }
    }

    /// Whether something may have changed after `since` that `depends` names, as far as anybody has looked.
    pub fn has_changed(&self, depends: &Depends, since: &Moment) -> bool {
        self.changes.log().has_changed(depends, since)
    }

    /// A moment in words that other nodes on the same database understand; `None` where there are none.
    pub fn stamp(&self, moment: &Moment) -> Option<String> {
        self.changes.log().stamp(moment)
    }

    /// Whether what another node made at the moment of `stamp` still holds, as far as anybody has looked. In doubt it does not.
    pub fn holds(&self, depends: &Depends, stamp: &str) -> bool {
        self.changes.log().holds(depends, stamp)
    }
}

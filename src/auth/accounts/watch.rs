//! Revocations of other nodes and of the command line: read on from the database, often and when told to.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::{Accounts, sql};
use crate::auth::Revocation;
use crate::db::DbError;

/// Told of each revocation that this node writes, by its number.
pub type Notice = std::sync::Arc<dyn Fn(i64) + Send + Sync>;

/// Without a word from others, this is how long a revocation may pass unnoticed.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Numbers are given before rows can be seen, so a lower one may appear after a higher: this many are read again.
const OVERLAP: i64 = 100;
/// Everything is read again, and what has ended is deleted, this often.
const ALL_EVERY: Duration = Duration::from_secs(60);

impl Accounts {
    /// Puts all revocations in force; before the first request.
    pub async fn load_revocations(&self) -> Result<(), DbError> {
        self.read_after(0).await.map(|_| ())
    }

    /// Follows the revocations until `stop`.
    pub async fn watch(self, stop: CancellationToken) {
        let revocations = self.0.gate.revocations().clone();
        let (mut last, mut all_at, mut failing) = (0, None::<Instant>, false);
        loop {
            let all = all_at.is_none_or(|at| at.elapsed() >= ALL_EVERY);
            let read = if all { self.read_all().await } else { self.read_after(last - OVERLAP).await };
            match read {
                Ok(newest) => {
                    last = newest.unwrap_or(last).max(last);
                    failing = false;
                    if all {
                        all_at = Some(Instant::now());
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "revocations cannot be read; those that are known stay in force");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = revocations.told_to_look() => {}
            }
        }
    }

    async fn read_all(&self) -> Result<Option<i64>, DbError> {
        let newest = self.read_after(0).await?;
        let now = self.0.clock.now();
        self.0.gate.revocations().forget_expired(now.timestamp_millis());
        sql::tidy(&self.0.db, now).await?;
        Ok(newest)
    }

    async fn read_after(&self, id: i64) -> Result<Option<i64>, DbError> {
        let rows = sql::revocations_after(&self.0.db, id).await?;
        let newest = rows.last().map(|row| row.id);
        for row in rows {
            let revocation = match (row.token_id, row.subject) {
                (Some(id), _) => match id.parse() {
                    Ok(id) => Revocation::Token { id, until_ms: row.until_at.timestamp_millis() },
                    Err(_) => continue,
                },
                (None, Some(subject)) => {
                    Revocation::Subject { subject: subject.into(), issued_until_s: row.until_at.timestamp() }
                }
                (None, None) => continue,
            };
            self.0.gate.revocations().add(revocation);
        }
        Ok(newest)
    }
}

//! Storage of cooldowns.

use chrono::{DateTime, Utc};

use crate::args;
use crate::db::{Db, DbError};

/// Whether an alert may go out: nothing with the same key did since `since`. It may, and the time is noted; another
/// attempt at the same queue item may again, since a worker could vanish between this and the sending on.
pub(super) async fn begin_cooldown(
    db: &Db,
    key: &str,
    queue_item_id: i64,
    now: DateTime<Utc>,
    since: DateTime<Utc>,
) -> Result<bool, DbError> {
    let touched = db
        .execute(
            "INSERT INTO alert_cooldowns (alert_key, sent_at, queue_item_id) VALUES ($1, $2, $3)
             ON CONFLICT (alert_key) DO UPDATE SET sent_at = excluded.sent_at, queue_item_id = excluded.queue_item_id
             WHERE alert_cooldowns.sent_at <= $4 OR alert_cooldowns.queue_item_id = excluded.queue_item_id",
            args![key, now, queue_item_id, since],
        )
        .await?;
    if touched > 0 {
        // Those that have ended say nothing any more. There are few: one a kind and SKU.
        db.execute("DELETE FROM alert_cooldowns WHERE sent_at < $1", args![since]).await?;
    }
    Ok(touched > 0)
}

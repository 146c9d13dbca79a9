//! Asking for the changes since the last look.

use sqlx::postgres::{PgConnection, PgPool, PgRow};
use sqlx::sqlite::SqlitePool;
use sqlx::{ConnectOptions, Row};

use super::log::{Change, Seen};
use crate::db::{DbError, Engine};

/// More than these are not looked at one by one.
const MOST: usize = 10_000;

/// The statement's moment; and which database answers, and since when it has run: numbers of another mean nothing here.
macro_rules! standing {
    () => {
        "pg_current_snapshot()::text AS now, pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xmin, \
         pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS xmax, \
         current_database() || ' ' || 'row_changes'::regclass::oid || ' ' || extract(epoch FROM pg_postmaster_start_time()) \
         AS database"
    };
}

const FIRST: &str = concat!("SELECT ", standing!());
/// All of it at one moment, and what `$2`, the snapshot of the look before, did not see.
const NEXT: &str = concat!(
    "SELECT s.now, s.xmin, s.xmax, s.floor, s.database, c.xid::text::bigint AS xid, c.scope, c.row_id, c.columns FROM (SELECT ",
    standing!(),
    ", (SELECT xid::text::bigint FROM row_changes_floor) AS floor) AS s \
     LEFT JOIN row_changes c ON c.xid >= $1::text::xid8 AND NOT pg_visible_in_snapshot(c.xid, $2::text::pg_snapshot) \
     LIMIT 10001"
);
const SQLITE: &str = "SELECT s.first, s.last, c.scope, c.row_id, c.columns FROM (SELECT (SELECT min(number) FROM row_changes) AS \
                      first, (SELECT max(number) FROM row_changes) AS last) AS s LEFT JOIN row_changes c ON c.number > $1 LIMIT 10001";

/// What a look is called where statements are measured.
pub(super) fn text(engine: &Engine) -> &'static str {
    match engine {
        Engine::Sqlite { .. } => SQLITE,
        Engine::Postgres(_) => NEXT,
    }
}

/// Where the last look stood.
#[derive(Default)]
pub(super) struct Look {
    /// PostgreSQL: its own, as one look follows the other.
    connection: Option<PgConnection>,
    /// PostgreSQL: the snapshot, its lowest transaction, and which database it was.
    snapshot: Option<(String, i64, String)>,
    /// SQLite: the highest number.
    number: Option<i64>,
}

impl Look {
    pub async fn sqlite(&mut self, readers: &SqlitePool) -> Result<Seen, DbError> {
        let before = self.number.unwrap_or(i64::MAX);
        let rows = sqlx::query(SQLITE).bind(before).fetch_all(readers).await?;
        let Some(row) = rows.first() else { return Err(sqlx::Error::RowNotFound.into()) };
        let (first, last) = (row.try_get::<Option<i64>, _>(0)?, row.try_get::<Option<i64>, _>(1)?.unwrap_or(0));
        let gap = first.is_some_and(|first| first > before.saturating_add(1)) || last < before;
        self.number = Some(last);
        let anew = gap || rows.len() > MOST;
        let mut changes = Vec::new();
        for row in rows.iter().filter(|_| !anew) {
            if let Some(scope) = row.try_get(2)? {
                changes.push(Change { scope, row: row.try_get(3)?, columns: bits(row.try_get(4)?), xid: 0 });
            }
        }
        Ok(Seen { anew, changes, database: String::new(), xmin: 0, xmax: 0 })
    }

    pub async fn postgres(&mut self, pool: &PgPool) -> Result<Seen, DbError> {
        let (connection, fresh) = match &mut self.connection {
            Some(connection) => (connection, false),
            none => (none.insert(connect(pool).await?), true),
        };
        // On a new connection nobody knows what the server has been through meanwhile.
        let Some((snapshot, xmin, database)) = self.snapshot.take().filter(|_| !fresh) else {
            let row = sqlx::query(FIRST).fetch_one(connection).await?;
            return self.stand(&row, Vec::new(), true);
        };
        let rows = sqlx::query(NEXT).bind(xmin.to_string()).bind(&snapshot).fetch_all(connection).await?;
        let Some(row) = rows.first() else { return Err(sqlx::Error::RowNotFound.into()) };
        let trimmed = row.try_get::<i64, _>("floor")? > xmin;
        if trimmed || rows.len() > MOST || row.try_get::<String, _>("database")? != database {
            return self.stand(row, Vec::new(), true);
        }
        let mut changes = Vec::new();
        for row in &rows {
            if let Some(scope) = row.try_get("scope")? {
                let (columns, xid) = (bits(row.try_get("columns")?), row.try_get::<i64, _>("xid")?.unsigned_abs());
                changes.push(Change { scope, row: row.try_get("row_id")?, columns, xid });
            }
        }
        self.stand(row, changes, false)
    }

    fn stand(&mut self, row: &PgRow, changes: Vec<Change>, anew: bool) -> Result<Seen, DbError> {
        let (xmin, xmax) = (row.try_get::<i64, _>("xmin")?, row.try_get::<i64, _>("xmax")?);
        let database: String = row.try_get("database")?;
        self.snapshot = Some((row.try_get("now")?, xmin, database.clone()));
        Ok(Seen { anew, changes, database, xmin: xmin.unsigned_abs(), xmax: xmax.unsigned_abs() })
    }
}

fn bits(columns: i64) -> u32 {
    columns as u32
}

async fn connect(pool: &PgPool) -> Result<PgConnection, DbError> {
    let mut connection = pool.connect_options().connect().await?;
    // Few rows are new, which the planner cannot know. Work is not lost with these settings: looks change nothing.
    for set in [
        "SET enable_seqscan = off",
        "SET enable_bitmapscan = off",
        "SET jit = off",
        "SET plan_cache_mode = force_generic_plan",
    ] {
        sqlx::query(set).execute(&mut connection).await?;
    }
    Ok(connection)
}

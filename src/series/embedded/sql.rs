//! The tables of the embedded store, and every statement on them.
//!
//! A series is one field of one measurement with one set of tags; its values stand in `series_points`. Writing a value
//! marks its minute as dirty. The roll-up makes rows of `series_minutes` and `series_hours` from dirty minutes that are
//! over. Until then a question takes those minutes from the points, so answers are exact at any moment.
//!
//! The store makes its tables itself, apart from the migrations: with SQLite they lie in a file of their own.

use serde_json::Value as Json;

use crate::db::{Db, DbError, Sql, Tx};
use crate::series::Range;
use crate::{args, over_rows};

pub const MINUTE_NS: i64 = 60 * 1_000_000_000;
pub const HOUR_NS: i64 = 60 * MINUTE_NS;
/// Nodes on one PostgreSQL make the tables one after the other under this lock; any constant of our own will do.
const SCHEMA_LOCK: i64 = 0x66_61_6e_73_65_72;

/// Both engines read these types; SQLite keeps the rows in the order of their key.
const TABLES: &[(&str, &str)] = &[
    (
        "CREATE TABLE IF NOT EXISTS series_keys (id INTEGER PRIMARY KEY, measurement TEXT NOT NULL, field TEXT NOT NULL, \
         tags TEXT NOT NULL, UNIQUE (measurement, field, tags))",
        "CREATE TABLE IF NOT EXISTS series_keys (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, measurement TEXT NOT NULL, \
         field TEXT NOT NULL, tags TEXT NOT NULL, UNIQUE (measurement, field, tags))",
    ),
    (
        "CREATE TABLE IF NOT EXISTS series_points (series_id INTEGER NOT NULL, at_ns INTEGER NOT NULL, value REAL NOT NULL, \
         PRIMARY KEY (series_id, at_ns)) WITHOUT ROWID",
        "CREATE TABLE IF NOT EXISTS series_points (series_id BIGINT NOT NULL, at_ns BIGINT NOT NULL, \
         value DOUBLE PRECISION NOT NULL, PRIMARY KEY (series_id, at_ns))",
    ),
    (
        "CREATE TABLE IF NOT EXISTS series_dirty (series_id INTEGER NOT NULL, at_ns INTEGER NOT NULL, \
         PRIMARY KEY (series_id, at_ns)) WITHOUT ROWID",
        "CREATE TABLE IF NOT EXISTS series_dirty (series_id BIGINT NOT NULL, at_ns BIGINT NOT NULL, PRIMARY KEY (series_id, at_ns))",
    ),
    (
        "CREATE TABLE IF NOT EXISTS series_minutes (series_id INTEGER NOT NULL, at_ns INTEGER NOT NULL, min REAL NOT NULL, \
         max REAL NOT NULL, sum REAL NOT NULL, count INTEGER NOT NULL, last REAL NOT NULL, last_ns INTEGER NOT NULL, \
         PRIMARY KEY (series_id, at_ns)) WITHOUT ROWID",
        "CREATE TABLE IF NOT EXISTS series_minutes (series_id BIGINT NOT NULL, at_ns BIGINT NOT NULL, min DOUBLE PRECISION NOT NULL, \
         max DOUBLE PRECISION NOT NULL, sum DOUBLE PRECISION NOT NULL, count BIGINT NOT NULL, last DOUBLE PRECISION NOT NULL, \
         last_ns BIGINT NOT NULL, PRIMARY KEY (series_id, at_ns))",
    ),
    (
        "CREATE TABLE IF NOT EXISTS series_hours (series_id INTEGER NOT NULL, at_ns INTEGER NOT NULL, min REAL NOT NULL, \
         max REAL NOT NULL, sum REAL NOT NULL, count INTEGER NOT NULL, last REAL NOT NULL, last_ns INTEGER NOT NULL, \
         PRIMARY KEY (series_id, at_ns)) WITHOUT ROWID",
        "CREATE TABLE IF NOT EXISTS series_hours (series_id BIGINT NOT NULL, at_ns BIGINT NOT NULL, min DOUBLE PRECISION NOT NULL, \
         max DOUBLE PRECISION NOT NULL, sum DOUBLE PRECISION NOT NULL, count BIGINT NOT NULL, last DOUBLE PRECISION NOT NULL, \
         last_ns BIGINT NOT NULL, PRIMARY KEY (series_id, at_ns))",
    ),
];

#[derive(sqlx::FromRow)]
pub struct Key {
    pub id: i64,
    pub measurement: String,
    pub field: String,
    /// A JSON object, by key.
    pub tags: String,
}

#[derive(sqlx::FromRow)]
pub struct StepRow {
    pub step_ns: i64,
    pub min: f64,
    pub max: f64,
    pub sum: f64,
    pub count: i64,
    pub last: f64,
}

#[derive(Clone, Copy, sqlx::FromRow)]
struct Dirty {
    series_id: i64,
    at_ns: i64,
}

#[derive(sqlx::FromRow)]
struct Count {
    count: i64,
}

pub async fn create_tables(db: &Db) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    if db.engine() == "postgres" {
        tx.execute("SELECT pg_advisory_xact_lock($1)", args![SCHEMA_LOCK]).await?;
    }
    for (sqlite, postgres) in TABLES {
        tx.execute(db.by_engine(sqlite, postgres), args![]).await?;
    }
    tx.commit().await
}

pub async fn count_keys(db: &Db) -> Result<i64, DbError> {
    Ok(db.fetch_one::<Count>("SELECT count(*) AS count FROM series_keys", args![]).await?.count)
}

/// The keys of one field of a measurement, with all their tags.
pub async fn keys_of(db: &Db, measurement: &str, field: &str) -> Result<Vec<Key>, DbError> {
    let sql = "SELECT id, measurement, field, tags FROM series_keys WHERE measurement = $1 AND field = $2";
    db.fetch_all(sql, args![measurement, field]).await
}

/// Makes the keys that are missing, and answers all of them. `keys`: `[[measurement, field, tags], …]`, each once.
pub async fn keys(tx: &mut Tx, keys: Json) -> Result<Vec<Key>, DbError> {
    let sql = tx.by_engine(
        "INSERT INTO series_keys (measurement, field, tags) \
         SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each($1) WHERE true ON CONFLICT DO NOTHING",
        "INSERT INTO series_keys (measurement, field, tags) \
         SELECT e ->> 0, e ->> 1, e ->> 2 FROM jsonb_array_elements($1) AS e ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING",
    );
    tx.execute(sql, args![keys.clone()]).await?;
    found_keys(tx, keys).await
}

/// Those of `keys` that there are.
pub async fn found_keys(tx: &mut Tx, keys: Json) -> Result<Vec<Key>, DbError> {
    let sql = tx.by_engine(
        "SELECT k.id, k.measurement, k.field, k.tags FROM json_each($1) AS e \
         JOIN series_keys k ON k.measurement = e.value ->> 0 AND k.field = e.value ->> 1 AND k.tags = e.value ->> 2",
        "SELECT k.id, k.measurement, k.field, k.tags FROM jsonb_array_elements($1) AS e \
         JOIN series_keys k ON k.measurement = e ->> 0 AND k.field = e ->> 1 AND k.tags = e ->> 2",
    );
    tx.fetch_all(sql, args![keys]).await
}

over_rows! {
    pub struct PointRow {
        pub series_id: i64 => "bigint",
        pub at_ns: i64 => "bigint",
        pub value: f64 => "double precision",
    }
    before "INSERT INTO series_points (series_id, at_ns, value) SELECT r.series_id, r.at_ns, r.value"
    after "WHERE true ON CONFLICT (series_id, at_ns) DO UPDATE SET value = excluded.value"
}

over_rows! {
    pub struct MinuteRow {
        pub series_id: i64 => "bigint",
        pub at_ns: i64 => "bigint",
    }
    before "INSERT INTO series_dirty (series_id, at_ns) SELECT r.series_id, r.at_ns"
    // On PostgreSQL the row must be locked, not only found: a roll-up that has it would not see these points.
    after "WHERE true ON CONFLICT (series_id, at_ns) DO UPDATE SET at_ns = excluded.at_ns"
}

/// Each series and time once, and in their order, which is the order in which all writers take rows.
pub async fn write(tx: &mut Tx, points: &[PointRow], minutes: &[MinuteRow]) -> Result<(), DbError> {
    tx.execute_over(&PointRow::OVER, points).await?;
    tx.execute_over(&MinuteRow::OVER, minutes).await?;
    Ok(())
}

/// Rolls up to `most` dirty minutes that begin before `before_ns`; answers how many there were.
pub async fn roll_up(tx: &mut Tx, before_ns: i64, most: i64) -> Result<usize, DbError> {
    let sql = tx.by_engine(
        "SELECT series_id, at_ns FROM series_dirty WHERE at_ns < $1 LIMIT $2",
        "SELECT series_id, at_ns FROM series_dirty WHERE at_ns < $1 LIMIT $2 FOR UPDATE SKIP LOCKED",
    );
    let due: Vec<Dirty> = tx.fetch_all(sql, args![before_ns, most]).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let json = |it: Vec<(i64, i64)>| Json::from_iter(it.into_iter().map(|(id, at_ns)| Json::from(vec![id, at_ns])));
    let minutes = json(due.iter().map(|it| (it.series_id, it.at_ns)).collect());
    let mut hours: Vec<(i64, i64)> = due.iter().map(|it| (it.series_id, it.at_ns - it.at_ns % HOUR_NS)).collect();
    hours.sort_unstable();
    hours.dedup();
    let sql = tx.by_engine(
        "INSERT INTO series_minutes (series_id, at_ns, min, max, sum, count, last, last_ns) \
         SELECT series_id, minute_ns, min(value), max(value), sum(value), count(*), max(CASE WHEN latest = 1 THEN value END), \
         max(at_ns) FROM (SELECT p.series_id, d.value ->> 1 AS minute_ns, p.value, p.at_ns, \
         row_number() OVER (PARTITION BY p.series_id, d.value ->> 1 ORDER BY p.at_ns DESC) AS latest \
         FROM json_each($1) AS d JOIN series_points p ON p.series_id = d.value ->> 0 AND p.at_ns >= d.value ->> 1 \
         AND p.at_ns < (d.value ->> 1) + 60000000000) WHERE true GROUP BY series_id, minute_ns \
         ON CONFLICT (series_id, at_ns) DO UPDATE SET min = excluded.min, max = excluded.max, sum = excluded.sum, \
         count = excluded.count, last = excluded.last, last_ns = excluded.last_ns",
        "INSERT INTO series_minutes (series_id, at_ns, min, max, sum, count, last, last_ns) \
         SELECT series_id, minute_ns, min(value), max(value), sum(value), count(*), max(CASE WHEN latest = 1 THEN value END), \
         max(at_ns) FROM (SELECT p.series_id, (d ->> 1)::bigint AS minute_ns, p.value, p.at_ns, \
         row_number() OVER (PARTITION BY p.series_id, (d ->> 1)::bigint ORDER BY p.at_ns DESC) AS latest \
         FROM jsonb_array_elements($1) AS d JOIN series_points p ON p.series_id = (d ->> 0)::bigint \
         AND p.at_ns >= (d ->> 1)::bigint AND p.at_ns < (d ->> 1)::bigint + 60000000000) AS ranked GROUP BY series_id, minute_ns \
         ON CONFLICT (series_id, at_ns) DO UPDATE SET min = excluded.min, max = excluded.max, sum = excluded.sum, \
         count = excluded.count, last = excluded.last, last_ns = excluded.last_ns",
    );
    tx.execute(sql, args![minutes.clone()]).await?;
    let sql = tx.by_engine(
        "INSERT INTO series_hours (series_id, at_ns, min, max, sum, count, last, last_ns) \
         SELECT series_id, hour_ns, min(min), max(max), sum(sum), sum(count), max(CASE WHEN latest = 1 THEN last END), \
         max(last_ns) FROM (SELECT m.*, h.value ->> 1 AS hour_ns, \
         row_number() OVER (PARTITION BY m.series_id, h.value ->> 1 ORDER BY m.last_ns DESC) AS latest \
         FROM json_each($1) AS h JOIN series_minutes m ON m.series_id = h.value ->> 0 AND m.at_ns >= h.value ->> 1 \
         AND m.at_ns < (h.value ->> 1) + 3600000000000) WHERE true GROUP BY series_id, hour_ns \
         ON CONFLICT (series_id, at_ns) DO UPDATE SET min = excluded.min, max = excluded.max, sum = excluded.sum, \
         count = excluded.count, last = excluded.last, last_ns = excluded.last_ns",
        "INSERT INTO series_hours (series_id, at_ns, min, max, sum, count, last, last_ns) \
         SELECT series_id, hour_ns, min(min), max(max), sum(sum), CAST(sum(count) AS BIGINT), \
         max(CASE WHEN latest = 1 THEN last END), max(last_ns) FROM (SELECT m.*, (h ->> 1)::bigint AS hour_ns, \
         row_number() OVER (PARTITION BY m.series_id, (h ->> 1)::bigint ORDER BY m.last_ns DESC) AS latest \
         FROM jsonb_array_elements($1) AS h JOIN series_minutes m ON m.series_id = (h ->> 0)::bigint \
         AND m.at_ns >= (h ->> 1)::bigint AND m.at_ns < (h ->> 1)::bigint + 3600000000000) AS ranked GROUP BY series_id, hour_ns \
         ON CONFLICT (series_id, at_ns) DO UPDATE SET min = excluded.min, max = excluded.max, sum = excluded.sum, \
         count = excluded.count, last = excluded.last, last_ns = excluded.last_ns",
    );
    tx.execute(sql, args![json(hours)]).await?;
    let sql = tx.by_engine(
        "DELETE FROM series_dirty WHERE (series_id, at_ns) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1))",
        "DELETE FROM series_dirty WHERE (series_id, at_ns) IN \
         (SELECT (e ->> 0)::bigint, (e ->> 1)::bigint FROM jsonb_array_elements($1) AS e)",
    );
    tx.execute(sql, args![minutes]).await?;
    Ok(due.len())
}

/// Which rows hold what is over.
#[derive(Clone, Copy, Debug)]
pub enum Kept {
    Points,
    Minutes,
    Hours,
}

/// Deletes up to `most` rows older than `before_ns`, series by series; answers how many went.
pub async fn expire(db: &Db, kept: Kept, before_ns: i64, most: i64) -> Result<u64, DbError> {
    let sql = match kept {
        Kept::Points => {
            "DELETE FROM series_points WHERE (series_id, at_ns) IN (SELECT p.series_id, p.at_ns FROM series_keys k \
             JOIN series_points p ON p.series_id = k.id AND p.at_ns < $1 LIMIT $2)"
        }
        Kept::Minutes => {
            "DELETE FROM series_minutes WHERE (series_id, at_ns) IN (SELECT p.series_id, p.at_ns FROM series_keys k \
             JOIN series_minutes p ON p.series_id = k.id AND p.at_ns < $1 LIMIT $2)"
        }
        Kept::Hours => {
            "DELETE FROM series_hours WHERE (series_id, at_ns) IN (SELECT p.series_id, p.at_ns FROM series_keys k \
             JOIN series_hours p ON p.series_id = k.id AND p.at_ns < $1 LIMIT $2)"
        }
    };
    db.execute(sql, args![before_ns, most]).await
}

/// The steps of `range` over the series `ids`, from the coarsest rows that its steps are made of.
pub async fn steps(db: &Db, ids: Vec<i64>, range: &Range) -> Result<Vec<StepRow>, DbError> {
    let ids = Json::from(ids);
    let (from, to) = (range.from_ns, range.to_ns);
    let listed = db.by_engine(
        " series_id IN (SELECT value FROM json_each(",
        " series_id IN (SELECT value::bigint FROM jsonb_array_elements_text(",
    );
    let step = range.step_ns;
    // A row's step, its values, and for which rows it stands, by what it is made of.
    let begin = |sql: Sql| sql.push("SELECT at_ns / ").bind(step).push(" * ").bind(step).push(" AS step_ns, ");
    let points = "value AS min, value AS max, value AS sum, 1 AS count, value AS last, at_ns AS last_ns FROM series_points s WHERE";
    let rolled = "min, max, sum, count, last, last_ns FROM ";
    let of = |sql: Sql, from: i64, to: i64| {
        let sql = sql.push(listed).bind(ids.clone()).push(")) AND s.at_ns >= ").bind(from);
        sql.push(" AND s.at_ns < ").bind(to)
    };
    let mut sql = Sql::new("WITH parts AS (");
    if range.is_made_of(MINUTE_NS) {
        // Whole minutes end here; what of the last one counts is taken from the points.
        let whole_to = to - to % MINUTE_NS;
        let hours_to = if range.is_made_of(HOUR_NS) { to - to % HOUR_NS } else { from };
        sql = of(begin(sql).push(rolled).push("series_hours s WHERE"), from, hours_to);
        sql = sql.push(
            " AND NOT EXISTS (SELECT 1 FROM series_dirty d WHERE d.series_id = s.series_id AND d.at_ns >= s.at_ns \
             AND d.at_ns < s.at_ns + 3600000000000) UNION ALL ",
        );
        sql = of(begin(sql).push(rolled).push("series_minutes s WHERE"), from, whole_to);
        sql = sql.push(
            " AND NOT EXISTS (SELECT 1 FROM series_dirty d WHERE d.series_id = s.series_id AND d.at_ns = s.at_ns)",
        );
        sql = sql.push(" AND (s.at_ns >= ").bind(hours_to);
        sql = sql.push(
            " OR EXISTS (SELECT 1 FROM series_dirty d WHERE d.series_id = s.series_id AND d.at_ns >= s.at_ns - s.at_ns % 3600000000000 \
             AND d.at_ns < s.at_ns - s.at_ns % 3600000000000 + 3600000000000)) UNION ALL ",
        );
        sql = begin(sql).push(
            "value, value, value, 1, value, at_ns FROM (SELECT p.at_ns, p.value FROM series_dirty s JOIN series_points p \
             ON p.series_id = s.series_id AND p.at_ns >= s.at_ns AND p.at_ns < s.at_ns + 60000000000 WHERE s.",
        );
        sql = sql.push(listed.trim_start());
        sql = sql.bind(ids.clone()).push(")) AND s.at_ns >= ").bind(from).push(" AND s.at_ns < ").bind(whole_to);
        sql = of(begin(sql.push(") AS open_minutes UNION ALL ")).push(points), whole_to, to);
    } else {
        sql = of(begin(sql).push(points), from, to);
    }
    sql = sql.push(
        "), ranked AS (SELECT parts.*, row_number() OVER (PARTITION BY step_ns ORDER BY last_ns DESC) AS latest FROM parts) \
         SELECT step_ns, min(min) AS min, max(max) AS max, sum(sum) AS sum, CAST(sum(count) AS BIGINT) AS count, \
         max(CASE WHEN latest = 1 THEN last END) AS last FROM ranked GROUP BY step_ns ORDER BY step_ns",
    );
    db.fetch_built(sql).await
}

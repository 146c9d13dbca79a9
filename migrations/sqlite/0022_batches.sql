-- Batches and what comes of them: see src/feeds/matching/batch/.
CREATE TABLE batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    batch_type TEXT NOT NULL CHECK (batch_type IN ('daily_matching', 'scoring', 'email_generation', 'cleanup')),
    state TEXT NOT NULL CHECK (state IN ('running', 'completed', 'failed', 'cancelled')),
    -- A scheduled batch of one day runs once, however many nodes look at the clock.
    schedule_key TEXT UNIQUE,
    processed BIGINT NOT NULL DEFAULT 0,
    total BIGINT NOT NULL,
    failed BIGINT NOT NULL DEFAULT 0,
    error TEXT,
    -- When subscribers were last told of the progress.
    told_at TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    finished_at TEXT
);
CREATE INDEX batches_created ON batches (created_at, id);

-- Rows first_id..=last_id of users or jobs. A part's result and its state change in one transaction.
CREATE TABLE batch_parts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    batch_id BIGINT NOT NULL REFERENCES batches ON DELETE CASCADE,
    first_id BIGINT NOT NULL,
    last_id BIGINT NOT NULL,
    size BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'done', 'failed')),
    attempts BIGINT NOT NULL DEFAULT 0,
    error TEXT
);
CREATE INDEX batch_parts_batch ON batch_parts (batch_id, state);

-- The best jobs of one user from one batch, in sections, each with its reasons.
CREATE TABLE recommendations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    batch_id BIGINT NOT NULL REFERENCES batches ON DELETE CASCADE,
    user_id BIGINT NOT NULL,
    matches TEXT NOT NULL,
    match_count BIGINT NOT NULL,
    best_score REAL NOT NULL,
    created_at TEXT NOT NULL,
    UNIQUE (user_id, batch_id)
);
CREATE INDEX recommendations_batch ON recommendations (batch_id);

-- Imports in the background.
CREATE TABLE import_tasks (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('jobs', 'users')),
    state TEXT NOT NULL CHECK (state IN ('pending', 'running', 'completed', 'failed')),
    processed BIGINT NOT NULL DEFAULT 0,
    total BIGINT NOT NULL,
    succeeded BIGINT NOT NULL DEFAULT 0,
    failed BIGINT NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

-- What is still to be imported: rows as JSON with their lines, a part a transaction.
CREATE TABLE import_parts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id TEXT NOT NULL REFERENCES import_tasks ON DELETE CASCADE,
    rows TEXT NOT NULL
);
CREATE INDEX import_parts_task ON import_parts (task_id, id);

CREATE TABLE import_errors (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id TEXT NOT NULL REFERENCES import_tasks ON DELETE CASCADE,
    line BIGINT NOT NULL,
    field TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX import_errors_task ON import_errors (task_id, line);

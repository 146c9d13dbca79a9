-- Durable work: see src/queue/. The columns are those of migrations/postgres/0004_queue.sql.
CREATE TABLE queue_items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    payload TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'leased', 'dead')),
    attempts BIGINT NOT NULL DEFAULT 0,
    run_at TEXT NOT NULL,
    leased_by TEXT,
    last_error TEXT,
    created_at TEXT NOT NULL
);

-- What may be claimed, in the order in which it is.
CREATE INDEX queue_items_due ON queue_items (topic, run_at, id) WHERE state <> 'dead';
CREATE INDEX queue_items_dead ON queue_items (topic, id) WHERE state = 'dead';

-- When an alert of one kind about one thing was last sent on, and which queue item it was.
CREATE TABLE alert_cooldowns (
    alert_key TEXT PRIMARY KEY,
    sent_at TEXT NOT NULL,
    queue_item_id BIGINT NOT NULL
);
CREATE INDEX alert_cooldowns_sent_at ON alert_cooldowns (sent_at);

-- Users of job matching: see src/feeds/matching/users/. The columns are those of migrations/postgres/0021_users.sql.
CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    external_id TEXT NOT NULL UNIQUE,
    email TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    language TEXT NOT NULL CHECK (language IN ('ja', 'en')),
    prefecture TEXT,
    city TEXT,
    latitude REAL,
    longitude REAL,
    status TEXT NOT NULL CHECK (status IN ('active', 'inactive', 'deleted')),
    email_opt_in BOOLEAN NOT NULL,
    unsubscribe_token TEXT NOT NULL UNIQUE,
    bounced_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX users_status_updated ON users (status, updated_at, id);
CREATE INDEX users_place ON users (prefecture, city);

CREATE TABLE user_profiles (
    user_id BIGINT PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    work_preferences TEXT NOT NULL,
    experience TEXT NOT NULL,
    personal_info TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

CREATE TABLE user_behavior_logs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id BIGINT NOT NULL,
    job_id BIGINT NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('view', 'click', 'save', 'apply', 'dismiss')),
    at TEXT NOT NULL
);
CREATE INDEX user_behavior_logs_user ON user_behavior_logs (user_id, at);
CREATE INDEX user_behavior_logs_at ON user_behavior_logs (at);

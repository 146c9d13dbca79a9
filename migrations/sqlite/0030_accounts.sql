-- Who logs in with a password: see src/auth/accounts/. The columns are those of migrations/postgres/0030_accounts.sql.
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 100),
    password_hash TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('user', 'manager', 'admin')),
    is_active BOOLEAN NOT NULL DEFAULT TRUE,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

-- A log-in is a family of refresh tokens, each good once. Only keyed hashes are kept.
CREATE TABLE refresh_tokens (
    token_hash TEXT PRIMARY KEY,
    family TEXT NOT NULL,
    account_id BIGINT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    access_id TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    used_at TEXT
);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_account ON refresh_tokens (account_id);
CREATE INDEX refresh_tokens_access ON refresh_tokens (access_id);
CREATE INDEX refresh_tokens_expires ON refresh_tokens (expires_at);
CREATE INDEX refresh_tokens_used ON refresh_tokens (used_at) WHERE used_at IS NOT NULL;

-- Tokens taken back before their time: one by its id, or all that a subject was given up to a second.
CREATE TABLE revocations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    token_id TEXT,
    subject TEXT,
    until_at TEXT NOT NULL, -- of a token: when it expires; of a subject: up to when it was issued
    created_at TEXT NOT NULL,
    CHECK ((token_id IS NULL) <> (subject IS NULL))
);
CREATE INDEX revocations_subject ON revocations (subject) WHERE subject IS NOT NULL;
CREATE INDEX revocations_token ON revocations (until_at) WHERE token_id IS NOT NULL;

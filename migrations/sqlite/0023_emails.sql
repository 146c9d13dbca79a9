-- Mails of a day's recommendations: see src/feeds/matching/email/.
CREATE TABLE match_emails (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id BIGINT NOT NULL REFERENCES users ON DELETE CASCADE,
    batch_id BIGINT NOT NULL,
    -- A user gets one mail a day, however often the batch runs.
    day TEXT NOT NULL,
    recipient TEXT NOT NULL,
    subject TEXT NOT NULL,
    text_body TEXT NOT NULL,
    html_body TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'sent', 'bounced', 'failed')),
    attempts BIGINT NOT NULL DEFAULT 0,
    error TEXT,
    created_at TEXT NOT NULL,
    sent_at TEXT,
    UNIQUE (user_id, day)
);
CREATE INDEX match_emails_state ON match_emails (state, id);

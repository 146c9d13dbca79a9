-- Publications that wait to be sent, written with the row that they tell of. Sent ones are deleted.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    channel TEXT NOT NULL,
    data TEXT NOT NULL,
    tags TEXT NOT NULL,
    created_at TEXT NOT NULL
);

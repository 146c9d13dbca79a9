-- What the relay has published, with where it stands: the past of the streams, for whoever begins there. Bounded by age
-- and by count; the oldest go.
CREATE TABLE stream_record (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    channel TEXT NOT NULL,
    epoch TEXT NOT NULL,
    position INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    data TEXT NOT NULL,
    tags TEXT NOT NULL
);
CREATE INDEX stream_record_channel ON stream_record (channel, id);
CREATE INDEX stream_record_at ON stream_record (at_ms);

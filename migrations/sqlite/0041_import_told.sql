-- When subscribers were last told of an import's progress, in milliseconds since 1970.
ALTER TABLE import_tasks ADD COLUMN told_ms INTEGER NOT NULL DEFAULT 0;

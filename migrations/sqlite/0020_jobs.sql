-- Jobs: see src/feeds/matching/jobs/. The columns are those of migrations/postgres/0020_jobs.sql.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    external_id TEXT NOT NULL UNIQUE,
    company_name TEXT NOT NULL CHECK (company_name <> ''),
    title TEXT NOT NULL CHECK (title <> ''),
    description TEXT NOT NULL DEFAULT '',
    salary_min BIGINT CHECK (salary_min >= 0),
    salary_max BIGINT CHECK (salary_max >= salary_min),
    location TEXT,
    prefecture TEXT,
    city TEXT,
    nearest_station TEXT,
    latitude REAL,
    longitude REAL,
    work_hours TEXT,
    work_days TEXT,
    features TEXT NOT NULL,
    occupation_category TEXT NOT NULL,
    needs_categories TEXT NOT NULL,
    basic_score BIGINT NOT NULL DEFAULT 0,
    seo_score BIGINT NOT NULL DEFAULT 0,
    personalized_score REAL NOT NULL DEFAULT 0,
    combined_score REAL NOT NULL DEFAULT 0,
    status TEXT NOT NULL CHECK (status IN ('draft', 'active', 'paused', 'expired', 'deleted')),
    url TEXT,
    application_url TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    expires_at TEXT,
    search_text TEXT NOT NULL,
    search_terms TEXT NOT NULL,
    geo_x BIGINT,
    geo_y BIGINT,
    geo_z BIGINT
);
CREATE INDEX jobs_status_updated ON jobs (status, updated_at, id);
CREATE INDEX jobs_status_created ON jobs (status, created_at, id);
CREATE INDEX jobs_status_combined ON jobs (status, combined_score, id);
CREATE INDEX jobs_status_salary ON jobs (status, salary_max, id);
CREATE INDEX jobs_status_pay ON jobs (status, coalesce(salary_max, salary_min));
CREATE INDEX jobs_category ON jobs (occupation_category, status);
CREATE INDEX jobs_place ON jobs (prefecture, city);
CREATE INDEX jobs_station ON jobs (nearest_station);
CREATE INDEX jobs_expires ON jobs (expires_at) WHERE status = 'active';
CREATE INDEX jobs_point ON jobs (geo_x, geo_y, geo_z);

-- FTS5 over the bigrams; its own trigram tokenizer cannot find words of two signs.
CREATE VIRTUAL TABLE jobs_fts USING fts5(search_terms, content = 'jobs', content_rowid = 'id', detail = 'none');
CREATE TRIGGER jobs_fts_insert AFTER INSERT ON jobs BEGIN
    INSERT INTO jobs_fts (rowid, search_terms) VALUES (new.id, new.search_terms);
END;
CREATE TRIGGER jobs_fts_delete AFTER DELETE ON jobs BEGIN
    INSERT INTO jobs_fts (jobs_fts, rowid, search_terms) VALUES ('delete', old.id, old.search_terms);
END;
CREATE TRIGGER jobs_fts_update AFTER UPDATE OF search_terms ON jobs BEGIN
    INSERT INTO jobs_fts (jobs_fts, rowid, search_terms) VALUES ('delete', old.id, old.search_terms);
    INSERT INTO jobs_fts (rowid, search_terms) VALUES (new.id, new.search_terms);
END;

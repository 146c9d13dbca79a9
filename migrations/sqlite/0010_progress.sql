-- Learning progress: see src/feeds/progress/. The columns are those of migrations/postgres/0010_progress.sql.
CREATE TABLE students (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id TEXT NOT NULL UNIQUE,
    name TEXT,
    email TEXT,
    team TEXT,
    class TEXT,
    created_at TEXT NOT NULL
);
CREATE INDEX students_class ON students (class);

CREATE TABLE notebooks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    created_at TEXT NOT NULL
);

-- content is what was run last in this cell, whoever ran it, at content_at.
CREATE TABLE cells (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    cell_id TEXT NOT NULL,
    notebook_id BIGINT NOT NULL REFERENCES notebooks (id) ON DELETE CASCADE,
    cell_type TEXT,
    cell_index BIGINT,
    content TEXT,
    content_at TEXT NOT NULL,
    UNIQUE (notebook_id, cell_id)
);

-- Every event once, by its id. cell_id is the client's name of the cell; payload is what no other column or table holds.
CREATE TABLE progress_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    event_type TEXT NOT NULL,
    student_id BIGINT NOT NULL REFERENCES students (id) ON DELETE CASCADE,
    notebook_id BIGINT REFERENCES notebooks (id) ON DELETE CASCADE,
    cell_id TEXT,
    session_id TEXT,
    class TEXT,
    event_time TEXT NOT NULL,
    received_at TEXT NOT NULL,
    payload TEXT
);
CREATE INDEX progress_events_student ON progress_events (student_id, event_time);

-- id is that of the event; duration is in milliseconds, as the client measured it.
CREATE TABLE cell_executions (
    id INTEGER PRIMARY KEY REFERENCES progress_events (id) ON DELETE CASCADE,
    student_id BIGINT NOT NULL REFERENCES students (id) ON DELETE CASCADE,
    cell_id BIGINT NOT NULL REFERENCES cells (id) ON DELETE CASCADE,
    executed_at TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('success', 'error')),
    duration REAL,
    output TEXT,
    error_name TEXT,
    error_message TEXT,
    execution_count BIGINT
);
CREATE INDEX cell_executions_student ON cell_executions (student_id, executed_at);
CREATE INDEX cell_executions_cell ON cell_executions (cell_id, executed_at);

-- The latest state of a student in a cell. started_at: when the student's work on it began; solved_at: its first success.
CREATE TABLE student_cells (
    student_id BIGINT NOT NULL REFERENCES students (id) ON DELETE CASCADE,
    cell_id BIGINT NOT NULL REFERENCES cells (id) ON DELETE CASCADE,
    runs BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    started_at TEXT NOT NULL,
    first_at TEXT NOT NULL,
    last_at TEXT NOT NULL,
    last_status TEXT NOT NULL,
    last_error TEXT,
    solved_at TEXT,
    PRIMARY KEY (student_id, cell_id)
);
CREATE INDEX student_cells_cell ON student_cells (cell_id);

-- The latest state of a student: the place, and the signals that were told last.
CREATE TABLE student_states (
    student_id INTEGER PRIMARY KEY REFERENCES students (id) ON DELETE CASCADE,
    notebook_id BIGINT REFERENCES notebooks (id) ON DELETE CASCADE,
    cell_id BIGINT REFERENCES cells (id) ON DELETE SET NULL,
    session_id TEXT,
    position_at TEXT NOT NULL,
    last_event_at TEXT NOT NULL,
    last_received_at TEXT NOT NULL,
    errors_in_row BIGINT NOT NULL,
    help_at TEXT,
    help_received_at TEXT,
    help_stop_at TEXT,
    is_stuck BOOLEAN NOT NULL,
    is_failing BOOLEAN NOT NULL,
    is_asking BOOLEAN NOT NULL,
    is_idle BOOLEAN NOT NULL
);
CREATE INDEX student_states_awake ON student_states (last_received_at) WHERE NOT is_idle;

CREATE TABLE help_requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    student_id BIGINT NOT NULL REFERENCES students (id) ON DELETE CASCADE,
    notebook_id BIGINT REFERENCES notebooks (id) ON DELETE CASCADE,
    started_at TEXT NOT NULL,
    last_at TEXT NOT NULL,
    ended_at TEXT
);
CREATE INDEX help_requests_student ON help_requests (student_id, started_at);

-- One loading of JupyterLab's page.
CREATE TABLE student_sessions (
    student_id BIGINT NOT NULL REFERENCES students (id) ON DELETE CASCADE,
    session_id TEXT NOT NULL,
    first_at TEXT NOT NULL,
    last_at TEXT NOT NULL,
    events BIGINT NOT NULL,
    PRIMARY KEY (student_id, session_id)
);

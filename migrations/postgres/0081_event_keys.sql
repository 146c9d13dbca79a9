-- Whoever writes an event holds its student's and its notebook's row (both are written in the same transaction), and an
-- execution is written with its event: to look all of them up once more for each row cost a fifth of its storage. What is
-- deleted takes with it what belongs to it, as before.
ALTER TABLE progress_events DROP CONSTRAINT progress_events_student_id_fkey;
ALTER TABLE progress_events DROP CONSTRAINT progress_events_notebook_id_fkey;
ALTER TABLE cell_executions DROP CONSTRAINT cell_executions_id_fkey;

CREATE FUNCTION forget_students_events() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM progress_events WHERE student_id IN (SELECT id FROM gone);
    RETURN NULL;
END $$;
CREATE FUNCTION forget_notebooks_events() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM progress_events WHERE notebook_id IN (SELECT id FROM gone);
    RETURN NULL;
END $$;
CREATE FUNCTION forget_executions() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM cell_executions WHERE id IN (SELECT id FROM gone);
    RETURN NULL;
END $$;
CREATE TRIGGER students_gone AFTER DELETE ON students REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION forget_students_events();
CREATE TRIGGER notebooks_gone AFTER DELETE ON notebooks REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION forget_notebooks_events();
CREATE TRIGGER progress_events_gone AFTER DELETE ON progress_events REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION forget_executions();

-- Rows that change all the time: with room on their pages a change needs no new entries in the indexes.
ALTER TABLE student_cells SET (fillfactor = 60);
ALTER TABLE student_states SET (fillfactor = 50);
ALTER TABLE student_sessions SET (fillfactor = 60);

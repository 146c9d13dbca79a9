-- Paths that lists and searches of job matching take: see docs/PERFORMANCE.md.

-- The same terms, but the planner is told what cutting a job's text costs, so that it asks the index for them and does not
-- cut the text of one job after the other. In PL/pgSQL, because a function in SQL would be inlined with its price lost. It is
-- not for parallel plans, whose workers take longer to begin than such a search.
CREATE FUNCTION job_terms(search_terms TEXT) RETURNS TEXT[] LANGUAGE plpgsql IMMUTABLE STRICT COST 200 AS $$
BEGIN
    RETURN string_to_array(search_terms, ' ');
END $$;
DROP INDEX jobs_terms;
-- What was just written is searched one by one until it is merged; 4 MB of that, the default, took longer than the search.
CREATE INDEX jobs_terms ON jobs USING GIN (job_terms(search_terms)) WITH (gin_pending_list_limit = 512);

-- The bigrams of what users are found by.
CREATE FUNCTION user_terms(found_by TEXT) RETURNS TEXT[] LANGUAGE plpgsql IMMUTABLE STRICT COST 200 AS $$
BEGIN
    RETURN ARRAY(SELECT DISTINCT substr(found_by, first, 2) FROM generate_series(1, length(found_by) - 1) AS first);
END $$;
CREATE INDEX users_terms ON users USING GIN (user_terms(lower(name) || ' ' || email)) WITH (gin_pending_list_limit = 512);

CREATE INDEX jobs_status_expires_last ON jobs (status, expires_at DESC NULLS LAST, id DESC);
-- Scores add up what was done with a job.
CREATE INDEX user_behavior_logs_job ON user_behavior_logs (job_id, at);
-- Figures of a batch, without the matches themselves.
CREATE INDEX recommendations_figures ON recommendations (batch_id) INCLUDE (match_count, best_score);
DROP INDEX recommendations_batch;

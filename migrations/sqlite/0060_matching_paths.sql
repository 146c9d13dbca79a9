-- Paths that lists and searches of job matching take: see docs/PERFORMANCE.md.
CREATE INDEX jobs_status_expires_last ON jobs (status, expires_at DESC, id DESC);
-- Scores add up what was done with a job.
CREATE INDEX user_behavior_logs_job ON user_behavior_logs (job_id, at);
-- Figures of a batch, without the matches themselves.
CREATE INDEX recommendations_figures ON recommendations (batch_id, match_count, best_score);
DROP INDEX recommendations_batch;

-- no-transaction
-- Retention of finished jobs.
CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_finished ON jobs (finished_at)
    WHERE deleted_at IS NULL AND status IN ('completed', 'failed', 'cancelled');

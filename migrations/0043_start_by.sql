-- no-transaction
-- Waiting jobs with deadlines, by the time at which they must start.
CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_start_by ON jobs (start_by, id)
    WHERE start_by IS NOT NULL AND status IN ('queued', 'scheduled');

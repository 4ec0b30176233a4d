-- no-transaction
-- What the unfinished jobs of a key reserve of its quota.
CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_reserved ON jobs (key_id) INCLUDE (quota_s)
    WHERE key_id IS NOT NULL AND status IN ('queued', 'scheduled', 'running', 'drafted');

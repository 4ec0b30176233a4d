-- no-transaction
-- Waiting replays, which end when no worker is left that may claim them.
CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_requires ON jobs (id) INCLUDE (requires)
    WHERE requires IS NOT NULL AND status IN ('queued', 'scheduled');

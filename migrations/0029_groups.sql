-- no-transaction
-- The candidates of one request.
CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_group ON jobs (group_id, id) WHERE group_id IS NOT NULL;

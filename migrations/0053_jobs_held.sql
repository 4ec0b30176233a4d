-- no-transaction
-- The jobs of a worker. The worker changes with the state and not while a job runs, so progress and renewals stay in place (HOT).
CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_held ON jobs (worker_id) WHERE status = 'running';

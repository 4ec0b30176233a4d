-- no-transaction
-- The webhook log of one job, newest first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS webhook_deliveries_job ON webhook_deliveries (job_id, seq DESC, id);

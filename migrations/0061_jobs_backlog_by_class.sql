-- no-transaction
-- The backlog in its order, premium jobs apart: where workers have different numbers of devices, each pool is given its own part.
-- A number and not a boolean expression, which the query planner would rewrite.
CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_backlog_by_class
    ON jobs (model_id, (CASE WHEN tier = 'premium' THEN 1 ELSE 0 END), tenant_id, order_at, memory_bytes, id)
    WHERE status = 'queued' AND plan IS NOT NULL;

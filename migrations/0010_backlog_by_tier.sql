-- no-transaction
-- The backlog in dispatch order, as jobs_backlog, with what the level metrics need, so that they read the index alone.
CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_backlog_by_tenant
    ON jobs (model_id, tenant_id, order_at, memory_bytes, id) INCLUDE (tier, created_at)
    WHERE status = 'queued' AND plan IS NOT NULL;

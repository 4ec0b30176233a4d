-- no-transaction
-- Waiting jobs that can be rendered together, in their order. Jobs without a key, and all those of fleets that render one at a time,
-- are not in it.
CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_companions ON jobs (model_id, batch_key, status, order_at, id)
    WHERE batch_key IS NOT NULL AND status IN ('queued', 'scheduled');

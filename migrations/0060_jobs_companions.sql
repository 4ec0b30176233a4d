-- no-transaction
-- Waiting jobs that can be rendered together, in their order. Jobs without a key, and those of fleets that render nothing together,
-- are not in it.
CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_companions ON jobs (model_id, batch_key, order_at, id)
    WHERE batch_key IS NOT NULL AND status = 'queued';

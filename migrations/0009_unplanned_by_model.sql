-- no-transaction
-- Unplanned jobs by model, so that jobs of a model that the scheduler does not know are not read again and again in front
-- of those that it can plan. The level metrics read it alone: created_at is what they need.
CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_unplanned_by_model ON jobs (model_id, id) INCLUDE (created_at)
    WHERE status = 'queued' AND plan IS NULL;

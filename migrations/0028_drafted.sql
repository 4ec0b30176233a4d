-- no-transaction
-- Drafts: their expiry, their number, and the groups that wait for a choice.
CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_drafted ON jobs (drafted_at) INCLUDE (model_id, tier, created_at, group_id)
    WHERE status = 'drafted';

-- no-transaction
-- Lets the trigger of 0037 skip jobs without a webhook: this index is empty while nobody uses them, so that a transition then
-- costs one look at an empty index.
CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_webhook ON jobs (id) WHERE webhook IS NOT NULL;

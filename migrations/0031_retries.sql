-- no-transaction
-- Finds what a retried submission without an idempotency key submitted before (store::jobs::retried).

CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_retried ON jobs (tenant_id, payload_hash) WHERE retry_no IS NOT NULL;

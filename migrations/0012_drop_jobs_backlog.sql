-- no-transaction
-- Replaced by jobs_backlog_by_tenant, which serves the same queries of earlier releases.
DROP INDEX CONCURRENTLY IF EXISTS jobs_backlog;

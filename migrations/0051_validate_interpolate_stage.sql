-- Checks the rows of earlier releases without blocking writers.

SET LOCAL lock_timeout = '2s';
ALTER TABLE jobs VALIDATE CONSTRAINT jobs_stage_check;

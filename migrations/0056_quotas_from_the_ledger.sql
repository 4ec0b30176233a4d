-- Quotas read the ledger (`usage_daily`), which counts the same seconds per key. The count of 0042 was in no release, so that no
-- running program of one reads it.
SET LOCAL lock_timeout = '2s';

DROP TRIGGER count_key_usage ON jobs;
DROP FUNCTION count_key_usage();
DROP TABLE key_usage;

-- What a client of the OpenAI-compatible API asked for in its own words, and what tells its retries from new requests.

SET LOCAL lock_timeout = '2s';
ALTER TABLE jobs ADD COLUMN origin jsonb;
COMMENT ON COLUMN jobs.origin IS 'How the job came about, beyond its request: size and seconds as a client of /v1 named them, the video that it remixes. NULL for other jobs.';
ALTER TABLE jobs ADD COLUMN retry_no smallint;
COMMENT ON COLUMN jobs.retry_no IS 'Number of the last HTTP retry that returned this job, 0 for none; NULL unless it was submitted through /v1 without an idempotency key. Such a job can be found again by payload_hash.';

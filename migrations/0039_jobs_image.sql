-- no-transaction
-- Finds the jobs that use a picture, before it is deleted.

CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_image ON jobs (image_id) WHERE image_id IS NOT NULL;

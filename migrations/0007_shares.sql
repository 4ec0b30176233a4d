-- What a job counts in the shares between tenants, apart from its estimate: estimates follow the pace that the fleet
-- measured last, so of two equal jobs the one planned in a slow hour would count for more.

SET LOCAL lock_timeout = '2s';
ALTER TABLE jobs ADD COLUMN share_s double precision;
COMMENT ON COLUMN jobs.share_s IS 'Seconds of the run at the pace of the model folder''s prior; jobs of earlier releases have none, and count by estimate_s.';

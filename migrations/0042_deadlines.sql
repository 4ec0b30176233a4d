-- Deadlines that hold, quotas of keys, and queues that their owners pause and reorder.

SET LOCAL lock_timeout = '2s';

ALTER TABLE jobs ADD COLUMN start_by timestamptz;
ALTER TABLE jobs ADD COLUMN plain_order_at timestamptz;
ALTER TABLE jobs ADD COLUMN preempt_requested_at timestamptz;
ALTER TABLE jobs ADD COLUMN preemptions integer NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN IF NOT EXISTS key_id uuid;
ALTER TABLE jobs ADD COLUMN quota_s double precision;
COMMENT ON COLUMN jobs.order_at IS 'Submission plus the tier''s delay, or scheduler.deadline_lead_s before start_by if that is earlier: cheap tiers overtake, nobody starves. Its owner may move it.';
COMMENT ON COLUMN jobs.start_by IS 'Latest start with which the deadline is met by the estimate. NULL without a deadline, and once it has passed while the job was queued.';
COMMENT ON COLUMN jobs.plain_order_at IS 'The place without the deadline, to which the job returns once its deadline cannot be met; NULL without a deadline.';
COMMENT ON COLUMN jobs.preempt_requested_at IS 'When the scheduler asked the current run to give its slot to a job with a deadline. Only meaningful while running; the next claim clears it.';
COMMENT ON COLUMN jobs.preemptions IS 'How often the scheduler asked for that; bounded by scheduler.preemptions_max.';
COMMENT ON COLUMN jobs.key_id IS 'The API key that submitted the job, whose quota it counts against; NULL while keys are off and for jobs of earlier releases.';
COMMENT ON COLUMN jobs.quota_s IS 'Estimated GPU seconds that the job reserves of that quota until it ends.';

ALTER TABLE tenants ADD COLUMN paused_at timestamptz;
COMMENT ON COLUMN tenants.paused_at IS 'Since when no job of the tenant is released; NULL while its queue runs.';

ALTER TABLE api_keys ADD COLUMN quota_gpu_s double precision CHECK (quota_gpu_s >= 0);
ALTER TABLE api_keys ADD COLUMN quota_usd double precision CHECK (quota_usd >= 0);
COMMENT ON COLUMN api_keys.quota_gpu_s IS 'GPU seconds that the key may use in a day (UTC); NULL for no limit.';
COMMENT ON COLUMN api_keys.quota_usd IS 'The same in US dollars, at cost.gpu_hour_usd.';

CREATE TABLE key_usage (
    key_id      uuid NOT NULL,
    day         date NOT NULL,              -- UTC, by the end of the run
    shard       smallint NOT NULL,          -- so that runs that end at the same time seldom wait for each other
    gpu_seconds double precision NOT NULL,  -- of all runs, also of those that ended without a video
    PRIMARY KEY (key_id, day, shard)
) WITH (fillfactor = 50);
COMMENT ON TABLE key_usage IS 'GPU seconds that each key has used, for its quota.';

-- A trigger and not a part of each statement that ends a run, so that no transition can forget it. It runs as the owner of the
-- tables: workers on other machines end runs, but may not see keys. The columns are those that no renewal and no progress sets.
CREATE FUNCTION count_key_usage() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO key_usage AS u (key_id, day, shard, gpu_seconds)
    VALUES (NEW.key_id, (clock_timestamp() AT TIME ZONE 'UTC')::date, pg_backend_pid() % 8,
        NEW.gpu_seconds - OLD.gpu_seconds)
    ON CONFLICT (key_id, day, shard) DO UPDATE SET gpu_seconds = u.gpu_seconds + EXCLUDED.gpu_seconds;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION count_key_usage() FROM PUBLIC;
CREATE TRIGGER count_key_usage AFTER UPDATE OF gpu_seconds ON jobs FOR EACH ROW
    WHEN (NEW.key_id IS NOT NULL AND NEW.gpu_seconds > OLD.gpu_seconds) EXECUTE FUNCTION count_key_usage();

ALTER TABLE stats_hourly ADD COLUMN deadlines_met bigint NOT NULL DEFAULT 0;
ALTER TABLE stats_hourly ADD COLUMN deadlines_missed bigint NOT NULL DEFAULT 0;
ALTER TABLE stats_hourly ADD COLUMN preempted bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN stats_hourly.deadlines_met IS 'Videos that were finished by their deadline.';
COMMENT ON COLUMN stats_hourly.deadlines_missed IS 'Videos that were finished after their deadline.';
COMMENT ON COLUMN stats_hourly.preempted IS 'Runs that went back to the queue so that another job could meet its deadline.';

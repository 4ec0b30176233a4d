-- Time online and time at work of all workers together. A report over days then reads a few rows per day instead of one per worker.
SET LOCAL lock_timeout = '2s';

CREATE TABLE fleet_daily (
    day         date NOT NULL,              -- UTC
    model_id    text NOT NULL,
    shard       smallint NOT NULL,          -- spreads writers over rows; readers add the shards up
    online_s    double precision NOT NULL DEFAULT 0,
    online_usd  double precision NOT NULL DEFAULT 0,
    runs        bigint NOT NULL DEFAULT 0,
    videos      bigint NOT NULL DEFAULT 0,
    busy_s      double precision NOT NULL DEFAULT 0,
    busy_usd    double precision NOT NULL DEFAULT 0,
    repeated_runs        bigint NOT NULL DEFAULT 0,
    repeated_gpu_seconds double precision NOT NULL DEFAULT 0,
    repeated_cost_usd    double precision NOT NULL DEFAULT 0,
    lost_steps           bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (day, model_id, shard)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
COMMENT ON TABLE fleet_daily IS 'Sums of worker_daily over all workers, for each day; the columns mean the same.';

-- Per statement and not per row: a sweep adds the time of thousands of workers at once. Runs as the owner of the tables, as the
-- functions that write worker_daily do.
CREATE FUNCTION add_to_fleet() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO fleet_daily AS f (day, model_id, shard, online_s, online_usd, runs, videos, busy_s, busy_usd,
        repeated_runs, repeated_gpu_seconds, repeated_cost_usd, lost_steps)
    SELECT day, model_id, pg_backend_pid() % 8, sum(online_s), sum(online_usd), sum(runs), sum(videos), sum(busy_s), sum(busy_usd),
        sum(repeated_runs), sum(repeated_gpu_seconds), sum(repeated_cost_usd), sum(lost_steps)
    FROM added WHERE isfinite(day) GROUP BY day, model_id ORDER BY day, model_id
    ON CONFLICT (day, model_id, shard) DO UPDATE SET
        online_s = f.online_s + EXCLUDED.online_s, online_usd = f.online_usd + EXCLUDED.online_usd,
        runs = f.runs + EXCLUDED.runs, videos = f.videos + EXCLUDED.videos,
        busy_s = f.busy_s + EXCLUDED.busy_s, busy_usd = f.busy_usd + EXCLUDED.busy_usd,
        repeated_runs = f.repeated_runs + EXCLUDED.repeated_runs,
        repeated_gpu_seconds = f.repeated_gpu_seconds + EXCLUDED.repeated_gpu_seconds,
        repeated_cost_usd = f.repeated_cost_usd + EXCLUDED.repeated_cost_usd,
        lost_steps = f.lost_steps + EXCLUDED.lost_steps;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION add_to_fleet() FROM PUBLIC;

-- The same for what an update adds: the difference.
CREATE FUNCTION add_change_to_fleet() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO fleet_daily AS f (day, model_id, shard, online_s, online_usd, runs, videos, busy_s, busy_usd,
        repeated_runs, repeated_gpu_seconds, repeated_cost_usd, lost_steps)
    SELECT day, model_id, pg_backend_pid() % 8, sum(sign * online_s), sum(sign * online_usd), sum(sign * runs), sum(sign * videos),
        sum(sign * busy_s), sum(sign * busy_usd), sum(sign * repeated_runs), sum(sign * repeated_gpu_seconds),
        sum(sign * repeated_cost_usd), sum(sign * lost_steps)
    FROM (SELECT 1 AS sign, * FROM added UNION ALL SELECT -1, * FROM replaced) AS change
    WHERE isfinite(day) GROUP BY day, model_id ORDER BY day, model_id
    ON CONFLICT (day, model_id, shard) DO UPDATE SET
        online_s = f.online_s + EXCLUDED.online_s, online_usd = f.online_usd + EXCLUDED.online_usd,
        runs = f.runs + EXCLUDED.runs, videos = f.videos + EXCLUDED.videos,
        busy_s = f.busy_s + EXCLUDED.busy_s, busy_usd = f.busy_usd + EXCLUDED.busy_usd,
        repeated_runs = f.repeated_runs + EXCLUDED.repeated_runs,
        repeated_gpu_seconds = f.repeated_gpu_seconds + EXCLUDED.repeated_gpu_seconds,
        repeated_cost_usd = f.repeated_cost_usd + EXCLUDED.repeated_cost_usd,
        lost_steps = f.lost_steps + EXCLUDED.lost_steps;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION add_change_to_fleet() FROM PUBLIC;

-- Writers wait until the days so far are added up and the triggers exist; 10,000 workers of a month take less than a second.
LOCK TABLE worker_daily IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO fleet_daily (day, model_id, shard, online_s, online_usd, runs, videos, busy_s, busy_usd,
    repeated_runs, repeated_gpu_seconds, repeated_cost_usd, lost_steps)
SELECT day, model_id, 0, sum(online_s), sum(online_usd), sum(runs), sum(videos), sum(busy_s), sum(busy_usd),
    sum(repeated_runs), sum(repeated_gpu_seconds), sum(repeated_cost_usd), sum(lost_steps)
FROM worker_daily WHERE isfinite(day) GROUP BY day, model_id;
CREATE TRIGGER add_to_fleet AFTER INSERT ON worker_daily
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION add_to_fleet();
CREATE TRIGGER add_change_to_fleet AFTER UPDATE ON worker_daily
    REFERENCING NEW TABLE AS added OLD TABLE AS replaced FOR EACH STATEMENT EXECUTE FUNCTION add_change_to_fleet();
